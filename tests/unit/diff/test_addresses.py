# SPDX-License-Identifier: Apache-2.0
"""VIPs on the dummy link."""

from ipaddress import ip_address, ip_network

from fairlead.diff.addresses import diff_addresses
from fairlead.edge.links import FakeLinks
from support.vip_link import make_addresses

POOL = ip_network("192.0.2.0/24")


def owned(address):
    return address.version == 4 and address in POOL


def ips(*texts):
    return [ip_address(text) for text in texts]


def test_adds_then_removes_only_what_is_ours():
    actual = ips("192.0.2.5", "10.0.0.1", "fd00::1", "192.0.2.6")
    changes = diff_addresses(ips("192.0.2.6", "2001:db8::1", "192.0.2.7"), actual, owned)
    assert [str(change) for change in changes] == [
        "+192.0.2.7/32",
        "+2001:db8::1/128",
        "-192.0.2.5/32",
    ]


def test_reconcile_reports_and_is_idempotent():
    links = FakeLinks(ips("10.0.0.1"), exists=True)
    done = make_addresses(links, ips("192.0.2.7"), owned)
    assert done.changed
    assert done.before == "10.0.0.1\n"
    assert done.after == "10.0.0.1\n192.0.2.7\n"
    assert not make_addresses(links, ips("192.0.2.7"), owned).changed


def test_check_changes_nothing():
    links = FakeLinks(exists=False)
    done = make_addresses(links, ips("192.0.2.7"), owned, check=True)
    assert done.changed
    assert not links.exists()
