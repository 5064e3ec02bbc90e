# SPDX-License-Identifier: Apache-2.0
"""Errors of the package, each a sentence that an operator can act on.

One tree, so that every front door can map it once: the command line to an exit status, an Ansible
module to `fail_json`, the agent to a log line and a metric.
"""


class FairleadError(Exception):
    """Something an operator must know: what, where, why and what to do, in one message."""


class InventoryError(FairleadError):
    """The inventory document (edges, pools, peers) can't be used.

    Attributes:
        field: Dotted path of the offending field, e.g. `pools[1].addresses[0]`.
        message: What is wrong, without the place.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"inventory: {field}: {message}")
        self.field = field
        self.message = message


class ApplyError(FairleadError):
    """A change could not be made true on this edge; nothing else was given up."""


class ValidationError(FairleadError):
    """A daemon's own parser refused a rendered file; the live file was left alone."""


class ObjectFieldError(FairleadError):
    """An object of the cluster or of a manifest can't be used.

    Attributes:
        field: Dotted path of the offending field, e.g. `spec.ports[0].port`; "" for all of it.
        message: What is wrong, without the place.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message
