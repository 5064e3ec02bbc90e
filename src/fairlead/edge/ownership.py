# SPDX-License-Identifier: Apache-2.0
"""Which addresses are VIPs of ours: the one rule by which foreign things are left alone.

Agent, edge modules, `verify`, `remove` and `fairlead status` ask it. A value, never changed:
whoever learns of other pools makes another one, so that it may pass between threads.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import Self

from fairlead.model.inventory import Inventory
from fairlead.model.names import IPAddress
from fairlead.model.pool import AddressRange, Pool


@dataclass(frozen=True)
class OwnedVips:
    """Addresses of our pools, without those that belong to machines.

    Attributes:
        ranges: Of all pools, of the inventory and of the cluster.
        never: Edges' own addresses and the stable VRRP addresses, never VIPs even inside a pool.
        announced: VIPs that this process put up: a pool may vanish under a VIP, and what was put
            up must be taken down.
    """

    ranges: tuple[AddressRange, ...] = ()
    never: frozenset[IPAddress] = frozenset()
    announced: frozenset[IPAddress] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, inventory: Inventory, pools: Iterable[Pool] = ()) -> Self:
        """The rule of an edge group.

        Args:
            inventory: Its edges, pools and VRRP address.
            pools: Those that stand in the cluster.
        """
        ranges = tuple(part for pool in (*inventory.pools, *pools) for part in pool.ranges)
        return cls(ranges, machine_addresses(inventory))

    def with_pools(self, inventory: Inventory, pools: Iterable[Pool]) -> Self:
        """The same after the cluster's pools changed; what was put up stays ours."""
        ranges = tuple(part for pool in (*inventory.pools, *pools) for part in pool.ranges)
        return replace(self, ranges=ranges)

    def with_announced(
        self, vips: Iterable[IPAddress], advertised: Iterable[IPAddress] = ()
    ) -> Self:
        """The same after VIPs were put up by instances that have these stable addresses."""
        announced, never = self.announced.union(vips), self.never.union(advertised)
        if len(announced) == len(self.announced) and len(never) == len(self.never):
            return self
        return replace(self, announced=announced, never=never)

    def range_texts(self) -> list[str]:
        """The ranges without the machines' addresses, `first-last`, for whoever passes them on."""
        return sorted({text for part in self.ranges for text in _left(part, self.never)})

    def __call__(self, address: IPAddress) -> bool:
        """Whether the address is a VIP of ours."""
        if address in self.never:
            return False
        return address in self.announced or any(address in part for part in self.ranges)


def machine_addresses(inventory: Inventory) -> frozenset[IPAddress]:
    """Addresses of edges, and the stable one of VRRP."""
    found = {edge.address for edge in inventory.edges}
    found |= {edge.address6 for edge in inventory.edges if edge.address6 is not None}
    if text := inventory.vrrp.advertised_address:
        found.add(ip_interface(text).ip)
    return frozenset(found)


def _left(part: AddressRange, never: frozenset[IPAddress]) -> Iterator[str]:
    """A range without some of its addresses."""
    make = type(part.first)
    first = int(part.first)
    for number in sorted(int(address) for address in never if address in part):
        if first < number:
            yield f"{make(first)}-{make(number - 1)}"
        first = number + 1
    if first <= int(part.last):
        yield f"{make(first)}-{part.last}"
