# SPDX-License-Identifier: Apache-2.0
"""`compare_plans`: the fate of addresses, and items of edges by name."""

from ipaddress import ip_address

import msgspec
import pytest

from fairlead.diff.plans import Fate, Kind, compare_plans
from fairlead.model.names import Announce, Forwarding, ObjectKey, Protocol
from fairlead.model.plan import (
    BgpAnnouncement,
    EdgePlan,
    Plan,
    PlanEvent,
    RealServer,
    Refusal,
    ServicePlan,
    VipAddress,
    VirtualServer,
    VrrpInstance,
)

KEY = ObjectKey("default", "x")
ONE, TWO = ip_address("10.0.0.1"), ip_address("10.0.0.2")
CLEARED = PlanEvent("Normal", "ClearAssignment", "not allowed")
GIVEN = PlanEvent("Normal", "IPAllocated", "given")


def decided(*addresses, pool="p", refusal="", events=()) -> ServicePlan:
    return ServicePlan(
        key=KEY,
        addresses=addresses,
        pool=pool if addresses else None,
        refusal=Refusal("AllocationFailed", refusal) if refusal else None,
        events=events,
    )


FATES = {
    # what -> (before, after, fate, reason)
    "new": (None, decided(ONE), Fate.GAINED, "the Service is new"),
    "gone": (decided(ONE), None, Fate.LOST, "the Service is gone"),
    "gained": (
        decided(refusal="full"),
        decided(ONE, events=(GIVEN,)),
        Fate.GAINED,
        "IPAllocated: given",
    ),
    "lost": (decided(ONE), decided(refusal="full"), Fate.LOST, "full"),
    "changed": (
        decided(ONE),
        decided(TWO, events=(GIVEN, CLEARED)),
        Fate.CHANGED,
        "ClearAssignment: not allowed",
    ),
    "kept in another pool": (decided(ONE), decided(ONE, pool="q"), Fate.KEPT, ""),
    "refused otherwise": (decided(refusal="a"), decided(refusal="b"), Fate.REFUSED, "b"),
    "new and refused": (None, decided(refusal="full"), Fate.REFUSED, "full"),
}


@pytest.mark.parametrize("row", FATES)
def test_the_fate_of_a_service(row: str) -> None:
    before, after, fate, reason = FATES[row]
    sides = [Plan(services=(one,) if one else ()) for one in (before, after)]
    diff = compare_plans(*sides)
    (change,) = diff.services
    assert (change.service, change.fate, change.reason) == ("default/x", fate, reason)
    assert (diff.same, diff.unchanged) == (False, 0)
    assert compare_plans(sides[1], sides[1]).same


SERVER = VirtualServer(
    address=ONE,
    protocol=Protocol.TCP,
    port=80,
    scheduler="mh",
    flags=("fallback",),
    forwarding=Forwarding.DSR,
    service=KEY,
    real_servers=(RealServer(TWO, 80, 1),),
)
INSTANCE = VrrpInstance(
    instance="fairlead",
    interface="eth0",
    vrid=51,
    priority=200,
    advert_interval=0.1,
    preempt=False,
    source=TWO,
    peers=(),
    advertised_address="10.0.0.9/24",
    addresses=(ONE,),
)
EDGE = EdgePlan(
    virtual_servers=(SERVER,),
    addresses=(VipAddress(ONE, (Announce.VRRP,), ready=True),),
    vrrp=(INSTANCE,),
    bgp=(BgpAnnouncement(prefix="10.0.0.1/32", peers=("tor1", "tor2")),),
)
replace = msgspec.structs.replace

ITEMS = {
    # what -> (edge after, "kind section item: fields" of each change)
    "weight": (
        replace(EDGE, virtual_servers=(replace(SERVER, real_servers=(RealServer(TWO, 80, 3),)),)),
        ["changed real_server 10.0.0.2:80: weight 1 -> 3"],
    ),
    "scheduler": (
        replace(EDGE, virtual_servers=(replace(SERVER, scheduler="rr", flags=()),)),
        ["changed virtual_server 10.0.0.1:80/TCP: scheduler mh -> rr, flags ['fallback'] -> []"],
    ),
    "gate": (
        replace(EDGE, addresses=(VipAddress(ONE, (Announce.VRRP,), ready=False),)),
        ["changed address 10.0.0.1: ready True -> False"],
    ),
    "a VRRP address": (
        replace(EDGE, vrrp=(replace(INSTANCE, addresses=()),)),
        ["removed vrrp_address 10.0.0.1: "],
    ),
    "priority": (
        replace(EDGE, vrrp=(replace(INSTANCE, priority=190),)),
        ["changed vrrp fairlead: priority 200 -> 190"],
    ),
    "one router less": (
        replace(EDGE, bgp=(replace(EDGE.bgp[0], peers=("tor1",)),)),
        ["removed bgp 10.0.0.1/32 to tor2: communities [] -> None, local_pref None -> None"],
    ),
    "communities": (
        replace(EDGE, bgp=(replace(EDGE.bgp[0], peers=("tor1", "tor2"), communities=("1:2",)),)),
        [
            "changed bgp 10.0.0.1/32 to tor1: communities [] -> ['1:2']",
            "changed bgp 10.0.0.1/32 to tor2: communities [] -> ['1:2']",
        ],
    ),
}


@pytest.mark.parametrize("row", ITEMS)
def test_items_of_an_edge(row: str) -> None:
    after, expected = ITEMS[row]
    diff = compare_plans(Plan(edges={"e": EDGE}), Plan(edges={"e": after}))
    (edge,) = diff.edges
    assert [
        f"{c.kind} {c.section} {c.item}: "
        + ", ".join(f"{f.field} {f.before} -> {f.after}" for f in c.fields)
        for c in edge.changes
    ] == expected


def test_an_edge_that_comes_or_goes_has_all_of_its_items() -> None:
    (came,) = compare_plans(Plan(), Plan(edges={"e": EDGE})).edges
    (went,) = compare_plans(Plan(edges={"e": EDGE}), Plan()).edges
    assert (came.kind, went.kind) == (Kind.ADDED, Kind.REMOVED)
    assert len(came.changes) == len(went.changes) == 7
    (empty,) = compare_plans(Plan(), Plan(edges={"e": EdgePlan()})).edges
    assert (empty.kind, empty.changes) == (Kind.ADDED, ())
