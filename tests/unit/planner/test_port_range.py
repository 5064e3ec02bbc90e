# SPDX-License-Identifier: Apache-2.0
"""Port ranges in the plan: who serves them, their marks, and declared ports among them."""

import json
from importlib.resources import files
from ipaddress import ip_address, ip_network

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cli.tables import how
from fairlead.diff.ipvs import desired_entry, service_key
from fairlead.diff.plans import server_name
from fairlead.model.marks import is_own_mark
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import edge_plan_from_dict, edge_plan_to_dict, plan_to_dict
from fairlead.planner.explain import explain
from fairlead.planner.incremental import PlannerState
from fairlead.planner.marks import assign_marks
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.options import PORT_RANGE, PREFIX
from fairlead.planner.plan import make_plan
from fairlead.planner.port_range import NOT_SERVED
from fairlead.planner.shape import shape_events
from support.build import INVENTORY, eps, node, pool, shaped_on, svc

SCHEMA = json.loads(files("fairlead").joinpath("schema/plan.schema.json").read_text())
VIP = ip_address("10.0.0.1")
MODE = f"{PREFIX}forwarding"
POD = {PORT_RANGE: "10000-20000/UDP", MODE: "pod"}
N1 = node("n1", "192.0.2.101")
PODS = eps(
    "x", "10.244.0.1@n1", "10.244.0.2@n2 draining", "10.244.0.3@n2 unready", ports="5060/UDP"
)


def shape(service, *slices):
    return shaped_on(service, (VIP,), slices or (PODS,), NodeIndex([N1]), INVENTORY)


def reals(server):
    return {f"{real.address}:{real.port}": real.weight for real in server.real_servers}


def test_a_range_is_one_virtual_server_that_keeps_ports():
    declared, found = shape(svc("x", ports="5060/UDP", annotations=POD))
    assert (declared.port, declared.last_port, declared.mark) == (5060, None, None)
    assert (found.protocol, found.port, found.last_port) == (Protocol.UDP, 10_000, 20_000)
    assert found.forwarding is Forwarding.POD
    assert reals(found) == {"10.244.0.1:0": 1, "10.244.0.2:0": 0}, "UDP: nobody is held"
    assert found.flags == ("fallback",), "all ports of a client belong to one pod"


def test_tcp_holds_the_unready():
    _, found = shape(svc("x", annotations=POD | {PORT_RANGE: "7000-7001/TCP"}))
    assert reals(found) == {"10.244.0.1:0": 1, "10.244.0.2:0": 0, "10.244.0.3:0": 0}


def test_pods_count_whatever_ports_their_slices_name_and_once():
    slices = (
        eps("x", "10.244.0.1@n1", ports="5060:sip/UDP"),
        eps("x", "10.244.0.1@n1", "10.244.0.4@n1", ports="9000:other", name="two"),
        eps("x", "fd00:244::1@n1", name="six"),
    )
    _, found = shape(svc("x", ports="5060:sip/UDP", annotations=POD), *slices)
    assert reals(found) == {"10.244.0.1:0": 1, "10.244.0.4:0": 1}


REFUSED = {
    # annotations -> what the Warning says
    "dsr": ({MODE: "dsr"}, "forwarding mode dsr: kube-proxy"),
    "default-mode": ({}, "forwarding mode dsr: kube-proxy"),
    "tunnel": ({MODE: "tunnel"}, "forwarding mode tunnel: kube-proxy"),
    "masquerade": ({MODE: "masquerade"}, "no port of the range has a nodePort"),
    "shared": ({MODE: "pod", "metallb.io/allow-shared-ip": "k"}, "allow-shared-ip lets others in"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_who_can_not_serve_a_range_says_why_and_serves_the_rest(row):
    notes, text = REFUSED[row]
    service = svc("x", ports="80@30080", annotations={PORT_RANGE: "10000-20000/UDP", **notes})
    (event,) = shape_events(service, INVENTORY)
    assert (event.type, event.reason) == ("Warning", NOT_SERVED)
    assert text in event.message
    assert [server.port for server in shape(service)] == [80]


def snapshot(*names, **fields):
    services = [svc(name, annotations=POD, **fields) for name in names]
    slices = [eps(name, "10.244.0.1@n1") for name in names]
    pools = (pool("p", "10.0.0.0/24"),)
    return Snapshot(services=services, slices=slices, nodes=(N1,), pools=pools)


def ranges(plan):
    servers = plan.edges["edge1"].virtual_servers
    return {str(one.service): one for one in servers if one.last_port is not None}


def test_the_plan_has_a_mark_and_its_json_is_of_the_contract():
    plan = make_plan(snapshot("x"), INVENTORY)
    (found,) = ranges(plan).values()
    assert is_own_mark(found.mark)
    assert service_key(found).fwmark == found.mark
    assert str(service_key(found)) == f"-f {found.mark}"
    assert desired_entry(found).dests[0].port == 0
    encoded = edge_plan_to_dict(plan.edges["edge1"])
    assert edge_plan_from_dict(encoded) == plan.edges["edge1"]
    jsonschema.validate(plan_to_dict(plan), SCHEMA)
    assert server_name(found) == "10.0.0.0:10000-20000/UDP"
    assert how(found) == f"pod, mh, mark 0x0{found.mark:x}"


def test_both_families_have_one_mark_and_different_virtual_servers():
    found = make_plan(
        msgspec.structs.replace(
            snapshot("x", ips="10.96.0.1 fd00::9", policy="RequireDualStack"),
            pools=(pool("p", "10.0.0.0/24", "fd00:1::/120"),),
        ),
        INVENTORY,
    )
    keys = {
        service_key(one)
        for one in found.edges["edge1"].virtual_servers
        if one.last_port is not None
    }
    assert len(keys) == 2
    assert len({key.fwmark for key in keys}) == 1


def test_explained():
    (story, _) = explain(snapshot("x"), INVENTORY, ObjectKey("default", "x"))
    _, found = story.virtual_servers
    assert (found.port, found.last_port, found.served) == (10_000, 20_000, True)
    assert [(one.address, one.weight) for one in found.targets] == [("10.244.0.1", 1)]
    dsr = msgspec.structs.replace(
        snapshot("x"), services=(svc("x", annotations={PORT_RANGE: "1-2/UDP"}),)
    )
    (story, _) = explain(dsr, INVENTORY, ObjectKey("default", "x"))
    assert "kube-proxy" in story.virtual_servers[1].remark


# The hash of two of these is the same, and of two others.
MEETING = ("aeacxx", "baaaxx", "aeaaxx", "baacxx", "other")


def test_marks_that_meet_are_set_apart():
    keys = [ObjectKey("default", name) for name in MEETING]
    marks = assign_marks(keys)
    assert len(set(marks.values())) == len(keys)
    assert marks[keys[1]] == marks[keys[0]] + 1
    assert assign_marks(reversed(keys)) == marks
    assert assign_marks(keys[1:2])[keys[1]] == marks[keys[0]], "alone it has its own"
    assert all(map(is_own_mark, marks.values()))


@given(st.lists(st.tuples(st.sampled_from(MEETING), st.booleans()), max_size=12))
def test_marks_are_those_of_a_full_plan_whatever_came_before(changes):
    state = PlannerState(INVENTORY)
    told = {}
    for value in (pool("p", "10.0.0.0/24"), N1):
        state.put(value)
    present = {}
    for name, ranged in changes:
        key = ObjectKey("default", name)
        if name in present:
            state.remove("Service", key)
            del present[name]
        else:
            present[name] = svc(
                name,
                holds=f"10.0.0.{MEETING.index(name) + 1}",
                annotations=POD if ranged else {},
            )
            state.put(present[name])
        news = state.take_edge_delta("edge1").virtual_servers
        told.update({key: change.servers for key, change in news.items()})
        full = make_plan(
            Snapshot(
                services=tuple(present.values()), nodes=(N1,), pools=(pool("p", "10.0.0.0/24"),)
            ),
            INVENTORY,
        )
        expected = full.edges["edge1"].virtual_servers
        assert state.edge_plan("edge1").virtual_servers == expected
        assert sorted(map(repr, expected)) == sorted(
            repr(one) for servers in told.values() for one in servers
        )


def test_an_address_that_others_came_to_by_status_has_no_range():
    state = PlannerState(INVENTORY)
    for value in (
        pool("p", "10.0.0.0/24"),
        svc("x", holds="10.0.0.1", annotations=POD),
        svc("y", holds="10.0.0.1", ports="81"),
    ):
        state.put(value)
    ports = [one.port for one in state.edge_plan("edge1").virtual_servers]
    assert ports == [80, 81]


def test_ranges_are_restricted_like_the_rest():
    only = (ip_network("192.0.2.0/24"),)
    shaped = shape(svc("x", annotations=POD, source_ranges=only))
    assert [one.source_ranges for one in shaped] == [only, only]
