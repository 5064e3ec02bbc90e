# SPDX-License-Identifier: Apache-2.0
"""How full pools are: the counters of `IPAddressPool.status` and of the metrics."""

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address

import msgspec

from fairlead.model.inventory import Inventory
from fairlead.model.kube import Service
from fairlead.model.names import Family, IPAddress, ObjectKey
from fairlead.model.plan import ServicePlan
from fairlead.model.pool import AddressRange, Pool
from fairlead.planner.pools import PoolIndex, is_avoided, reserved_addresses
from fairlead.planner.requests import POOL_NOTE, is_ours

UNBOUNDED = (1 << 63) - 1
"""What upstream shows for IPv6 ranges of 62 host bits or more: they never run out."""


class PoolUsage(msgspec.Struct, frozen=True):
    """Addresses of one pool by family; a shared address counts once."""

    name: str
    total_ipv4: int = 0
    total_ipv6: int = 0
    assigned_ipv4: int = 0
    assigned_ipv6: int = 0

    @property
    def total(self) -> int:
        """Addresses of both families; saturates at `UNBOUNDED`."""
        return min(UNBOUNDED, self.total_ipv4 + self.total_ipv6)

    @property
    def assigned(self) -> int:
        """Addresses of both families that are in use."""
        return self.assigned_ipv4 + self.assigned_ipv6

    @property
    def available_ipv4(self) -> int:
        """IPv4 addresses that are left."""
        return max(0, self.total_ipv4 - self.assigned_ipv4)

    @property
    def available_ipv6(self) -> int:
        """IPv6 addresses that are left; saturates at `UNBOUNDED`."""
        if self.total_ipv6 >= UNBOUNDED:
            return UNBOUNDED
        return max(0, self.total_ipv6 - self.assigned_ipv6)


def pool_usage(
    pools: Iterable[Pool],
    allocations: Iterable[tuple[str | None, Iterable[IPAddress]]],
    reserved: Iterable[IPAddress] = (),
    unusable: Iterable[str] = (),
) -> tuple[PoolUsage, ...]:
    """Usage of each pool, sorted by name.

    Args:
        pools: Those in force.
        allocations: Pool and addresses of each Service; `decided` gives them.
        reserved: Addresses that nobody may have (`reserved_addresses`).
        unusable: Pool objects of which no version is in force: they have what is held over, and
            nothing to give.
    """
    used: dict[str, set[IPAddress]] = {}
    for pool, addresses in allocations:
        if pool is not None:
            used.setdefault(pool, set()).update(addresses)
    never = frozenset(reserved)
    rows = [_usage(pool, used.get(pool.name, set()), never) for pool in pools]
    for name in unusable:
        held = used.get(name, set())
        by_family = [sum(address.version == version for address in held) for version in (4, 6)]
        rows.append(PoolUsage(name, *by_family, *by_family))
    return tuple(sorted(rows, key=lambda row: row.name))


def decided(decisions: Iterable[ServicePlan]) -> Iterator[tuple[str | None, tuple[IPAddress, ...]]]:
    """Allocations as decisions have them."""
    return ((plan.pool, plan.addresses) for plan in decisions)


class UsageTable:
    """Usage of pools by the status of Services, which every edge can tell; kept as they change.

    Used by one thread: between two calls of `put` it may count what never was.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._reserved = reserved_addresses(inventory)
        self.pools = PoolIndex(())
        self._empty: tuple[PoolUsage, ...] = ()
        self._held: dict[ObjectKey, tuple[tuple[str, IPAddress], ...]] = {}
        self._users: dict[tuple[str, IPAddress], int] = {}
        self._assigned: dict[tuple[str, int], int] = {}

    def use(self, pools: PoolIndex, services: Iterable[Service]) -> None:
        """Count anew, with these pools and all Services."""
        self.pools = pools
        self._empty = pool_usage(pools.by_name.values(), (), self._reserved, pools.unusable)
        self._held, self._users, self._assigned = {}, {}, {}
        for service in services:
            self.put(service)

    def put(self, service: Service) -> None:
        """Note a Service that came or changed."""
        held = self._recorded(service)
        if self._held.get(service.key, ()) == held:
            return
        self.remove(service.key)
        if held:
            self._held[service.key] = held
        for row in held:
            self._users[row] = self._users.get(row, 0) + 1
            if self._users[row] == 1:
                self._count(row, 1)

    def remove(self, key: ObjectKey) -> None:
        """Note a Service that is gone."""
        for row in self._held.pop(key, ()):
            self._users[row] -= 1
            if not self._users[row]:
                del self._users[row]
                self._count(row, -1)

    def usage(self) -> tuple[PoolUsage, ...]:
        """How full each pool is, sorted by name."""
        rows = []
        for row in self._empty:
            ipv4, ipv6 = (self._assigned.get((row.name, version), 0) for version in (4, 6))
            if row.name in self.pools.unusable:
                rows.append(PoolUsage(row.name, ipv4, ipv6, ipv4, ipv6))
            else:
                rows.append(PoolUsage(row.name, row.total_ipv4, row.total_ipv6, ipv4, ipv6))
        return tuple(rows)

    def _recorded(self, service: Service) -> tuple[tuple[str, IPAddress], ...]:
        if not service.ingress or not is_ours(service, self._inventory):
            return ()
        note = service.annotations.get(POOL_NOTE, "")
        rows: dict[tuple[str, IPAddress], None] = {}
        for address, _ in service.ingress:
            if self.pools.is_vip(address, note):
                pool = self.pools.owner(address)
                rows[pool.name if pool else note, address] = None
        return tuple(rows)

    def _count(self, row: tuple[str, IPAddress], by: int) -> None:
        key = (row[0], row[1].version)
        self._assigned[key] = self._assigned.get(key, 0) + by


def _usage(pool: Pool, used: set[IPAddress], never: Collection[IPAddress]) -> PoolUsage:
    lost = [address for address in never if address in pool and not is_avoided(pool, address)]
    total_ipv6 = min(UNBOUNDED, _total(pool, Family.IPV6))
    if total_ipv6 < UNBOUNDED:
        total_ipv6 -= sum(address.version == 6 for address in lost)
    return PoolUsage(
        name=pool.name,
        total_ipv4=_total(pool, Family.IPV4) - sum(address.version == 4 for address in lost),
        total_ipv6=total_ipv6,
        assigned_ipv4=sum(address.version == 4 for address in used),
        assigned_ipv6=sum(address.version == 6 for address in used),
    )


def _total(pool: Pool, family: Family) -> int:
    total = 0
    for part in pool.ranges:
        if part.family is family:
            size = int(part.last) - int(part.first) + 1
            if family is Family.IPV6 and size >= 1 << 62:
                return UNBOUNDED
            total += size - (_buggy(part) if pool.avoid_buggy_ips else 0)
    return total


def _buggy(part: AddressRange) -> int:
    """IPv4 addresses of a range that end in .0 or .255."""
    if not isinstance(part.first, IPv4Address):
        return 0
    first, last = int(part.first), int(part.last)
    zeros = last // 256 - (first - 1) // 256
    full = (last + 1) // 256 - first // 256
    return zeros + full
