# SPDX-License-Identifier: Apache-2.0
"""Virtual servers and VIPs -> one edge's slice of the plan: addresses, VRRP, BGP."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import Announce, IPAddress
from fairlead.model.plan import (
    BgpAnnouncement,
    EdgePlan,
    VipAddress,
    VirtualServer,
    VrrpInstance,
)
from fairlead.planner.shape import address_order

TOP_PRIORITY = 200
PRIORITY_STEP = 10


def virtual_server_order(server: VirtualServer) -> tuple[int, int, str, int]:
    """Sort key of virtual servers: address, protocol, port."""
    return (server.address.version, int(server.address), server.protocol.value, server.port)


def announce_ways(inventory: Inventory) -> tuple[Announce, ...]:
    """How a VIP is announced where no advertisement says otherwise."""
    return inventory.announce if inventory.announce_default else ()


def vip_addresses(ready: Mapping[IPAddress, bool], inventory: Inventory) -> tuple[VipAddress, ...]:
    """VIPs with whether they are announced now, sorted."""
    ways = announce_ways(inventory)
    return tuple(
        VipAddress(address, ways, ready[address]) for address in sorted(ready, key=address_order)
    )


def edge_plan(
    edge: Edge,
    servers: Iterable[VirtualServer],
    vips: Sequence[VipAddress],
    inventory: Inventory,
) -> EdgePlan:
    """One edge's slice; `servers` are the same for every edge."""
    return EdgePlan(
        virtual_servers=tuple(sorted(servers, key=virtual_server_order)),
        addresses=tuple(vips),
        vrrp=vrrp_instances(edge, vips, inventory),
        bgp=bgp_announcements(edge, vips, inventory),
    )


def vrrp_instances(
    edge: Edge, vips: Iterable[VipAddress], inventory: Inventory
) -> tuple[VrrpInstance, ...]:
    """The edge group's VRRP instance as this edge runs it; () where VRRP announces nothing."""
    if Announce.VRRP not in inventory.announce:
        return ()
    settings = inventory.vrrp
    return (
        VrrpInstance(
            instance=settings.instance,
            interface=edge.interface,
            vrid=settings.vrid,
            priority=_priority(edge, inventory),
            advert_interval=settings.advert_interval,
            preempt=settings.preempt,
            source=edge.address,
            peers=tuple(
                sorted((e.address for e in inventory.edges if e != edge), key=address_order)
            ),
            advertised_address=settings.advertised_address,
            addresses=tuple(
                [vip.address for vip in vips if vip.ready and Announce.VRRP in vip.announce]
            ),
        ),
    )


def bgp_announcements(
    edge: Edge, vips: Iterable[VipAddress], inventory: Inventory
) -> tuple[BgpAnnouncement, ...]:
    """Host routes of ready VIPs; () where this edge has no BGP peer."""
    if Announce.BGP not in inventory.announce:
        return ()
    peers = tuple(
        sorted(p.name for p in inventory.bgp.peers if not p.edges or edge.name in p.edges)
    )
    if not peers:
        return ()
    return tuple(
        [
            host_route(vip.address, peers)
            for vip in vips
            if vip.ready and Announce.BGP in vip.announce
        ]
    )


@lru_cache(maxsize=65_536)
def host_route(address: IPAddress, peers: tuple[str, ...]) -> BgpAnnouncement:
    """One VIP as a prefix; cached, because all are told again when one changes."""
    return BgpAnnouncement(prefix=f"{address}/{address.max_prefixlen}", peers=peers)


def _priority(edge: Edge, inventory: Inventory) -> int:
    """VRRP priority: as given, else counted down from 200 in the order of the list."""
    if edge.priority is not None:
        return edge.priority
    position = [other.name for other in inventory.edges].index(edge.name)
    return max(1, TOP_PRIORITY - PRIORITY_STEP * position)
