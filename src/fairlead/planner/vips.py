# SPDX-License-Identifier: Apache-2.0
"""VIPs of all Services: who brings each, who can answer on it, and whether it is announced."""

from bisect import bisect_left, insort
from collections.abc import Collection

from fairlead.model.inventory import Inventory
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.plan import VipAddress
from fairlead.planner.edges import announce_ways
from fairlead.planner.shape import address_order

_NOBODY: frozenset[ObjectKey] = frozenset()


class VipTable:
    """Kept in order as Services come and go; a change costs what it touches."""

    def __init__(self, inventory: Inventory) -> None:
        self._ways = announce_ways(inventory)
        self._carried: dict[ObjectKey, tuple[IPAddress, ...]] = {}
        self._users: dict[IPAddress, set[ObjectKey]] = {}
        self._answering: dict[ObjectKey, Collection[IPAddress]] = {}
        # By number: `ipaddress` hashes in Python, and all are walked at each change.
        self._values: dict[tuple[int, int], VipAddress] = {}
        self._order: list[tuple[int, int]] = []
        self._touched: set[IPAddress] = set()

    def carriers(self) -> Collection[ObjectKey]:
        """Services that bring a VIP."""
        return self._carried.keys()

    def carried(self, key: ObjectKey) -> tuple[IPAddress, ...]:
        """VIPs of a Service."""
        return self._carried.get(key, ())

    def users(self, address: IPAddress) -> Collection[ObjectKey]:
        """Services on a VIP."""
        return self._users.get(address, _NOBODY)

    def is_shared(self, key: ObjectKey) -> bool:
        """Whether a Service has company on any of its VIPs."""
        return any(len(self._users[address]) > 1 for address in self.carried(key))

    def carry(self, key: ObjectKey, addresses: tuple[IPAddress, ...]) -> set[ObjectKey]:
        """Set a Service's VIPs; return the others on its former and present ones."""
        before = self._carried.get(key, ())
        company: set[ObjectKey] = set()
        for address in before:
            if address not in addresses:
                self._users[address].discard(key)
                self._touched.add(address)
                company |= self._users[address]
        for address in addresses:
            users = self._users.setdefault(address, set())
            users.add(key)
            if len(users) > 1:
                company |= users
        if addresses:
            self._carried[key] = addresses
        else:
            self._carried.pop(key, None)
            self._answering.pop(key, None)
        return company - {key}

    def answer(self, key: ObjectKey, addresses: Collection[IPAddress]) -> None:
        """Say on which of its VIPs a Service can answer."""
        carried = self._carried.get(key, ())
        if carried:
            self._answering[key] = addresses
            self._touched.update(carried)

    def gate(self) -> bool:
        """Decide anew for VIPs that were touched; return whether anything became different."""
        changed = False
        for address in self._touched:
            users = self._users.get(address)
            row = address_order(address)
            before = self._values.get(row)
            if not users:
                self._users.pop(address, None)
                if before is not None:
                    del self._values[row], self._order[bisect_left(self._order, row)]
                    changed = True
                continue
            ready = any(address in self._answering.get(key, ()) for key in users)
            if before is not None and before.ready is ready:
                continue
            if before is None:
                insort(self._order, row)
            self._values[row] = VipAddress(address, self._ways, ready)
            changed = True
        self._touched.clear()
        return changed

    def addresses(self) -> tuple[VipAddress, ...]:
        """All VIPs, sorted."""
        return tuple(map(self._values.__getitem__, self._order))
