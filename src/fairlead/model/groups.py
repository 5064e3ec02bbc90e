# SPDX-License-Identifier: Apache-2.0
"""Edge groups: several may serve one cluster, each with a load balancer class of its own.

A group's name is part of the names of everything that is made in the cluster for it, and of a label
where edges find their own objects again. The default group has the plain names and no label.
"""

from typing import Final

DEFAULT_GROUP: Final = "default"
GROUP_LABEL: Final = "fairlead.io/group"
MOST_CHARACTERS: Final = 20
"""Of a group's name: it stands in names of at most 63 characters beside others."""


def named(base: str, group: str) -> str:
    """A name in the cluster, as this group has it."""
    return base if group == DEFAULT_GROUP else f"{base}-{group}"


def group_labels(group: str) -> dict[str, str]:
    """Labels that say whose an object is."""
    return {} if group == DEFAULT_GROUP else {GROUP_LABEL: group}


def group_selector(group: str) -> str:
    """Label selector of the objects of a group."""
    return f"!{GROUP_LABEL}" if group == DEFAULT_GROUP else f"{GROUP_LABEL}={group}"
