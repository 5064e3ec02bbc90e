# SPDX-License-Identifier: Apache-2.0
"""The announce gate (reference 4.1) and what stays in force when objects change."""

import msgspec
import pytest

from fairlead.model.names import Announce, ObjectKey
from fairlead.model.pool import Pool
from fairlead.planner.incremental import PlannerState
from fairlead.planner.plan import make_plan
from fairlead.planner.reasons import explain_announcement
from fairlead.snapshot.inventory_adverts import community_entries
from fairlead.snapshot.resources import parse_object
from support.adverts import (
    WEB,
    bgp,
    cluster,
    config,
    document,
    l2,
    one_service,
    planned,
    routes,
)
from support.build import svc

RACK_B = {"matchLabels": {"rack": "b"}}
TIER = {"labels": {"tier": "web"}}
HOST = "10.0.0.1/32"
VRRP, BGP = "vrrp", "bgp"


def planned_cluster(*objects, inventory=None, **fields):
    services = fields.pop("services", None) or (one_service(**fields),)
    snapshot = cluster(*objects, services=services, silent=fields.pop("silent", ()))
    return snapshot, inventory or config()


def reasons(given, edge: str, name: str = "web") -> dict[Announce, str]:
    snapshot, inventory = given
    plan = make_plan(snapshot, inventory)
    told = explain_announcement(snapshot, inventory, plan, ObjectKey("default", name))
    assert all(one.message for one in told)
    return {one.way: one.reason for one in told if one.edge == edge}


LOCAL = {"local": True}
GATE = [  # objects, fields of the Service, reasons on edge1 by way (none: announced)
    ([], {}, {}),
    ([], {"silent": ["web"]}, {VRRP: "noEndpoints", BGP: "noEndpoints"}),
    (
        [],
        {"silent": ["web"], **LOCAL},
        {VRRP: "noLocalEndpoints", BGP: "noLocalEndpoints"},
    ),
    ([], LOCAL, {}),
    ([], {"type": "ClusterIP"}, {VRRP: "notLoadBalancer", BGP: "notLoadBalancer"}),
    ([], {"want": "10.7.7.7"}, {}),  # a bad request keeps the address
    ([l2(), bgp()], {}, {}),
    ([l2()], {}, {BGP: "notOwner"}),
    ([bgp()], {}, {VRRP: "noMatchingAdvertisement"}),
    (
        [l2(ipAddressPools=["q"]), bgp(ipAddressPools=["q"])],
        {},
        {VRRP: "noMatchingAdvertisement", BGP: "notOwner"},
    ),
    (
        [l2(nodeSelectors=[RACK_B]), bgp(nodeSelectors=[RACK_B])],
        {},
        {VRRP: "noMatchingAdvertisement", BGP: "notOwner"},
    ),
    (
        [l2(serviceSelectors=[WEB]), bgp(serviceSelectors=[WEB])],
        {},
        {VRRP: "noMatchingAdvertisement", BGP: "noMatchingAdvertisement"},
    ),
    (
        [l2(serviceSelectors=[WEB]), bgp(serviceSelectors=[WEB])],
        {**TIER, "share": "k"},
        {VRRP: "sharedIPWithServiceSelector"},
    ),
    ([l2(interfaces=["eth1"]), bgp()], {}, {VRRP: "announceFailed"}),
    (
        [l2(), bgp("a", localPref=1), bgp("b", localPref=2, serviceSelectors=[WEB])],
        TIER,
        {BGP: "conflictingAdvertisements"},
    ),
    ([l2(), bgp(peers=["nobody"])], {}, {BGP: "noPeers"}),
    # Upstream looks at endpoints first for layer 2 and last for BGP.
    (
        [l2(ipAddressPools=["q"]), bgp(ipAddressPools=["q"])],
        {"silent": ["web"]},
        {VRRP: "noEndpoints", BGP: "notOwner"},
    ),
]


@pytest.mark.parametrize(("objects", "fields", "expected"), GATE)
def test_reasons(objects, fields, expected) -> None:
    fields = dict(fields)
    silent = fields.pop("silent", ())
    given = (cluster(*objects, services=[one_service(**fields)], silent=silent), config())
    assert reasons(given, "edge1") == expected


def test_reasons_beside_the_gate() -> None:
    pending = (cluster(services=[svc("web", want_pool="nowhere")]), config())
    assert set(reasons(pending, "edge1").values()) == {"noIPAllocated"}
    assert set(reasons(pending, "edge1", "other").values()) == {"serviceDeleted"}
    vrrp_only = (cluster(services=[one_service()]), config(announce=(Announce.VRRP,)))
    assert reasons(vrrp_only, "edge1") == {Announce.BGP: "notInInventory"}
    silent = (cluster(services=[one_service()]), config(announce_default=False))
    assert set(reasons(silent, "edge1").values()) == {"noMatchingAdvertisement"}


def test_more_than_63_communities_together_are_a_contradiction() -> None:
    halves = [bgp(name, communities=[f"{n}:{i}" for i in range(33)]) for n, name in enumerate("ab")]
    assert routes(planned(*halves)) == []
    assert reasons(planned_cluster(*halves), "edge1")[Announce.BGP] == "conflictingAdvertisements"


def test_a_shared_address_goes_out_as_those_who_answer_are_advertised() -> None:
    services = [
        svc("one", holds="10.0.0.1", note="p", share="k", ports="80", **TIER),
        svc("two", holds="10.0.0.1", note="p", share="k", ports="81"),
    ]
    objects = [bgp("all"), bgp("web", communities=["1:1"], serviceSelectors=[WEB])]
    assert routes(planned(*objects, services=services)) == [f"{HOST} > tor [1:1]"]
    assert routes(planned(*objects, services=services, silent=["one"])) == [f"{HOST} > tor"]
    assert routes(planned(*objects, services=services, silent=["one", "two"])) == []


def state_of(*objects) -> PlannerState:
    snapshot = cluster(*objects, services=[one_service()])
    state = PlannerState(config())
    for kind, values in (
        ("IPAddressPool", snapshot.pools),
        ("Node", snapshot.nodes),
        ("EndpointSlice", snapshot.slices),
        ("Service", snapshot.services),
        ("BGPAdvertisement", snapshot.bgp_advertisements),
        ("L2Advertisement", snapshot.l2_advertisements),
    ):
        state.replace(kind, values)
    return state


def parsed(data):
    meta = {**data["metadata"], "namespace": "metallb-system"}
    return parse_object(data["kind"], {**data, "metadata": meta})


def prefixes(state: PlannerState) -> list[str]:
    return [
        f"{route.prefix} {' '.join(route.communities)}".strip()
        for route in state.edge_plan("edge1").bgp
    ]


def test_the_last_usable_version_stays_in_force() -> None:
    state = state_of(bgp("a", communities=["1:1"]))
    assert prefixes(state) == [f"{HOST} 1:1"]
    state.put(parsed(bgp("a", communities=["green"])))
    assert prefixes(state) == [f"{HOST} 1:1"]
    (error,) = state.object_errors
    assert error.message.endswith("; the version before stays in force")
    state.put(parsed(document("Community", "c", communities=[{"name": "green", "value": "1:2"}])))
    assert prefixes(state) == [f"{HOST} 1:2"]
    assert state.object_errors == ()


def test_what_was_there_first_stays_whatever_is_older() -> None:
    state = state_of(bgp("a", created="2026-02-02", localPref=1))
    state.edge_plan("edge1")
    state.put(parsed(bgp("b", created="2026-01-01", localPref=2)))
    assert [route.local_pref for route in state.edge_plan("edge1").bgp] == [1]
    assert [error.name for error in state.object_errors] == ["b"]


def test_an_object_that_turned_unreadable_still_counts() -> None:
    state = state_of()
    key = ObjectKey("metallb-system", "l2")
    assert state.edge_plan("edge1").addresses[0].announce == (Announce.VRRP, Announce.BGP)
    state.put_unreadable("L2Advertisement", key)
    assert state.edge_plan("edge1").addresses[0].announce == ()
    state.put(parsed(l2()))
    assert state.edge_plan("edge1").addresses[0].announce == (Announce.VRRP,)
    state.put_unreadable("L2Advertisement", key)
    assert state.edge_plan("edge1").addresses[0].announce == (Announce.VRRP,)
    state.remove("L2Advertisement", key)
    assert state.edge_plan("edge1").addresses[0].announce == (Announce.VRRP, Announce.BGP)


def test_a_change_of_advertisements_is_told_and_nothing_else() -> None:
    state = state_of(bgp("a"))
    assert state.take_edge_delta("edge1")
    assert not state.take_edge_delta("edge1")
    state.put(parsed(bgp("a", communities=["1:1"])))
    delta = state.take_edge_delta("edge1")
    assert not delta.virtual_servers
    assert (delta.vrrp, delta.bgp_peers, delta.failed) == (None, None, None)
    assert [policy.communities for policy in delta.bgp_policies] == [("1:1",), ("1:1",)]
    assert [route.communities for route in delta.bgp] == [("1:1",)]


def test_aliases_of_the_inventory() -> None:
    names = [{"name": "c", "communities": [{"name": "blue", "value": "65000:9"}]}]
    inventory = config(communities=community_entries(names))
    plan = planned(bgp(communities=["blue"]), inventory=inventory)
    assert routes(plan) == [f"{HOST} > tor [65000:9]"]


def test_a_pool_that_went_keeps_its_name_for_selection() -> None:
    """The note on the Service names the pool where no object does any more."""
    state = state_of(bgp("a", ipAddressPools=["p"]))
    keep = [ObjectKey("metallb-system", "p")]
    rest = [one for one in cluster().pools if isinstance(one, Pool) and one.name != "p"]
    state.replace("IPAddressPool", rest, keep)
    assert prefixes(state) == [HOST]
    assert msgspec.structs.asdict(state.edge_plan("edge1").bgp[0])["peers"] == ("tor",)
