# SPDX-License-Identifier: Apache-2.0
"""The whole plan: edges' slices, announcements, pools of two origins, JSON."""

import json
from importlib.resources import files
from ipaddress import ip_address

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from fairlead.model.inventory import BgpPeer, BgpSettings, VrrpSettings
from fairlead.model.names import Announce
from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import (
    PlanFormatError,
    edge_plan_from_dict,
    edge_plan_to_dict,
    plan_from_json,
    plan_to_json,
)
from fairlead.planner.plan import make_plan
from property.strategies_cluster import inventory as property_inventory
from property.strategies_cluster import snapshots
from support.build import EDGES, INVENTORY, eps, node, pool, svc

SCHEMA = json.loads(files("fairlead").joinpath("schema/plan.schema.json").read_text())
NODES = (node("n1", "192.0.2.101"), node("n2", "192.0.2.102"))
PEERS = (
    BgpPeer(name="tor1", address=ip_address("192.0.2.1"), asn=64500),
    BgpPeer(name="tor2", address=ip_address("192.0.2.2"), asn=64500, edges=("edge2",)),
)
POOLS = (pool("p", "10.0.0.1-10.0.0.9"),)
BOTH_WAYS = msgspec.structs.replace(
    INVENTORY,
    announce=(Announce.VRRP, Announce.BGP),
    bgp=BgpSettings(peers=PEERS),
    vrrp=VrrpSettings(advertised_address="10.9.0.9/24"),
)


def plan(services, slices=(), config=BOTH_WAYS, pools=POOLS):
    return make_plan(
        Snapshot(services=tuple(services), slices=tuple(slices), nodes=NODES, pools=pools), config
    )


def test_edges_carry_the_same_and_announce_as_the_inventory_says() -> None:
    made = plan([svc("x"), svc("silent", age=-1)], [eps("x", "10.244.0.1@n1")])
    one, two = made.edges["edge1"], made.edges["edge2"]
    assert one.virtual_servers == two.virtual_servers
    assert [(str(v.address), v.ready) for v in one.addresses] == [
        ("10.0.0.1", True),
        ("10.0.0.2", False),
    ]
    (first,), (second,) = one.vrrp, two.vrrp
    assert (first.priority, second.priority) == (200, 190)
    assert [str(a) for a in first.addresses] == ["10.0.0.1"]
    assert (first.source, first.peers) == (EDGES[0].address, (EDGES[1].address,))
    assert [(r.prefix, r.peers) for r in one.bgp] == [("10.0.0.1/32", ("tor1",))]
    assert [(r.prefix, r.peers) for r in two.bgp] == [("10.0.0.1/32", ("tor1", "tor2"))]


def test_priority_of_the_inventory_wins() -> None:
    edges = (EDGES[0], msgspec.structs.replace(EDGES[1], priority=250))
    made = plan([svc("x")], config=msgspec.structs.replace(BOTH_WAYS, edges=edges))
    assert made.edges["edge2"].vrrp[0].priority == 250


def test_announcing_nothing_by_default_is_a_switch() -> None:
    config = msgspec.structs.replace(BOTH_WAYS, announce_default=False)
    edge = plan([svc("x")], [eps("x", "10.244.0.1@n1")], config).edges["edge1"]
    assert edge.addresses[0].announce == ()
    assert (edge.vrrp[0].addresses, edge.bgp) == ((), ())


def test_a_shared_address_is_ready_if_any_sharer_is() -> None:
    services = [
        svc("a", share="k", want="10.0.0.5", ports="80"),
        svc("b", share="k", want="10.0.0.5", ports="53/UDP"),
    ]
    edge = plan(services, [eps("b", "10.244.0.1@n1", ports="53/UDP")]).edges["edge1"]
    assert [(str(v.address), v.ready) for v in edge.addresses] == [("10.0.0.5", True)]
    assert [str(s.service) for s in edge.virtual_servers] == ["default/a", "default/b"]


def test_an_overlapping_pool_is_left_out_and_named_and_the_older_stays() -> None:
    older = pool("z", "10.0.0.0/30", created="2026-01-01T00:00:00Z")
    younger = pool("a", "10.0.0.0/24", created="2026-02-01T00:00:00Z")
    made = plan([svc("x")], pools=(younger, older))
    assert made.services[0].pool == "z"
    (error,) = made.errors
    assert (error.kind, error.namespace, error.name, error.field) == (
        "IPAddressPool",
        "metallb-system",
        "a",
        "spec.addresses[0]",
    )
    assert error.message == "'10.0.0.0/24' overlaps with already defined '10.0.0.0/30' of pool 'z'"


def test_the_inventorys_pools_come_before_objects() -> None:
    config = msgspec.structs.replace(
        INVENTORY, pools=(msgspec.structs.replace(pool("p", "10.7.0.0/24"), namespace=""),)
    )
    made = plan([svc("x")], config=config)
    assert str(made.services[0].addresses[0]) == "10.7.0.0"
    assert "a pool named 'p' is in the" in made.errors[0].message


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(snapshots())
def test_json_follows_the_schema(snapshot: Snapshot) -> None:
    data = plan_to_json(make_plan(snapshot, property_inventory()))
    jsonschema.validate(json.loads(data), SCHEMA)


def test_an_edges_slice_survives_the_way_to_the_edge() -> None:
    made = plan([svc("x", affinity_seconds=60)], [eps("x", "10.244.0.1@n1")])
    for edge in made.edges.values():
        assert edge_plan_from_dict(json.loads(json.dumps(edge_plan_to_dict(edge)))) == edge


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b'{"services": []}', b'{"services": [], "edges": {"e": {}}, "errors": []}'],
)
def test_json_that_is_no_plan_is_refused(text: bytes) -> None:
    with pytest.raises(PlanFormatError, match="not a plan"):
        plan_from_json(text)


def test_an_address_that_is_none_is_refused() -> None:
    edge = edge_plan_to_dict(plan([svc("x")]).edges["edge1"])
    edge["addresses"][0]["address"] = "10.0.0.1; rm"
    with pytest.raises(PlanFormatError, match="is not an IP address"):
        edge_plan_from_dict(edge)
