# SPDX-License-Identifier: Apache-2.0
"""`loadBalancerSourceRanges`: who is let in, by family, as kube-proxy has it."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.names import Family
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.shape import shape_events
from fairlead.planner.sources import INVALID_RANGE, admitted_sources
from fairlead.snapshot.text import networks_of
from support.build import INVENTORY, eps, node, shaped_on, svc


def restricted(*ranges):
    networks, wrong = networks_of(ranges)
    return svc("x", source_ranges=networks, source_range_errors=wrong, ports="80 53/UDP")


def let_in(service, family=Family.IPV4):
    sources = admitted_sources(service, family)
    return None if sources is None else [str(source) for source in sources]


# Ranges -> who is let in of IPv4, of IPv6; None is everybody.
ROWS = {
    "no-ranges": ((), None, None),
    "one": (("192.0.2.0/24",), ["192.0.2.0/24"], None),
    "the-other-family-stays-open": (("2001:db8::/32",), None, ["2001:db8::/32"]),
    "both-families": (
        ("192.0.2.0/24", "2001:db8::/32"),
        ["192.0.2.0/24"],
        ["2001:db8::/32"],
    ),
    "sorted-and-disjoint": (
        ("198.51.100.0/25", "192.0.2.7/24", "198.51.100.128/25", "192.0.2.128/25"),
        ["192.0.2.0/24", "198.51.100.0/24"],
        None,
    ),
    "length-zero-opens": (("192.0.2.0/24", "0.0.0.0/0"), None, None),
    "blanks-pass": ((" 192.0.2.0/24 ",), ["192.0.2.0/24"], None),
    "a-wrong-one-lets-nobody-in": (("office",), [], []),
    "a-wrong-one-beside-a-right-one": (("office", "192.0.2.0/24"), ["192.0.2.0/24"], []),
    "a-bare-address-is-wrong": (("192.0.2.1",), [], []),
}


@pytest.mark.parametrize("name", ROWS)
def test_who_is_let_in(name):
    ranges, four, six = ROWS[name]
    service = restricted(*ranges)
    assert (let_in(service), let_in(service, Family.IPV6)) == (four, six)


def test_wrong_ranges_are_told():
    (event,) = shape_events(restricted("office\n", "10.0.0.0/8"), INVENTORY)
    assert (event.type, event.reason) == ("Warning", INVALID_RANGE)
    assert "'office\\n': not a CIDR" in event.message
    assert shape_events(restricted("10.0.0.0/8"), INVENTORY) == ()


def test_every_virtual_server_of_the_service_is_restricted():
    shaped = shaped_on(
        restricted("192.0.2.0/24"),
        (ip_address("10.0.0.1"), ip_address("fd00::1")),
        (eps("x", "10.244.0.1@n1"),),
        NodeIndex([node("n1", "192.0.2.101")]),
        INVENTORY,
    )
    only = (ip_network("192.0.2.0/24"),)
    assert [server.source_ranges for server in shaped] == [only, only, None, None]


@given(st.lists(st.ip_addresses(v=4).map(lambda address: f"{address}/{int(address) % 33}")))
def test_exactly_the_named_addresses_are_let_in(ranges):
    networks = [ip_network(text, strict=False) for text in ranges]
    sources = admitted_sources(restricted(*ranges), Family.IPV4)
    if not networks or any(network.prefixlen == 0 for network in networks):
        assert sources is None
        return
    for network in networks:
        assert any(network.subnet_of(source) for source in sources)
    for source in sources:
        for end in (source[0], source[-1]):
            assert any(end in network for network in networks)
