# SPDX-License-Identifier: Apache-2.0
"""Which firewall mark the port range of a Service gets.

IPVS knows a virtual server on marks by its mark alone, so no two Services may have the same one. A
mark is a hash of the Service's key, hence as a rule the same whatever else there is; where two
meet, the second by name takes the next one that is free.
"""

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

import msgspec

from fairlead.model.marks import FIRST_MARK, MARK_BITS
from fairlead.model.names import ObjectKey
from fairlead.model.plan import VirtualServer

_NUMBER = 1 << MARK_BITS


def assign_marks(keys: Iterable[ObjectKey]) -> dict[ObjectKey, int]:
    """A mark for each Service; the same Services give the same marks."""
    taken: set[int] = set()
    found: dict[ObjectKey, int] = {}
    for key in sorted(keys):
        place = crc32(str(key).encode()) % _NUMBER
        while place in taken:
            place = (place + 1) % _NUMBER
        taken.add(place)
        found[key] = FIRST_MARK + place
    return found


def is_ranged(servers: Sequence[VirtualServer]) -> bool:
    """Whether a virtual server of a Service is a port range."""
    return any(server.last_port is not None for server in servers)


def marked(servers: Sequence[VirtualServer], mark: int | None) -> tuple[VirtualServer, ...]:
    """Virtual servers of one Service, its port range with this mark."""
    return tuple(
        server
        if server.last_port is None or server.mark == mark
        else msgspec.structs.replace(server, mark=mark)
        for server in servers
    )


def all_marked(servers: Sequence[VirtualServer]) -> Sequence[VirtualServer]:
    """Virtual servers of all Services, each port range with its mark."""
    ranged = {server.service for server in servers if server.last_port is not None}
    if not ranged:
        return servers
    marks = assign_marks(ranged)
    return [one for server in servers for one in marked((server,), marks.get(server.service))]


class MarkTable:
    """Marks while Services come and go.

    Attributes:
        keys: Services with a port range.
        stale: Whether marks have to be assigned anew.
    """

    def __init__(self) -> None:
        self.keys: set[ObjectKey] = set()
        self._marks: Mapping[ObjectKey, int] = {}
        self.stale = False

    def note(self, key: ObjectKey, servers: Sequence[VirtualServer]) -> tuple[VirtualServer, ...]:
        """Take a Service's virtual servers as shaped; return them with the mark known by now."""
        if not is_ranged(servers):
            if key in self.keys:
                self.keys.discard(key)
                self.stale = True
            return tuple(servers)
        if key not in self.keys:
            self.keys.add(key)
            self.stale = True
        return marked(servers, self._marks.get(key))

    def reassign(self) -> Mapping[ObjectKey, int]:
        """Assign anew where a Service came or went; marks that are different now."""
        if not self.stale:
            return {}
        self.stale = False
        before, self._marks = self._marks, assign_marks(self.keys)
        return {key: mark for key, mark in self._marks.items() if before.get(key) != mark}
