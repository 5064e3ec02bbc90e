# SPDX-License-Identifier: Apache-2.0
"""Why an edge announces an address, or does not: read off the finished plan.

What is announced stands in the plan; why something is not, `fairlead.planner.reasons` says.
"""

from ipaddress import ip_network

import msgspec

from fairlead.model.explanation import AnnouncementStory, GateStory
from fairlead.model.inventory import Inventory
from fairlead.model.kube import Service
from fairlead.model.names import Announce, IPAddress, ObjectKey
from fairlead.model.plan import EdgePlan, Plan, ServicePlan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.advert_store import adverts_of
from fairlead.planner.adverts import Advertising
from fairlead.planner.pools import usable_pools
from fairlead.planner.reasons import announcement_reasons

ANNOUNCED = "announced"
TOGETHER = (
    "conflictingAdvertisements",
    "advertisements of all Services on this address together do not lead to this edge",
)


def gate_stories(decision: ServicePlan, plan: Plan) -> tuple[GateStory, ...]:
    """The gate of each address: one answering Service on a shared address is enough."""
    return tuple(
        GateStory(
            address=str(address),
            open=any(
                vip.ready
                for edge in plan.edges.values()
                for vip in edge.addresses
                if vip.address == address
            ),
            answering=tuple(sorted(map(str, _answering(plan, address)))),
        )
        for address in decision.addresses
    )


def announcement_stories(
    service: Service,
    decision: ServicePlan,
    plan: Plan,
    snapshot: Snapshot,
    inventory: Inventory,
) -> tuple[AnnouncementStory, ...]:
    """Every address of a Service, on every edge, by every way."""
    pools, _ = usable_pools(inventory, snapshot.pools)
    advertising = Advertising(inventory, pools, adverts_of(snapshot, inventory, pools))
    group = advertising.class_of(service, decision.pool or "")
    told = []
    for address in decision.addresses:
        own = {address} if service.key in _answering(plan, address) else set()
        alone = msgspec.structs.replace(decision, addresses=(address,))
        reasons = announcement_reasons(service.key, service, alone, own, advertising)
        whys = {(one.edge, one.way): (one.reason, one.message) for one in reasons}
        for name in sorted(plan.edges):
            for way in Announce:
                why, by = whys.get((name, way), TOGETHER), advertising.matching(group, way, name)
                told.append(_story(name, plan.edges[name], address, (way, by), why))
    return tuple(told)


def _story(
    name: str,
    edge: EdgePlan,
    address: IPAddress,
    means: tuple[Announce, tuple[str, ...]],
    why: tuple[str, str],
) -> AnnouncementStory:
    way, advertisements = means
    carried = _vrrp(edge, address) if way is Announce.VRRP else _bgp(edge, address)
    reason, message = (ANNOUNCED, carried) if carried else why
    return AnnouncementStory(
        edge=name,
        address=str(address),
        way=way.value,
        announced=bool(carried),
        reason=reason,
        message=message,
        advertisements=advertisements,
    )


def _answering(plan: Plan, address: IPAddress) -> set[ObjectKey]:
    """Services that can answer on an address."""
    return {
        server.service
        for edge in plan.edges.values()
        for server in edge.virtual_servers
        if server.address == address and any(real.weight for real in server.real_servers)
    }


def _vrrp(edge: EdgePlan, address: IPAddress) -> str:
    """How VRRP carries an address on an edge, "" if it does not."""
    return ", ".join(
        f"VRRP instance {one.instance} (id {one.vrid}, priority {one.priority})"
        for one in edge.vrrp
        if address in one.addresses
    )


def _bgp(edge: EdgePlan, address: IPAddress) -> str:
    """How BGP carries an address on an edge, "" if it does not."""
    return ", ".join(
        f"BGP {route.prefix} to {', '.join(route.peers)}"
        for route in edge.bgp
        if _covers(route.prefix, address)
    )


def _covers(prefix: str, address: IPAddress) -> bool:
    network = ip_network(prefix)
    return network.version == address.version and address in network
