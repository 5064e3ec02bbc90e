# SPDX-License-Identifier: Apache-2.0
"""Counters of pools (reference 2.1, 2.4)."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.planner.pools import is_avoided
from fairlead.planner.usage import UNBOUNDED, pool_usage
from support.build import decide, pool, svc

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
    (usage,) = pool_usage([both], decide(services, [both]).values())
    assert (usage.assigned_ipv4, usage.available_ipv4) == (2, 6)
    assert (usage.assigned_ipv6, usage.available_ipv6) == (1, 7)
