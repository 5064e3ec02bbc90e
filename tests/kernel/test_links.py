# SPDX-License-Identifier: Apache-2.0
"""The dummy link and its VIPs on a real kernel."""

import subprocess
from ipaddress import ip_address, ip_network

import pytest

from fairlead.edge.links import Links
from kernel.network import inside
from support.vip_link import make_addresses

pytestmark = pytest.mark.kernel

POOLS = [ip_network("192.0.2.0/24"), ip_network("2001:db8::/64")]


def owned(address):
    return any(address.version == pool.version and address in pool for pool in POOLS)


def ips(*texts):
    return tuple(ip_address(text) for text in texts)


@pytest.fixture
def links(netns):
    with Links(netns) as opened:
        yield opened


def shown(netns, *command):
    argv = ["ip", "-o", "-n", netns, *command]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_link_is_made_once_and_comes_up(links, netns):
    assert not links.exists()
    assert links.addresses() == ()
    assert links.ensure_link()
    assert not links.ensure_link()
    assert "dummy" in shown(netns, "-d", "link", "show", "fairlead0")
    inside(netns, "ip link set fairlead0 down")
    assert links.ensure_link()
    assert "UP" in shown(netns, "link", "show", "fairlead0")


def test_addresses_come_and_go_and_foreign_ones_stay(links, netns):
    done = make_addresses(links, ips("192.0.2.7", "2001:db8::7"), owned)
    assert done.make
    inside(netns, "ip addr add 10.0.0.9/32 dev fairlead0")
    assert links.addresses() == ips("10.0.0.9", "192.0.2.7", "2001:db8::7")
    assert not make_addresses(links, ips("192.0.2.7", "2001:db8::7"), owned).changed
    inside(netns, "ip link set fairlead0 down")
    assert make_addresses(links, ips("192.0.2.7", "2001:db8::7"), owned).changed
    assert "UP" in shown(netns, "link", "show", "fairlead0")
    done = make_addresses(links, ips("192.0.2.8"), owned)
    assert [str(one) for one in done.changes] == [
        "+192.0.2.8/32",
        "-192.0.2.7/32",
        "-2001:db8::7/128",
    ]
    assert links.addresses() == ips("10.0.0.9", "192.0.2.8")


def test_ipv6_vip_is_usable_at_once_and_never_a_source(links, netns):
    make_addresses(links, ips("2001:db8::7"), owned)
    text = shown(netns, "addr", "show", "dev", "fairlead0", "to", "2001:db8::7")
    assert "2001:db8::7/128" in text
    assert "tentative" not in text
    assert "deprecated" in text
    assert "valid_lft forever" in text


def test_check_makes_nothing(links):
    assert make_addresses(links, ips("192.0.2.7"), owned, check=True).changed
    assert not links.exists()


def test_addresses_are_removed_under_the_prefix_length_they_have(links, netns):
    links.ensure_link()
    # The first of a subnet is primary; an own address always is, and VIPs are secondaries of it.
    for text in ("192.0.2.9/24", "192.0.2.7/24", "192.0.2.8/32", "2001:db8::7/64"):
        inside(netns, f"ip addr add {text} dev fairlead0")
    links.remove(ips("192.0.2.7", "192.0.2.8", "2001:db8::7", "192.0.2.77"), "fairlead0")
    assert links.addresses() == ips("192.0.2.9")
    links.remove(ips("192.0.2.7"), "nosuch")


def test_repeating_a_change_is_done(links):
    make_addresses(links, ips("192.0.2.7"), owned)
    (change,) = make_addresses(links, (), owned).moves
    links.apply([change])
    assert links.addresses() == ()
