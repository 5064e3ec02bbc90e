# SPDX-License-Identifier: Apache-2.0
"""How full pools are: the counters of `IPAddressPool.status` and of the metrics."""

from collections.abc import Iterable
from ipaddress import IPv4Address

import msgspec

from fairlead.model.names import Family, IPAddress
from fairlead.model.plan import ServicePlan
from fairlead.model.pool import AddressRange, Pool

UNBOUNDED = (1 << 63) - 1
"""What upstream shows for IPv6 ranges of 62 host bits or more: they never run out."""


class PoolUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of one pool by family; a shared address counts once."""

    name: str
    total_ipv4: int = 0
    total_ipv6: int = 0
    assigned_ipv4: int = 0
    assigned_ipv6: int = 0

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


def pool_usage(pools: Iterable[Pool], decisions: Iterable[ServicePlan]) -> tuple[PoolUsage, ...]:
    """Usage of each pool by the decisions, sorted by name."""
    used: dict[str, set[IPAddress]] = {}
    for plan in decisions:
        if plan.pool is not None:
            used.setdefault(plan.pool, set()).update(plan.addresses)
    return tuple(
        PoolUsage(
            name=pool.name,
            total_ipv4=_total(pool, Family.IPV4),
            total_ipv6=min(UNBOUNDED, _total(pool, Family.IPV6)),
            assigned_ipv4=sum(address.version == 4 for address in used.get(pool.name, ())),
            assigned_ipv6=sum(address.version == 6 for address in used.get(pool.name, ())),
        )
        for pool in sorted(pools, key=lambda pool: pool.name)
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
