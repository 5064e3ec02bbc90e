# SPDX-License-Identifier: Apache-2.0
"""Virtual servers and VIPs -> one edge's slice of the plan: addresses, VRRP, BGP."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from fairlead.model.inventory import Edge
from fairlead.model.names import Announce, IPAddress
from fairlead.model.plan import (
    BgpAnnouncement,
    EdgePlan,
    NotAnnounced,
    VipAddress,
    VirtualServer,
    VrrpInstance,
)
from fairlead.planner.advert_rules import prefix_of
from fairlead.planner.adverts import Advertising, Offer, VipRow, merged_offers
from fairlead.planner.vrrp_groups import VrrpGroup, group_vrids, instance_of

ANNOUNCE_FAILED = "announceFailed"


def virtual_server_order(server: VirtualServer) -> tuple[int, int, str, int, int]:
    """Sort key of virtual servers: address, protocol, port; a range after its first port."""
    address, last = server.address, server.last_port or 0
    return (address.version, int(address), server.protocol.value, server.port, last)


def edge_plan(
    edge: Edge,
    servers: Iterable[VirtualServer],
    rows: Sequence[VipRow],
    advertising: Advertising,
) -> EdgePlan:
    """One edge's slice; `servers` and `rows` (sorted) are the same for every edge."""
    return EdgePlan(
        virtual_servers=tuple(sorted(servers, key=virtual_server_order)),
        addresses=vip_addresses(edge, rows),
        vrrp=vrrp_instances(edge, rows, advertising),
        bgp=bgp_announcements(edge, rows),
        bgp_policies=advertising.policies(edge.name),
        bgp_peers=advertising.peers(edge.name),
        failed=failures(edge, rows),
    )


def vip_addresses(edge: Edge, rows: Iterable[VipRow]) -> tuple[VipAddress, ...]:
    """VIPs as this edge carries them."""
    name = edge.name
    return tuple([row.carried[row.reach.ways[name]] for row in rows])


def vrrp_instances(
    edge: Edge, rows: Iterable[VipRow], advertising: Advertising
) -> tuple[VrrpInstance, ...]:
    """VRRP instances that this edge runs, by name; () where VRRP announces nothing.

    The inventory's own is always there, so that the edges know their master before the first VIP.
    """
    inventory = advertising.inventory
    if Announce.VRRP not in inventory.announce:
        return ()
    # By identity: `Advertising` gives each group once, and hashing its members costs.
    groups: dict[int, tuple[VrrpGroup, list[IPAddress]]] = {}
    default = advertising.default
    groups[id(default)] = (default, [])
    for row in rows:
        group = row.reach.group
        if group is None:
            continue
        found = groups.get(id(group))
        if found is None:
            found = groups[id(group)] = (group, [])
        if row.ready:
            found[1].append(row.address)
    vrids = group_vrids([group for group, _ in groups.values()], default, inventory)
    instances = []
    for group, addresses in groups.values():
        if group in vrids:
            instance = instance_of(
                group,
                vrids[group],
                edge,
                tuple(addresses),
                inventory,
                is_default=group is default,
            )
            if instance is not None:
                instances.append(instance)
    return tuple(sorted(instances, key=lambda instance: instance.instance))


def bgp_announcements(edge: Edge, rows: Iterable[VipRow]) -> tuple[BgpAnnouncement, ...]:
    """Prefixes around the ready VIPs; an aggregate once for all VIPs inside."""
    name = edge.name
    routes: list[BgpAnnouncement] = []
    wide: dict[str, list[Offer]] = {}
    for row in rows:
        if not row.ready:
            continue
        for offer in row.reach.offers.get(name, ()):
            if offer.length == row.address.max_prefixlen:
                routes.append(host_route(row.address, offer))
            else:
                wide.setdefault(prefix_of(row.address, offer.length), []).append(offer)
    for prefix, offers in sorted(wide.items()):
        routes += [announcement(prefix, offer) for offer in merged_offers(offers)]
    return tuple(routes)


@lru_cache(maxsize=65_536)
def host_route(address: IPAddress, offer: Offer) -> BgpAnnouncement:
    """One VIP as a prefix; cached, because all are told again when one changes."""
    return announcement(prefix_of(address, offer.length), offer)


def announcement(prefix: str, offer: Offer) -> BgpAnnouncement:
    """A prefix with what some peers hear of it."""
    return BgpAnnouncement(
        prefix=prefix,
        peers=offer.peers,
        communities=offer.communities,
        local_pref=offer.local_pref,
    )


def failures(edge: Edge, rows: Iterable[VipRow]) -> tuple[NotAnnounced, ...]:
    """Services with a ready VIP that this edge should announce and can't."""
    found = {
        NotAnnounced(
            service=key,
            edge=edge.name,
            way=Announce.VRRP,
            reason=ANNOUNCE_FAILED,
            message=missing_interfaces(edge, row.reach.failed[edge.name]),
        )
        for row in rows
        if row.users and row.ready and edge.name in row.reach.failed
        for key in row.users
    }
    return tuple(sorted(found, key=lambda one: (one.service, one.message)))


def missing_interfaces(edge: Edge, wanted: Sequence[str]) -> str:
    """Why an edge can't hold a VIP."""
    has = ", ".join((edge.interface, *edge.interfaces))
    return (
        f"edge {edge.name} has none of the interfaces that the advertisement names "
        f"({', '.join(wanted)}); the inventory gives it {has}"
    )
