# SPDX-License-Identifier: Apache-2.0
"""Annotations under `fairlead.io/`: what a Service's owner may ask of its virtual servers.

A value that is not allowed changes nothing: the default is used and a Warning names what is
allowed. The table `ANNOTATIONS` is the one place where an annotation is added.
"""

from collections.abc import Mapping

import msgspec

from fairlead.model.inventory import Inventory
from fairlead.model.names import Forwarding
from fairlead.model.plan import PlanEvent
from fairlead.model.schedulers import SCHEDULERS

PREFIX = "fairlead.io/"
FORWARDING = PREFIX + "forwarding"
SCHEDULER = PREFIX + "scheduler"
ONE_PACKET = PREFIX + "one-packet"

INVALID = "InvalidAnnotation"

ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    FORWARDING: tuple(mode.value for mode in Forwarding),
    SCHEDULER: SCHEDULERS,
    ONE_PACKET: ("true", "false"),
}
"""Annotation -> allowed values."""


class ServiceOptions(msgspec.Struct, frozen=True):
    """What shapes a Service's virtual servers beyond its spec.

    Attributes:
        one_packet: One-packet scheduling for the Service's UDP ports.
    """

    forwarding: Forwarding
    scheduler: str
    one_packet: bool = False


def options_of(annotations: Mapping[str, str], inventory: Inventory) -> ServiceOptions:
    """Options of a Service; what is not allowed falls back to the inventory's default."""
    if not annotations:
        return ServiceOptions(inventory.forwarding, inventory.scheduler)
    forwarding = _allowed(annotations, FORWARDING)
    return ServiceOptions(
        Forwarding(forwarding) if forwarding else inventory.forwarding,
        _allowed(annotations, SCHEDULER) or inventory.scheduler,
        _allowed(annotations, ONE_PACKET) == "true",
    )


def option_events(annotations: Mapping[str, str]) -> tuple[PlanEvent, ...]:
    """A Warning for each annotation under our prefix that is unknown or has a bad value."""
    events = []
    for key in sorted(key for key in annotations if key.startswith(PREFIX)):
        allowed = ANNOTATIONS.get(key)
        if allowed is None:
            known = ", ".join(ANNOTATIONS)
            message = f"unknown annotation {key}; known are {known}"
        elif annotations[key] not in allowed:
            message = (
                f'invalid {key}: "{annotations[key]}"; '
                f"allowed are {', '.join(allowed)}; the default is used"
            )
        else:
            continue
        events.append(PlanEvent("Warning", INVALID, message))
    return tuple(events)


def _allowed(annotations: Mapping[str, str], key: str) -> str:
    value = annotations.get(key, "")
    return value if value in ANNOTATIONS[key] else ""
