# SPDX-License-Identifier: Apache-2.0
"""Counters of pools (reference 2.1, 2.4)."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.names import ObjectKey
from fairlead.planner.pools import PoolIndex, is_avoided, reserved_addresses
from fairlead.planner.usage import UNBOUNDED, PoolUsage, UsageTable, decided, pool_usage
from property.strategies_cluster import applied
from support.build import INVENTORY, decide, pool, svc

P, V6 = pool("p", "10.0.0.0/30"), pool("v6", "fd00::/126")
HELD = ["", "10.0.0.1", "10.0.0.2 fd00::1", "192.0.2.7"]

TOTALS = {
    "cidr": (pool("p", "10.0.0.0/24"), 256, 0),
    "range": (pool("p", "10.0.0.250-10.0.1.5"), 12, 0),
    "without-buggy-ones": (pool("p", "10.0.0.0/23", avoid_buggy_ips=True), 508, 0),
    "without-buggy-ones-in-a-range": (
        pool("p", "10.0.0.250-10.0.1.5", avoid_buggy_ips=True),
        10,
        0,
    ),
    "both-families": (pool("p", "10.0.0.0/30", "fd00::/120"), 4, 256),
    "ipv6-saturates": (pool("p", "fd00::/64", "fd01::/66"), 0, UNBOUNDED),
    "ipv6-below-62-bits": (pool("p", "fd00::/67"), 0, 1 << 61),
}


@pytest.mark.parametrize("row", TOTALS)
def test_totals(row: str) -> None:
    found, ipv4, ipv6 = TOTALS[row]
    (usage,) = pool_usage([found], [])
    assert (usage.total_ipv4, usage.total_ipv6) == (ipv4, ipv6)
    assert (usage.available_ipv4, usage.available_ipv6) == (ipv4, ipv6)


@given(st.integers(0, 1500), st.integers(0, 1500))
def test_buggy_addresses_are_counted_as_they_are_avoided(first: int, size: int) -> None:
    base = int(ip_address("10.0.0.0")) + first
    ends = f"{ip_address(base)}-{ip_address(base + size)}"
    found = pool("p", ends, avoid_buggy_ips=True)
    usable = [n for n in range(base, base + size + 1) if not is_avoided(found, ip_address(n))]
    assert pool_usage([found], [])[0].total_ipv4 == len(usable)


def test_a_shared_address_counts_once() -> None:
    both = pool("p", "10.0.0.0/29", "fd00::/125")
    services = [
        svc("a", share="k", want="10.0.0.5"),
        svc("b", share="k", want="10.0.0.5", ports="81"),
        svc("c", ips="10.96.0.1 fd00:96::1", policy="RequireDualStack"),
        svc("d", want="1.2.3.4"),
    ]
    decisions = decide(services, [both])
    (usage,) = pool_usage([both], decided(decisions.values()))
    assert (usage.assigned_ipv4, usage.available_ipv4) == (2, 6)
    assert (usage.assigned_ipv6, usage.available_ipv6) == (1, 7)
    table = UsageTable(INVENTORY)
    table.use(PoolIndex([both]), [applied(s, decisions[s.key.name]) for s in services])
    assert table.usage() == (usage,)


def test_addresses_of_edges_are_not_counted_as_available() -> None:
    lan = pool("lan", "10.9.0.8/29")
    (usage,) = pool_usage([lan], (), reserved_addresses(INVENTORY))
    assert usage.total_ipv4 == 6


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.sampled_from(HELD)), max_size=12),
    st.booleans(),
)
def test_table_that_followed_changes_is_one_that_was_built(steps, unusable: bool) -> None:
    """Whatever Services did, and whether one of their pools can be used or not."""
    pools = PoolIndex([P, V6], (), ["gone"] if unusable else [])
    followed, services = UsageTable(INVENTORY), {}
    followed.use(pools, [])
    for name, held in steps:
        if held is None:
            services.pop(name, None)
            followed.remove(ObjectKey("default", name))
        else:
            services[name] = svc(name, holds=held, note="gone" if held == "192.0.2.7" else "p")
            followed.put(services[name])
    built = UsageTable(INVENTORY)
    built.use(pools, services.values())
    assert followed.usage() == built.usage()
    by_name = {usage.name: usage for usage in built.usage()}
    held = {text for s in services.values() for text in map(str, (a for a, _ in s.ingress))}
    assert by_name["p"].assigned_ipv4 == len({"10.0.0.1", "10.0.0.2"} & held)
    if unusable:
        gone = by_name["gone"]
        assert (gone.assigned_ipv4, gone.available_ipv4) == (int("192.0.2.7" in held), 0)


def test_a_pool_that_went_takes_its_usage_along() -> None:
    table = UsageTable(INVENTORY)
    services = [svc("x", holds="10.0.0.1")]
    table.use(PoolIndex([P, V6]), services)
    assert [usage.name for usage in table.usage()] == ["p", "v6"]
    table.use(PoolIndex([V6]), services)
    assert table.usage() == (PoolUsage("v6", total_ipv6=4),)
