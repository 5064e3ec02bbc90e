# SPDX-License-Identifier: Apache-2.0
"""Slow start: how much of its weight a real server has while it rises. Pure; times are seconds."""

from collections.abc import Mapping

import msgspec

from fairlead.model.ipvs import IpvsDest, IpvsEntry
from fairlead.model.plan import SLOW_START_STEPS

DestName = tuple[bytes, int]
"""Packed address and port of a real server."""
Begun = Mapping[DestName, float]
"""When each real server that rises began to."""

_ROUNDING = 1e-6  # share of a step: a step that is due is not missed by the last bit of a float


def rising(
    desired: IpvsEntry,
    actual: IpvsEntry | None,
    begun: Begun | None,
    seconds: int,
    now: float,
) -> dict[DestName, float]:
    """Which real servers rise now, and since when.

    One begins where it takes traffic and did not before, beside others that have their full weight:
    where all are new, they share the load as they would afterwards.

    `begun` is the former answer. None says that nobody remembers: then a weight between 0 and the
    desired one is taken for a rise that another process began.
    """
    if actual is None:
        return {}
    had = {_name(dest): dest.weight for dest in actual.dests}
    found: dict[DestName, float] = {}
    taking = [dest for dest in desired.dests if dest.weight]
    for dest in taking:
        name = _name(dest)
        since = (begun or {}).get(name)
        before = had.get(name, 0)
        if since is None and not before:
            since = now
        elif since is None and begun is None and before < dest.weight:
            since = now - seconds * before / dest.weight
        if since is not None and _step(since, seconds, now) < SLOW_START_STEPS:
            found[name] = since
    return found if len(found) < len(taking) else {}


def eased(desired: IpvsEntry, begun: Begun, seconds: int, now: float) -> IpvsEntry:
    """The virtual server with the weights that those which rise have by now."""
    if not begun:
        return desired
    dests = [
        _with_weight(dest, _share(dest.weight, _step(begun[_name(dest)], seconds, now)))
        if _name(dest) in begun
        else dest
        for dest in desired.dests
    ]
    return IpvsEntry(desired.service, tuple(dests))


def next_step(begun: Begun, seconds: int, now: float) -> float:
    """When the next weight is due; `begun` is not empty."""
    return min(
        since + seconds * (_step(since, seconds, now) + 1) / SLOW_START_STEPS
        for since in begun.values()
    )


def left_rising(desired: IpvsEntry, actual: IpvsEntry | None) -> IpvsEntry:
    """The virtual server with weights that are on their way up left as they are.

    For whoever changes the table beside the agent, which takes them further.
    """
    if actual is None:
        return desired
    had = {_name(dest): dest.weight for dest in actual.dests}
    dests = [
        _with_weight(dest, before)
        if 0 < (before := had.get(_name(dest), 0)) < dest.weight
        else dest
        for dest in desired.dests
    ]
    return IpvsEntry(desired.service, tuple(dests))


def _name(dest: IpvsDest) -> DestName:
    return dest.address, dest.port


def _step(since: float, seconds: int, now: float) -> int:
    return int((now - since) * SLOW_START_STEPS / seconds + _ROUNDING)


def _share(weight: int, step: int) -> int:
    return max(1, weight * max(1, step) // SLOW_START_STEPS)


def _with_weight(dest: IpvsDest, weight: int) -> IpvsDest:
    return msgspec.structs.replace(dest, weight=weight)
