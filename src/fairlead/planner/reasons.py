# SPDX-License-Identifier: Apache-2.0
"""Why a Service is not announced: one reason per edge and way, in upstream's words (reference 4.1).

Two words are ours, because upstream has no such case: `notInInventory` (the inventory's `announce`
lacks the way) and `noPeers` (no BGP session of the edge hears the prefix).
"""

from collections.abc import Collection

from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import Service
from fairlead.model.names import Announce, IPAddress, ObjectKey, TrafficPolicy
from fairlead.model.plan import NotAnnounced, Plan, ServicePlan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.advert_store import adverts_of
from fairlead.planner.adverts import Advertising, Reach, ServiceClass
from fairlead.planner.edges import ANNOUNCE_FAILED, missing_interfaces
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.pools import usable_pools
from fairlead.planner.requests import is_ours
from fairlead.planner.shape import service_frame, service_ready_on, shape_service

_Why = tuple[str, str] | None
"""Reason and sentence; None where the Service is announced."""


def explain_announcement(
    snapshot: Snapshot, inventory: Inventory, plan: Plan, key: ObjectKey
) -> tuple[NotAnnounced, ...]:
    """Why a Service is not announced, by edge and way; nothing where it is.

    Args:
        snapshot: The cluster.
        inventory: The edges.
        plan: `make_plan` of both.
        key: Of the Service.
    """
    service = next((one for one in snapshot.services if one.key == key), None)
    decision = next((one for one in plan.services if one.key == key), None)
    pools, _ = usable_pools(inventory, snapshot.pools)
    advertising = Advertising(inventory, pools, adverts_of(snapshot, inventory, pools))
    answering: set[IPAddress] = set()
    if service is not None and decision is not None:
        own = [item for item in snapshot.slices if item.service == key]
        own.sort(key=lambda item: item.key)
        nodes = NodeIndex(snapshot.nodes)
        shaped = shape_service(service_frame(service, decision.addresses, inventory), own, nodes)
        answering = {a for a in decision.addresses if service_ready_on(shaped, a)}
    return announcement_reasons(key, service, decision, answering, advertising)


def announcement_reasons(
    key: ObjectKey,
    service: Service | None,
    decision: ServicePlan | None,
    answering: Collection[IPAddress],
    advertising: Advertising,
) -> tuple[NotAnnounced, ...]:
    """The same from what is known already: `answering` are addresses on which it could answer."""
    found = []
    for edge in sorted(advertising.inventory.edges, key=lambda edge: edge.name):
        for way in Announce:
            why = _why(service, decision, answering, advertising, edge, way)
            if why is not None:
                reason, message = why
                found.append(
                    NotAnnounced(
                        service=key, edge=edge.name, way=way, reason=reason, message=message
                    )
                )
    return tuple(found)


def _why(  # noqa: PLR0917  # all of it is needed, nothing has a default
    service: Service | None,
    decision: ServicePlan | None,
    answering: Collection[IPAddress],
    advertising: Advertising,
    edge: Edge,
    way: Announce,
) -> _Why:
    if service is None:
        return "serviceDeleted", "there is no such Service"
    if not is_ours(service, advertising.inventory):
        return "notLoadBalancer", "it is not of type LoadBalancer and of the class that is ours"
    if decision is None or not decision.addresses or decision.pool is None:
        return "noIPAllocated", "it has no address"
    if way not in advertising.inventory.announce:
        return "notInInventory", f"the inventory's announce does not name {way.value}"
    one = advertising.class_of(service, decision.pool)
    whys = [
        _why_address(service, one, address in answering, advertising, edge, way, address.version)
        for address in decision.addresses
    ]
    # A pair of two families is announced where either address is.
    return None if None in whys else whys[0]


def _why_address(  # noqa: PLR0917  # all of it is needed, nothing has a default
    service: Service,
    one: ServiceClass,
    answers: bool,
    advertising: Advertising,
    edge: Edge,
    way: Announce,
    version: int,
) -> _Why:
    reach = advertising.reach((one,), version)
    if way is Announce.VRRP:
        return _no_endpoints(service, answers) or _why_vrrp(one, reach, advertising, edge)
    return _why_bgp(one, reach, advertising, edge, version) or _no_endpoints(service, answers)


def _why_vrrp(one: ServiceClass, reach: Reach, advertising: Advertising, edge: Edge) -> _Why:
    if one.shared:
        return (
            "sharedIPWithServiceSelector",
            "it carries a sharing key, and an L2Advertisement picks it by serviceSelectors",
        )
    if edge.name in reach.failed:
        return ANNOUNCE_FAILED, missing_interfaces(edge, reach.failed[edge.name])
    if reach.group is None or reach.group.member(edge.name) is None:
        return "noMatchingAdvertisement", _no_match("L2Advertisement", one, advertising, edge)
    return None


def _why_bgp(
    one: ServiceClass, reach: Reach, advertising: Advertising, edge: Edge, version: int
) -> _Why:
    explicit = advertising.adverts.explicit
    if explicit and not advertising.pool_reaches(one.pool, edge.name):
        return "notOwner", _no_match("BGPAdvertisement", one, advertising, edge)
    matched = advertising.reaches_edge(one, Announce.BGP, edge.name)
    allowed = matched if explicit else advertising.inventory.announce_default
    if not allowed:
        return "noMatchingAdvertisement", _no_match("BGPAdvertisement", one, advertising, edge)
    if edge.name in reach.conflicts:
        return (
            "conflictingAdvertisements",
            "BGPAdvertisements that match it contradict each other (localPref, 63 communities)",
        )
    if not reach.offers.get(edge.name):
        return "noPeers", f"no BGP peer of edge {edge.name} hears IPv{version} prefixes of it"
    return None


def _no_endpoints(service: Service, answers: bool) -> _Why:
    if answers:
        return None
    if service.policy is TrafficPolicy.LOCAL:
        return "noLocalEndpoints", "no node that may serve it has a ready endpoint of its own"
    return "noEndpoints", "no endpoint is ready, or no node may serve it"


def _no_match(kind: str, one: ServiceClass, advertising: Advertising, edge: Edge) -> str:
    if not advertising.adverts.explicit:
        return "there is no advertisement, and announce_default is off"
    return f"no {kind} matches pool {one.pool!r}, this Service and edge {edge.name}"
