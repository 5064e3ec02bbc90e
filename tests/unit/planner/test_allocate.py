# SPDX-License-Identifier: Apache-2.0
"""One sync of Services and pools (sections 1.4, 2.3, 2.5, 9 and our choices of design 9)."""

from ipaddress import ip_address

import msgspec
import pytest

from fairlead.model.inventory import BgpPeer, BgpSettings, VrrpSettings
from fairlead.model.pool import PoolSelection
from fairlead.model.selector import LabelRequirement, LabelSelector
from support.build import INVENTORY, decide, fresh, pool, svc, texts

P = pool("p", "10.0.0.1-10.0.0.3")


def addresses(plan) -> str:
    return " ".join(map(str, plan.addresses))


def held(services, pools=(P,), **more) -> dict[str, str]:
    return {name: addresses(plan) for name, plan in decide(services, pools, **more).items()}


WEB = LabelSelector({"tier": "web"})
ROWS = {
    # 1.4: one sync
    "type-changed-away-clears": ([svc("x", holds="10.0.0.1", type="ClusterIP")], {"x": ""}),
    "type-changed-away-frees": (
        [svc("x", holds="10.0.0.1", type="ClusterIP", age=9), svc("y")],
        {"x": "", "y": "10.0.0.1"},
    ),
    "no-cluster-ips-clears": ([svc("x", holds="10.0.0.1", ips="")], {"x": ""}),
    "held-is-kept": ([svc("x", holds="10.0.0.3")], {"x": "10.0.0.3"}),
    "status-by-hand-is-adopted": ([svc("x", holds="10.0.0.2", note="")], {"x": "10.0.0.2"}),
    "wiped-status-gives-the-lowest": (
        [svc("x", note="p"), svc("y", holds="10.0.0.2")],
        {"x": "10.0.0.1", "y": "10.0.0.2"},
    ),
    "outside-all-pools-moves": ([svc("x", holds="192.0.2.1")], {"x": "10.0.0.1"}),
    "holders-before-newcomers": (
        [svc("old", age=9), svc("young", holds="10.0.0.1")],
        {"old": "10.0.0.2", "young": "10.0.0.1"},
    ),
    # 2.3 and design 9: choice
    "oldest-first": (
        [svc("a"), svc("b", age=5), svc("c", age=3), svc("d", age=1)],
        {"b": "10.0.0.1", "c": "10.0.0.2", "d": "10.0.0.3", "a": ""},
    ),
    "by-name-where-times-are-equal": (
        [svc("b"), svc("a"), svc("z/a")],
        {"a": "10.0.0.1", "b": "10.0.0.2", "z/a": "10.0.0.3"},
    ),
    "explicit-before-automatic": (
        [svc("old", age=9), svc("young", want="10.0.0.1")],
        {"old": "10.0.0.2", "young": "10.0.0.1"},
    ),
    "automatic-avoids-named": (
        [svc("x", age=9), svc("y", want="10.0.0.1", want_pool="elsewhere")],
        {"x": "10.0.0.2", "y": ""},
    ),
    "named-is-taken-where-nothing-else-is-left": (
        [
            svc("x"),
            svc("y", want="10.0.0.1", want_pool="elsewhere"),
            svc("a", holds="10.0.0.2"),
            svc("b", holds="10.0.0.3"),
        ],
        {"x": "10.0.0.1", "y": "", "a": "10.0.0.2", "b": "10.0.0.3"},
    ),
    "explicit-does-not-evict": (
        [svc("x", holds="10.0.0.1"), svc("y", want="10.0.0.1", age=9)],
        {"x": "10.0.0.1", "y": ""},
    ),
    "older-request-wins": (
        [svc("a", want="10.0.0.1"), svc("b", want="10.0.0.1", age=2)],
        {"a": "", "b": "10.0.0.1"},
    ),
    # design 9: requests together
    "swap": (
        [svc("x", holds="10.0.0.1", want="10.0.0.2"), svc("y", holds="10.0.0.2", want="10.0.0.1")],
        {"x": "10.0.0.2", "y": "10.0.0.1"},
    ),
    "ring-of-three": (
        [
            svc("x", holds="10.0.0.1", want="10.0.0.2"),
            svc("y", holds="10.0.0.2", want="10.0.0.3"),
            svc("z", holds="10.0.0.3", want="10.0.0.1"),
        ],
        {"x": "10.0.0.2", "y": "10.0.0.3", "z": "10.0.0.1"},
    ),
    "swap-that-fails-moves-nobody": (
        [svc("x", holds="10.0.0.1", want="10.0.0.2"), svc("y", holds="10.0.0.2", want="192.0.2.9")],
        {"x": "10.0.0.1", "y": "10.0.0.2"},
    ),
    "chain-behind-a-failure-stays": (
        [
            svc("x", holds="10.0.0.1", want="10.0.0.2", age=3),
            svc("y", holds="10.0.0.2", want="10.0.0.3", age=2),
            svc("z", holds="10.0.0.3"),
        ],
        {"x": "10.0.0.1", "y": "10.0.0.2", "z": "10.0.0.3"},
    ),
    "unavailable-request-keeps-the-old": (
        [svc("x", holds="10.0.0.1", want="10.0.0.2"), svc("y", holds="10.0.0.2")],
        {"x": "10.0.0.1", "y": "10.0.0.2"},
    ),
    "invalid-text-keeps-the-old": (
        [svc("x", holds="10.0.0.1", want="nonsense")],
        {"x": "10.0.0.1"},
    ),
    "moved-away-frees-for-who-waits": (
        [svc("a", holds="10.0.0.1", want="10.0.0.3"), svc("b", holds="10.0.0.2"), svc("c", age=5)],
        {"a": "10.0.0.3", "b": "10.0.0.2", "c": "10.0.0.1"},
    ),
    "unclear-status-starts-anew": ([svc("x", holds="10.0.0.1 10.0.0.2")], {"x": "10.0.0.1"}),
    # design 9: holders that stop fitting
    "two-holders-older-keeps": (
        [svc("a", holds="10.0.0.2"), svc("b", holds="10.0.0.2", age=1)],
        {"a": "10.0.0.1", "b": "10.0.0.2"},
    ),
    "two-holders-first-by-name-keeps": (
        [svc("b", holds="10.0.0.2"), svc("a", holds="10.0.0.2")],
        {"a": "10.0.0.2", "b": "10.0.0.1"},
    ),
    # a manifest that no API server has seen
    "fresh-manifest": ([fresh(svc("x"))], {"x": "10.0.0.1"}),
    "fresh-after-known": ([fresh(svc("a")), svc("z")], {"a": "10.0.0.2", "z": "10.0.0.1"}),
}


@pytest.mark.parametrize("row", ROWS)
def test_one_sync(row: str) -> None:
    services, expected = ROWS[row]
    assert held(services) == expected


def test_no_pools_clears_without_an_event() -> None:
    plan = decide([svc("x", holds="10.0.0.1")], [])["x"]
    assert (plan.addresses, plan.events, plan.changed) == ((), (), True)
    assert plan.refusal is not None
    assert "no pools are configured" in plan.refusal.message


EVENTS = {
    "address-left-all-pools": (
        svc("x", holds="192.0.2.1"),
        [
            (
                'ClearAssignment: current IP for "default/x" not allowed by config, will attempt '
                'for new IP assignment: ["192.0.2.1"] is not allowed in config'
            ),
            'IPAllocated: Assigned IP ["10.0.0.1"]',
        ],
    ),
    "invalid-text-while-held": (
        svc("x", holds="10.0.0.1", want="t"),
        [
            (
                "LoadBalancerFailed: invalid requested loadbalancer IPs: "
                'invalid metallb.io/loadBalancerIPs: "t"'
            )
        ],
    ),
    "valid-but-impossible-while-held": (
        svc("x", holds="10.0.0.1", want="192.0.2.9"),
        [
            (
                'AllocationFailed: Failed to allocate IP for "default/x": '
                '["192.0.2.9"] is not allowed in config'
            )
        ],
    ),
    "unknown-pool-while-held": (
        svc("x", holds="10.0.0.1", want_pool="q"),
        ['AllocationFailed: Failed to allocate IP for "default/x": unknown pool "q"'],
    ),
    "move-tells-the-new-address-only": (
        svc("x", holds="10.0.0.1", want="10.0.0.2"),
        ['IPAllocated: Assigned IP ["10.0.0.2"]'],
    ),
    "nothing-to-tell": (svc("x", holds="10.0.0.1"), []),
    "pool-renamed-is-silent": (svc("x", holds="10.0.0.1", note="former"), []),
    "status-of-two-of-one-family": (
        svc("x", holds="10.0.0.1 10.0.0.2"),
        [
            (
                'nolbIPsIPFamily: Failed to retrieve LBIPs IPFamily for ["10.0.0.1" "10.0.0.2"]: '
                'IPFamilyForAddresses: same address family ["10.0.0.1" "10.0.0.2"]'
            ),
            'IPAllocated: Assigned IP ["10.0.0.1"]',
        ],
    ),
    "cluster-ips-are-no-addresses": (
        svc("x", holds="10.0.0.1", ips="junk"),
        [
            (
                'noclusterIPsIPFamily: Failed to retrieve ClusterIPs IPFamily for ["junk"] junk: '
                'IPFamilyForAddresses: Invalid address ["junk"]'
            )
        ],
    ),
    "dual-stack-required-and-one-cluster-ip": (
        svc("x", policy="RequireDualStack"),
        [
            (
                "not enough clusterips: Service requires dual stack but not enough clusterips "
                "[10.96.0.1]"
            )
        ],
    ),
    "family-changed-is-silent": (
        svc("x", holds="fd00::1"),
        ['IPAllocated: Assigned IP ["10.0.0.1"]'],
    ),
}


@pytest.mark.parametrize("row", EVENTS)
def test_events(row: str) -> None:
    service, expected = EVENTS[row]
    pools = [P, pool("v6", "fd00::/126")]
    assert texts(decide([service], pools)["x"]) == expected


WRITES = {
    "settled": (svc("x", holds="10.0.0.1"), False),
    "mode-absent-means-vip": (
        msgspec.structs.replace(
            svc("x", holds="10.0.0.1"), ingress=((ip_address("10.0.0.1"), ""),)
        ),
        False,
    ),
    "mode-proxy-is-reset": (
        msgspec.structs.replace(
            svc("x", holds="10.0.0.1"), ingress=((ip_address("10.0.0.1"), "Proxy"),)
        ),
        True,
    ),
    "pool-note-missing": (svc("x", holds="10.0.0.1", note=""), True),
    "pool-renamed": (svc("x", holds="10.0.0.1", note="former"), True),
    "refused-and-nothing-recorded": (svc("x", want="192.0.2.1"), False),
    "refused-with-a-note-left": (svc("x", want="192.0.2.1", note="p"), True),
}


@pytest.mark.parametrize("row", WRITES)
def test_whether_status_is_written(row: str) -> None:
    service, expected = WRITES[row]
    assert decide([service], [P])["x"].changed is expected


def select(priority: int = 0, *, namespaces=(), by_namespace=(), by_service=()) -> PoolSelection:
    return PoolSelection(priority, tuple(namespaces), tuple(by_namespace), tuple(by_service))


A, B = "10.0.1.0/32", "10.0.2.0/32"
ORDER = {
    "by-name": ([pool("b", B), pool("a", A)], "10.0.1.0"),
    "pinned-before-open": ([pool("a", A), pool("b", B, select=select(50))], "10.0.2.0"),
    "lower-priority-number-first": (
        [pool("a", A, select=select(20)), pool("b", B, select=select(10))],
        "10.0.2.0",
    ),
    "zero-is-last": ([pool("a", A, select=select(0)), pool("b", B, select=select(99))], "10.0.2.0"),
    "equal-priority-by-name": (
        [pool("b", B, select=select(5)), pool("a", A, select=select(5))],
        "10.0.1.0",
    ),
    "not-automatic-is-skipped": ([pool("a", A, auto_assign=False), pool("b", B)], "10.0.2.0"),
    "pinned-but-not-automatic": (
        [pool("a", A, select=select(1), auto_assign=False), pool("b", B)],
        "10.0.2.0",
    ),
    "other-namespace": (
        [pool("a", A, select=select(namespaces=["other"])), pool("b", B)],
        "10.0.2.0",
    ),
    "own-namespace": (
        [pool("a", A), pool("b", B, select=select(namespaces=["default"]))],
        "10.0.2.0",
    ),
    "namespace-selector": (
        [pool("a", A), pool("b", B, select=select(by_namespace=[WEB]))],
        "10.0.2.0",
    ),
    "namespace-or-selector": (
        [pool("a", A), pool("b", B, select=select(namespaces=["other"], by_namespace=[WEB]))],
        "10.0.2.0",
    ),
    "namespace-selector-that-matches-nothing": (
        [pool("a", A, select=select(by_namespace=[LabelSelector({"tier": "none"})])), pool("b", B)],
        "10.0.2.0",
    ),
    "service-selector": ([pool("a", A), pool("b", B, select=select(by_service=[WEB]))], "10.0.2.0"),
    "service-selectors-are-or-ed": (
        [pool("a", A), pool("b", B, select=select(by_service=[LabelSelector({"x": "y"}), WEB]))],
        "10.0.2.0",
    ),
    "service-and-namespace": (
        [pool("a", A, select=select(namespaces=["other"], by_service=[WEB])), pool("b", B)],
        "10.0.2.0",
    ),
    "expression": (
        [
            pool("a", A),
            pool(
                "b",
                B,
                select=select(
                    by_service=[LabelSelector({}, (LabelRequirement("tier", "In", ("web", "db")),))]
                ),
            ),
        ],
        "10.0.2.0",
    ),
    "buggy-address-is-skipped": ([pool("a", "10.0.1.0/31", avoid_buggy_ips=True)], "10.0.1.1"),
    "buggy-at-the-end": (
        [pool("a", "10.0.1.255/32", avoid_buggy_ips=True), pool("b", B)],
        "10.0.2.0",
    ),
    "ranges-in-the-order-of-the-spec": ([pool("a", "10.0.9.1/32", "10.0.1.0/32")], "10.0.9.1"),
    "full-pool-falls-through": (
        [pool("a", "10.0.8.8/32", select=select(1)), pool("b", B)],
        "10.0.2.0",
    ),
}


@pytest.mark.parametrize("row", ORDER)
def test_order_of_pools(row: str) -> None:
    pools, expected = ORDER[row]
    service = svc("x", labels={"tier": "web"})
    other = [svc("other", holds="10.0.8.8", age=9)] if row == "full-pool-falls-through" else []
    namespaces = {"default": {"tier": "web"}}
    assert held([service, *other], pools, namespaces=namespaces)["x"] == expected


def test_exhausted_pool_and_no_pool_at_all() -> None:
    one = pool("one", "10.0.0.1/32", auto_assign=False)
    plans = decide([svc("a", want_pool="one"), svc("b", want_pool="one"), svc("c")], [one])
    assert "no available IPs in pool one" in texts(plans["b"])[0]
    assert texts(plans["c"])[0].endswith('"default/c": no available IPs')


EDITS = {
    "grown": ([pool("p", "10.0.0.0/24")], "10.0.0.2", []),
    "shrunk-around-it": ([pool("p", "10.0.0.2/32")], "10.0.0.2", []),
    "shrunk-away": ([pool("p", "10.0.0.8/32")], "10.0.0.8", ["ClearAssignment", "IPAllocated"]),
    "renamed": ([pool("new", "10.0.0.0/29")], "10.0.0.2", []),
    "split": ([pool("new", "10.0.0.0/31"), pool("two", "10.0.0.2/31")], "10.0.0.2", []),
    "better-pool-came": (
        [pool("p", "10.0.0.0/29"), pool("a", A, select=select(1))],
        "10.0.0.2",
        [],
    ),
    "not-automatic-any-more": ([pool("p", "10.0.0.0/29", auto_assign=False)], "10.0.0.2", []),
    "admits-others-only": (
        [pool("p", "10.0.0.0/29", select=select(namespaces=["other"])), pool("q", B)],
        "10.0.2.0",
        ["ClearAssignment", "IPAllocated"],
    ),
    "selector-matches-nothing": (
        [pool("p", "10.0.0.0/29", select=select(by_namespace=[WEB]))],
        "",
        ["ClearAssignment", "AllocationFailed"],
    ),
    "all-gone": ([], "", []),
}


@pytest.mark.parametrize("row", EDITS)
def test_pools_edited_while_in_use(row: str) -> None:
    pools, expected, reasons = EDITS[row]
    plan = decide([svc("x", holds="10.0.0.2")], pools)["x"]
    assert addresses(plan) == expected
    assert [event.reason for event in plan.events] == reasons


def test_avoiding_buggy_addresses_evicts_their_holders() -> None:
    pools = [pool("p", "10.0.0.0/24", avoid_buggy_ips=True)]
    assert held([svc("x", holds="10.0.0.255"), svc("y", holds="10.0.0.0")], pools) == {
        "x": "10.0.0.1",
        "y": "10.0.0.2",
    }
    asked = decide([svc("x", want="10.0.0.0")], pools)["x"]
    assert '["10.0.0.0"] is not allowed in config' in texts(asked)[0]


def test_addresses_of_edges_and_routers_are_nobodys_even_inside_a_pool() -> None:
    lan = pool("lan", "10.9.0.8-10.9.0.13")
    config = msgspec.structs.replace(
        INVENTORY,
        vrrp=VrrpSettings(advertised_address="10.9.0.9/24"),
        bgp=BgpSettings(peers=(BgpPeer(name="tor", address=ip_address("10.9.0.10"), asn=64500),)),
    )
    services = [svc(name) for name in "abc"] + [svc("edge", want="10.9.0.11")]
    plans = decide(services, [lan], inventory=config)
    assert [addresses(plans[name]) for name in "abc"] == ["10.9.0.8", "10.9.0.13", ""]
    assert '["10.9.0.11"] is not allowed in config' in texts(plans["edge"])[0]
