# SPDX-License-Identifier: Apache-2.0
"""Walking parts upwards: the one place where failures are kept apart.

Whatever one part raises, the others are made true: a tool's time-out, an answer that can't be read,
a defect of ours. VIPs that a failed part guards are not put up by the parts that come after it;
those that stand already are left.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from fairlead.edge.parts import AnyPart, Target
from fairlead.model.errors import FairleadError
from fairlead.model.names import IPAddress

log = logging.getLogger(__name__)


@dataclass
class WalkOutcome:
    """What became of each part, by its name.

    Attributes:
        changed: Parts that had to be changed.
        failed: Parts that could not be made true, and why.
        desired: What the parts that are true now were asked for.
    """

    changed: list[str] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)
    desired: dict[str, object] = field(default_factory=dict)


def walk(
    parts: Iterable[AnyPart],
    target: Target,
    *,
    standing: Collection[IPAddress] = (),
    known: Mapping[str, object] | None = None,
    skip: Collection[str] = (),
    note: Callable[[str, Exception], None] = lambda _name, _error: None,
) -> WalkOutcome:
    """Make parts true, one after the other.

    Args:
        parts: In the order of the way up.
        target: What the edge should hold.
        standing: VIPs that stand here; they stay, whatever fails.
        known: What parts were asked for when they were last made true: one that is asked for the
            same is passed over. Empty at a resync, where everything is read.
        skip: Names of parts that are left as they are for now.
        note: Told about each failure as it happens.
    """
    outcome = WalkOutcome()
    known = known or {}
    for part in parts:
        if part.name in skip:
            continue
        try:
            desired = part.desired(target)
            if part.name in known and known[part.name] == desired:
                outcome.desired[part.name] = desired
                continue
            change = part.difference(desired, part.actual(), target.owned)
            if change.changed:
                part.apply(change)
                outcome.changed.append(part.name)
            outcome.desired[part.name] = desired
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are made true
            outcome.failed[part.name] = error
            note(part.name, error)
            target = _guarded(part, target, standing)
    return outcome


def _guarded(part: AnyPart, target: Target, standing: Collection[IPAddress]) -> Target:
    """The target without VIPs that must not come up while a part fails."""
    try:
        guarded = part.guards(target)
    except Exception:  # what it guards can't even be told: nothing new comes up
        log.exception("%s: what it guards can't be told", part.name)
        guarded = frozenset(one.address for one in target.plan.addresses)
    return target.without(guarded - frozenset(standing))


def sentence(name: str, error: Exception) -> str:
    """A failure of a part in words; a defect of ours is called by its type."""
    if isinstance(error, FairleadError | OSError):
        return f"{name}: {error}"
    return f"{name}: {type(error).__name__}: {error}"
