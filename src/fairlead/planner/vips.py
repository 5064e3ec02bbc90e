# SPDX-License-Identifier: Apache-2.0
"""VIPs of all Services: who brings each, who can answer on it, and whether it is announced."""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Sequence

from fairlead.model.addresses import address_order
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.planner.adverts import VipRow

Users = Sequence[tuple[ObjectKey, bool]]
"""Services on a VIP, each with whether it can answer there."""
Decide = Callable[[IPAddress, Users, VipRow | None], VipRow]
"""A VIP, its users, how it went out until now (None where that says nothing) -> how it goes out."""
_NOBODY: frozenset[ObjectKey] = frozenset()


class VipTable:
    """Kept in order as Services come and go; a change costs what it touches.

    Attributes:
        users_of: Services on each VIP.
        answering: VIPs on which each Service can answer.
        touched: VIPs about which `gate` has to decide.
    """

    def __init__(self) -> None:
        self._carried: dict[ObjectKey, tuple[IPAddress, ...]] = {}
        self.users_of: dict[IPAddress, set[ObjectKey]] = {}
        self.answering: dict[ObjectKey, Collection[IPAddress]] = {}
        # By number: `ipaddress` hashes in Python, and all are walked at each change.
        self._values: dict[tuple[int, int], VipRow] = {}
        self._order: list[tuple[int, int]] = []
        self.touched: set[IPAddress] = set()
        self._anew = False

    def carriers(self) -> Collection[ObjectKey]:
        """Services that bring a VIP."""
        return self._carried.keys()

    def carried(self, key: ObjectKey) -> tuple[IPAddress, ...]:
        """VIPs of a Service."""
        return self._carried.get(key, ())

    def users(self, address: IPAddress) -> Collection[ObjectKey]:
        """Services on a VIP."""
        return self.users_of.get(address, _NOBODY)

    def carry(self, key: ObjectKey, addresses: tuple[IPAddress, ...]) -> set[ObjectKey]:
        """Set a Service's VIPs; return the others on its former and present ones."""
        before = self._carried.get(key, ())
        company: set[ObjectKey] = set()
        for address in before:
            if address not in addresses:
                self.users_of[address].discard(key)
                self.touched.add(address)
                company |= self.users_of[address]
        for address in addresses:
            users = self.users_of.setdefault(address, set())
            users.add(key)
            if len(users) > 1:
                company |= users
        self.touched.update(addresses)
        if addresses:
            self._carried[key] = addresses
        else:
            self._carried.pop(key, None)
            self.answering.pop(key, None)
        return company - {key}

    def answer(self, key: ObjectKey, addresses: Collection[IPAddress]) -> None:
        """Say on which of its VIPs a Service can answer."""
        carried = self._carried.get(key, ())
        if carried:
            self.answering[key] = addresses
            self.touched.update(carried)

    def touch_all(self) -> None:
        """Let `gate` decide about every VIP: what advertises them became different."""
        self.touched.update(self.users_of)
        self._anew = True

    def gate(self, decide: Decide) -> bool:
        """Decide anew for VIPs that were touched; return whether anything became different."""
        changed = False
        for address in self.touched:
            users = self.users_of.get(address)
            place = address_order(address)
            before = self._values.get(place)
            if not users:
                self.users_of.pop(address, None)
                if before is not None:
                    del self._values[place], self._order[bisect_left(self._order, place)]
                    changed = True
                continue
            answers = self.answering.get
            known = None if self._anew else before
            row = decide(address, [(key, address in answers(key, ())) for key in users], known)
            if row is before:
                continue
            if before is None:
                insort(self._order, place)
            self._values[place] = row
            changed = changed or before is None or not _same(before, row)
        self.touched.clear()
        self._anew = False
        return changed

    def rows(self) -> tuple[VipRow, ...]:
        """All VIPs, sorted."""
        return tuple(map(self._values.__getitem__, self._order))


def _same(before: VipRow, row: VipRow) -> bool:
    """By identity: a reach belongs to what is advertised now, and equal ones may be outdated."""
    return before.reach is row.reach and before.ready is row.ready and before.users == row.users
