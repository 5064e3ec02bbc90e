# SPDX-License-Identifier: Apache-2.0
"""Slow starts under way on this edge, and when the next weight of each is due."""

from collections.abc import Iterator

from fairlead.diff.slow_start import Begun, eased, next_step, rising
from fairlead.model.ipvs import IpvsEntry, ServiceKey


class Ramps:
    """Kept by the kernel layer; a virtual server is known here once it was looked at."""

    def __init__(self) -> None:
        self.begun: dict[ServiceKey, Begun] = {}
        self.due_at: dict[ServiceKey, float] = {}

    def ease(
        self, desired: IpvsEntry, actual: IpvsEntry | None, seconds: int, now: float
    ) -> IpvsEntry:
        """What the kernel should hold now."""
        key = desired.service.key
        begun = rising(desired, actual, self.begun.get(key), seconds, now)
        self.begun[key] = begun
        if begun:
            self.due_at[key] = next_step(begun, seconds, now)
        else:
            self.due_at.pop(key, None)
        return eased(desired, begun, seconds, now)

    def forget(self, key: ServiceKey) -> None:
        """A virtual server is gone, or starts slowly no more."""
        self.begun.pop(key, None)
        self.due_at.pop(key, None)

    def due(self, now: float) -> Iterator[ServiceKey]:
        """Virtual servers of which a weight is due."""
        return (key for key, at in self.due_at.items() if at <= now)

    def next_due(self) -> float | None:
        """When the next weight is due; None without one."""
        return min(self.due_at.values(), default=None)
