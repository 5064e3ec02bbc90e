# SPDX-License-Identifier: Apache-2.0
"""What a Service asks for, and every sentence with which that is refused (sections 1.1-1.3, 9)."""

from ipaddress import ip_network

import msgspec
import pytest

from fairlead.model.pool import PoolSelection
from fairlead.planner.requests import annotation, is_ours
from support.build import INVENTORY, decide, pool, svc, texts

P = pool("p", "10.0.0.1-10.0.0.4")
Q = pool("q", "10.0.1.1-10.0.1.2", "fd00:1::/126", auto_assign=False)
OTHERS = pool(
    "others",
    "10.0.2.0/30",
    select=PoolSelection(namespaces=("other",)),
)
POOLS = (P, Q, OTHERS)

REFUSALS = {
    "text-that-is-no-address": (
        svc("x", want="10.0.0.300"),
        'invalid metallb.io/loadBalancerIPs: "10.0.0.300"',
    ),
    "line-break-in-the-text": (
        svc("x", want='a"\nb'),
        'invalid metallb.io/loadBalancerIPs: "a\\"\\nb"',
    ),
    "spec-field-is-no-address": (svc("x", load_balancer_ip="t"), 'invalid spec.loadBalancerIP "t"'),
    "both-ways-at-once": (
        svc("x", want="10.0.0.1", load_balancer_ip="10.0.0.1"),
        "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
    ),
    "three-addresses": (
        svc("x", want="10.0.0.1,10.0.0.2,fd00:1::1"),
        'IPFamilyForAddresses: invalid ips length 3 ["10.0.0.1" "10.0.0.2" "fd00:1::1"]',
    ),
    "two-of-one-family": (
        svc("x", want="10.0.0.1,10.0.0.2"),
        'IPFamilyForAddresses: same address family ["10.0.0.1" "10.0.0.2"]',
    ),
    "one-address-for-a-dual-stack": (
        svc("x", want="10.0.1.1", ips="10.96.0.1 fd00:96::1", policy="RequireDualStack"),
        'requested loadBalancer IP(s) ["10.0.1.1"] does not match the ipFamily of the service',
    ),
    "pair-for-a-single-stack": (
        svc("x", want="10.0.1.1,fd00:1::1"),
        (
            'requested loadBalancer IP(s) ["10.0.1.1" "fd00:1::1"] does not match the ipFamily of '
            "the service"
        ),
    ),
    "other-family": (
        svc("x", want="fd00:1::1"),
        'requested loadBalancer IP(s) ["fd00:1::1"] does not match the ipFamily of the service',
    ),
    "address-and-pool-disagree": (
        svc("x", want="10.0.0.1", want_pool="q"),
        'requested loadBalancer IP(s) ["10.0.0.1"] is not compatible with requested address pool q',
    ),
    "unknown-pool": (svc("x", want_pool="nowhere"), 'unknown pool "nowhere"'),
    "pool-selects-others": (
        svc("x", want_pool="others"),
        "pool others not compatible for ip assignment",
    ),
    "address-of-a-pool-that-selects-others": (
        svc("x", want="10.0.2.1"),
        "pool others not compatible for ip assignment",
    ),
    "address-in-no-pool": (svc("x", want="192.0.2.77"), '["192.0.2.77"] is not allowed in config'),
    "pair-from-two-pools": (
        svc("x", want="10.0.0.1,fd00:1::1", ips="10.96.0.1 fd00:96::1", policy="RequireDualStack"),
        '["10.0.0.1" "fd00:1::1"] is not allowed in config',
    ),
    "pool-without-the-family": (
        svc("x", want_pool="p", ips="fd00:96::1"),
        "no available IPs in pool p",
    ),
    "pool-without-both-families": (
        svc("x", want_pool="p", ips="10.96.0.1 fd00:96::1", policy="RequireDualStack"),
        "no available IPs in pool p for dual IPFamily",
    ),
}


@pytest.mark.parametrize("row", REFUSALS)
def test_refusal(row: str) -> None:
    service, why = REFUSALS[row]
    plan = decide([service], POOLS)["x"]
    message = f'Failed to allocate IP for "default/x": {why}'
    assert plan.addresses == ()
    assert texts(plan) == [f"AllocationFailed: {message}"]
    assert plan.events[0].type == "Warning"
    assert plan.refusal is not None
    assert (plan.refusal.reason, plan.refusal.message) == ("AllocationFailed", message)


GRANTED = {
    "by-annotation": (svc("x", want="10.0.0.3"), "10.0.0.3"),
    "by-spec": (svc("x", load_balancer_ip="10.0.0.3"), "10.0.0.3"),
    "by-old-prefix": (
        svc("x", annotations={"metallb.universe.tf/loadBalancerIPs": "10.0.0.2"}),
        "10.0.0.2",
    ),
    "blanks-around-the-comma": (
        svc(
            "x",
            want=" fd00:1::2 , 10.0.1.2 ",
            ips="10.96.0.1 fd00:96::1",
            policy="RequireDualStack",
        ),
        "fd00:1::2 10.0.1.2",
    ),
    "from-a-pool-that-is-not-automatic": (svc("x", want="10.0.1.2"), "10.0.1.2"),
    "by-pool": (svc("x", want_pool="q"), "10.0.1.1"),
    "by-pool-and-address": (svc("x", want_pool="q", want="10.0.1.2"), "10.0.1.2"),
    "mapped-address": (svc("x", want="::ffff:10.0.0.2"), "10.0.0.2"),
    "current-prefix-wins": (
        svc("x", want_pool="q", annotations={"metallb.universe.tf/address-pool": "p"}),
        "10.0.1.1",
    ),
    "empty-current-prefix-wins": (
        svc(
            "x",
            annotations={"metallb.universe.tf/address-pool": "q", "metallb.io/address-pool": ""},
        ),
        "10.0.0.1",
    ),
}


@pytest.mark.parametrize("row", GRANTED)
def test_granted(row: str) -> None:
    service, addresses = GRANTED[row]
    plan = decide([service], POOLS)["x"]
    assert " ".join(map(str, plan.addresses)) == addresses
    listed = "[" + " ".join(f'"{address}"' for address in addresses.split()) + "]"
    assert texts(plan)[0] == f"IPAllocated: Assigned IP {listed}"
    assert plan.events[0].type == "Normal"
    assert plan.changed


CLASSES = [
    (None, None, True),
    (None, "foo", False),
    ("foo", None, False),
    ("foo", "bar", False),
    ("foo", "foo", True),
]


@pytest.mark.parametrize(("of_service", "of_ours", "handled"), CLASSES)
def test_load_balancer_class(of_service, of_ours, handled: bool) -> None:
    inventory = msgspec.structs.replace(INVENTORY, load_balancer_class=of_ours)
    service = svc("x", holds="10.0.0.2", load_balancer_class=of_service)
    assert is_ours(service, inventory) is handled
    assert bool(decide([service], POOLS, inventory=inventory)) is handled


def test_address_in_the_status_of_a_foreign_class_is_free() -> None:
    foreign = svc("foreign", holds="10.0.0.1", load_balancer_class="other", age=9)
    assert [str(a) for a in decide([foreign, svc("x")], POOLS)["x"].addresses] == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("annotations", "value"),
    [
        ({"metallb.io/k": "a", "metallb.universe.tf/k": "b"}, "a"),
        ({"metallb.universe.tf/k": "b"}, "b"),
        ({"metallb.io/k": "", "metallb.universe.tf/k": "b"}, ""),
        ({}, ""),
    ],
)
def test_prefixes(annotations: dict[str, str], value: str) -> None:
    assert annotation(svc("x", annotations=annotations), "k") == value


def test_deprecated_annotations_are_told_when_something_changes() -> None:
    old = {"metallb.universe.tf/address-pool": "p", "metallb.universe.tf/anything": "y"}
    told = texts(decide([svc("x", annotations=old)], POOLS)["x"])
    assert told[1:] == [
        "deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/address-pool",
        "deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/anything",
    ]
    assert not texts(decide([svc("x", annotations=old, holds="10.0.0.2")], POOLS)["x"])


IGNORED = {
    "affinity": {"affinity_seconds": 60},
    "source-ranges": {"source_ranges": (ip_network("192.0.2.0/24"),)},
    "node-ports": {"allocate_node_ports": False},
}


@pytest.mark.parametrize("row", IGNORED)
def test_fields_that_do_not_matter_to_allocation(row: str) -> None:
    plain, other = svc("x", holds="10.0.0.2"), svc("x", holds="10.0.0.2", **IGNORED[row])
    assert decide([plain], POOLS) == decide([other], POOLS)


def test_who_has_back_what_it_lost_in_the_same_run_is_told_nothing() -> None:
    # The older one claims the address that both have in status, and then moves to what it asks for.
    older = svc("b", holds="10.0.0.3", want="10.0.0.2", age=1)
    services = [svc("a", holds="10.0.0.1", age=2), older, svc("c", holds="10.0.0.3")]
    plans = decide(services, [pool("p", "10.0.0.1-10.0.0.3")])
    assert [str(address) for address in plans["b"].addresses] == ["10.0.0.2"]
    assert [str(address) for address in plans["c"].addresses] == ["10.0.0.3"]
    assert (plans["c"].changed, plans["c"].events) == (False, ())
