# SPDX-License-Identifier: Apache-2.0
"""Which addresses are VIPs of ours: the rule by which foreign things are left alone."""

from collections.abc import Iterable
from ipaddress import ip_interface

from fairlead.model.inventory import Inventory
from fairlead.model.names import IPAddress
from fairlead.model.pool import Pool


class OwnedAddresses:
    """Pools of inventory and cluster, and every VIP that this process announced.

    The latter because a pool may vanish under a VIP: what was put up must be taken down. Edges'
    own addresses and the stable VRRP addresses are never VIPs, even inside a pool.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory.pools
        self._cluster: tuple[Pool, ...] = ()
        self._seen: set[IPAddress] = set()
        edges = inventory.edges
        self._never = {edge.address for edge in edges} | {
            edge.address6 for edge in edges if edge.address6 is not None
        }
        if text := inventory.vrrp.advertised_address:
            self._never.add(ip_interface(text).ip)

    def use_pools(self, pools: Iterable[Pool]) -> None:
        """Replace the pools that stand in the cluster."""
        self._cluster = tuple(pools)

    def reserve(self, addresses: Iterable[IPAddress]) -> None:
        """Note stable addresses of VRRP instances: never VIPs."""
        self._never.update(addresses)

    def saw(self, addresses: Iterable[IPAddress]) -> None:
        """Remember VIPs that were put up."""
        self._seen.update(addresses)

    def __call__(self, address: IPAddress) -> bool:
        """Whether the address is a VIP of ours."""
        if address in self._never:
            return False
        if address in self._seen:
            return True
        return any(address in pool for pool in (*self._inventory, *self._cluster))
