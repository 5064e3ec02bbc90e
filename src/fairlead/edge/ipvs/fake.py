# SPDX-License-Identifier: Apache-2.0
"""A table in memory that answers changes as the kernel does, for tests without a kernel.

The tests under tests/kernel run the same cases against it and against a real kernel.
"""

import errno
from collections.abc import Sequence

from fairlead.diff.changes import (
    AddDest,
    AddService,
    DelDest,
    DelService,
    IpvsChange,
    SetDest,
    SetService,
)
from fairlead.edge.ipvs.table import ChangeResult
from fairlead.model.ipvs import IpvsDest, IpvsEntries, IpvsEntry, IpvsService, ServiceKey

_DestKey = tuple[bytes, int]


class FakeIpvsTable:
    """`IpvsPort` without a kernel; `log` holds every change that was sent."""

    def __init__(self, entries: IpvsEntries | None = None) -> None:
        self._services: dict[ServiceKey, IpvsService] = {}
        self._dests: dict[ServiceKey, dict[_DestKey, IpvsDest]] = {}
        self.log: list[IpvsChange] = []
        for key, entry in (entries or {}).items():
            self._services[key] = entry.service
            self._dests[key] = {(one.address, one.port): one for one in entry.dests}

    def dump(self) -> dict[ServiceKey, IpvsEntry]:
        """The whole table."""
        return {key: self._entry(key) for key in self._services}

    def service_keys(self) -> list[ServiceKey]:
        """Every virtual server there is."""
        return list(self._services)

    def dump_service(self, key: ServiceKey) -> IpvsEntry | None:
        """One virtual server, None where it does not exist."""
        return self._entry(key) if key in self._services else None

    def apply(self, changes: Sequence[IpvsChange]) -> list[ChangeResult]:
        """Make changes in order, with the kernel's errors."""
        self.log += changes
        return [ChangeResult(change, self._apply(change)) for change in changes]

    def _entry(self, key: ServiceKey) -> IpvsEntry:
        return IpvsEntry(self._services[key], tuple(self._dests[key].values()))

    def _apply(self, change: IpvsChange) -> int:
        key = change.key
        present = key in self._services
        match change:
            case AddService() if present:
                return errno.EEXIST
            case AddService():
                self._services[key] = change.service
                self._dests[key] = {}
            case DelService():
                self._services.pop(key, None)
                self._dests.pop(key, None)
            case _ if not present:
                return 0 if isinstance(change, DelDest) else errno.ESRCH
            case SetService():
                self._services[key] = change.service
            case AddDest() | SetDest() | DelDest():
                return self._apply_dest(change)
        return 0

    def _apply_dest(self, change: AddDest | SetDest | DelDest) -> int:
        dests = self._dests[change.key]
        name = (change.dest.address, change.dest.port)
        match change:
            case AddDest() if name in dests:
                return errno.EEXIST
            case SetDest() if name not in dests:
                return errno.ENOENT
            case DelDest():
                dests.pop(name, None)
            case _:
                dests[name] = change.dest
        return 0
