# SPDX-License-Identifier: Apache-2.0
"""Who is let in, in front of IPVS: a stranger's packets never become a connection.

The kernel here has nf_tables without IP families, so it is the iptables backend that carries the
packets; the nftables backend does so in tests/unit/edge/test_source_filter.py.
"""

import subprocess
import sys
from ipaddress import ip_address, ip_network

import pytest

from fairlead.diff.ipvs import desired_from
from fairlead.edge.ipvs import IpvsTable, reconcile_ipvs
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from kernel.network import CLIENT, PORT, REALS, VIP

pytestmark = pytest.mark.kernel

_APPLY = """
import sys
from ipaddress import ip_address, ip_network
from fairlead.edge.filter_tools import nftables_usable
from fairlead.edge.source_filter import reconcile_sources, source_filters
from fairlead.model.names import Protocol
from fairlead.render.source_filter import SourceFilter
vip, port, *sources = sys.argv[1:]
key = (ip_address(vip), Protocol.TCP, int(port), int(port))
wanted = {SourceFilter(*key, tuple(map(ip_network, sources)))} if port != "0" else set()
assert not nftables_usable()
changed = reconcile_sources(wanted).changed
assert not reconcile_sources(wanted).changed
assert source_filters() == wanted
print(changed)
"""


def let_in(edge, port, *sources):
    """Apply inside the edge's namespace; whether the kernel had to be changed. Port 0: all."""
    argv = ["ip", "netns", "exec", edge, sys.executable, "-c", _APPLY, VIP, str(port), *sources]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


@pytest.fixture
def edge(network):
    """An edge that balances the VIP to one real server in dsr."""
    network.serve()
    server = VirtualServer(
        address=ip_address(VIP),
        protocol=Protocol.TCP,
        port=PORT,
        scheduler="rr",
        flags=(),
        forwarding=Forwarding.DSR,
        service=ObjectKey("default", "web"),
        source_ranges=(ip_network("198.51.100.0/24"),),
        real_servers=(RealServer(ip_address(REALS[0]), PORT, 1),),
    )
    with IpvsTable(network.edges[0]) as table:
        reconcile_ipvs(table, desired_from([server]), lambda _: True).raise_for_failures()
    return network.edges[0]


def connections(edge):
    """Connections that IPVS of the edge knows, ended ones that linger included."""
    with IpvsTable(edge) as table:
        return sum(
            dest.active + dest.inactive for status in table.status() for dest in status.dests
        )


def test_a_stranger_is_dropped_before_ipvs_and_let_in_again(network, edge):
    assert let_in(edge, PORT, f"{CLIENT}/32", "198.51.100.0/24")
    made, _ = network.connect()
    made.close()
    seen = connections(edge)
    assert seen == 1
    assert let_in(edge, PORT, "198.51.100.0/24")
    with pytest.raises(TimeoutError):
        network.connect()
    assert connections(edge) == seen
    assert let_in(edge, PORT)
    with pytest.raises(TimeoutError):
        network.connect()
    assert let_in(edge, 0)
    made, _ = network.connect()
    made.close()
    assert not let_in(edge, 0)


DRIFT = {
    "no jump": "iptables-legacy -t raw -D PREROUTING -j FAIRLEAD-SOURCES",
    "two jumps": "iptables-legacy -t raw -A PREROUTING -j FAIRLEAD-SOURCES",
    "flushed": "iptables-legacy -t raw -F FAIRLEAD-SOURCES",
    "a foreign rule": "iptables-legacy -t raw -I FAIRLEAD-SOURCES -j RETURN",
    "all gone": "iptables-legacy -t raw -F && iptables-legacy -t raw -X FAIRLEAD-SOURCES",
}


@pytest.mark.parametrize("drift", DRIFT)
def test_what_somebody_broke_around_the_rules_is_put_back(edge, drift):
    let_in(edge, 0)
    assert let_in(edge, PORT, "198.51.100.0/24")
    before = table(edge)
    argv = ["ip", "netns", "exec", edge, "sh", "-c", DRIFT[drift]]
    subprocess.run(argv, check=True, capture_output=True)
    assert table(edge) != before
    assert let_in(edge, PORT, "198.51.100.0/24"), "nothing was noticed"
    assert table(edge) == before
    assert let_in(edge, 0)
    assert "FAIRLEAD" not in table(edge), "switched off: nothing of ours is left"


def table(edge):
    """Rules of table raw inside the edge's namespace."""
    argv = ["ip", "netns", "exec", edge, "iptables-legacy", "-t", "raw", "-S"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
