# SPDX-License-Identifier: Apache-2.0
"""A range of ports as one virtual server: marked packets reach pods on the port of the client.

The kernel here has nf_tables without IP families, so it is the iptables backend that marks; the
nftables backend does so in tests/unit/edge/test_port_marks.py.
"""

import socket
import subprocess
import sys
from ipaddress import ip_address

import pytest

from fairlead.diff.ipvs import desired_from
from fairlead.edge.ipvs import IpvsTable, reconcile_ipvs
from fairlead.edge.netns import entered
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from kernel.network import CLIENT, EDGES, REALS, VIP, batch
from kernel.test_masquerade import PeerServer

pytestmark = pytest.mark.kernel

MARK = 0x0FA00001
PORTS = (10_000, 12_345, 20_000)
_APPLY = """
import sys
from ipaddress import ip_address
from fairlead.edge.filter_tools import nftables_usable
from fairlead.edge.port_marks import marks_in_force, reconcile_marks
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import VirtualServer
from fairlead.render.port_marks import port_marks
assert not nftables_usable()
def server(port, last, mark):
    return VirtualServer(
        address=ip_address(sys.argv[1]), protocol=Protocol.UDP, port=port, scheduler="mh", flags=(),
        forwarding=Forwarding.POD, service=ObjectKey("media", "rtp"), last_port=last, mark=mark)
ranges = [server(15_000, None, None), server(10_000, 20_000, int(sys.argv[2]))]
wanted = port_marks(ranges if sys.argv[2] != "0" else ranges[:1])
changed = reconcile_marks(wanted).changed
assert not reconcile_marks(wanted).changed
assert marks_in_force() == wanted
print(changed)
"""


def mark(edge, number):
    """Mark the range inside the edge's namespace, 0 for not any more; whether that is new."""
    argv = ["ip", "netns", "exec", edge, sys.executable, "-c", _APPLY, VIP, str(number)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


def server(port, reals, last=None):
    """15000 is declared and goes to the third pod; the range goes to the two others."""
    return VirtualServer(
        address=ip_address(VIP),
        protocol=Protocol.UDP,
        port=port,
        scheduler="mh",
        flags=("fallback",),
        forwarding=Forwarding.POD,
        service=ObjectKey("media", "rtp"),
        last_port=last,
        mark=None if last is None else MARK,
        real_servers=tuple(
            RealServer(ip_address(at), 0 if last else 9000, 1) for at in sorted(reals)
        ),
    )


SERVERS = (server(15_000, REALS[2:]), server(10_000, REALS[:2], 20_000))


def ask(network, port):
    """The client as the pod saw it; a pod answers from the VIP, or the client would not hear it."""
    with entered(network.client):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with made:
        made.settimeout(1)
        made.connect((VIP, port))
        made.send(b"who am I?")
        return made.recv(64).decode()


def rules(edge):
    argv = ["ip", "netns", "exec", edge, "ipvsadm", "-Sn"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\n")


@pytest.fixture
def edge(network):
    """An edge to which pods send their answers, with virtual servers but without marks."""
    for real, at in zip(network.reals, REALS, strict=True):
        batch(real, [f"route replace {CLIENT}/32 via {EDGES[0]} dev eth0"])
        for port in (*PORTS, 9_999, 9_000, 15_000):
            PeerServer(real, at, port, socket.SOCK_DGRAM)
    with IpvsTable(network.edges[0]) as table:
        reconcile_ipvs(table, desired_from(SERVERS), lambda _: True).raise_for_failures()
        again = reconcile_ipvs(table, desired_from(SERVERS), lambda _: True)
        assert not again.changed, "what the kernel tells is what was wanted"
    return network.edges[0]


def pods_of_the_range(edge):
    """Pods that hold connections of the range."""
    with IpvsTable(edge) as table:
        (status,) = [one for one in table.status() if one.service.key.fwmark == MARK]
        return {str(one.dest.ip): one.active + one.inactive for one in status.dests}


def test_ports_of_the_range_reach_one_pod_of_the_client_as_they_are(network, edge):
    with pytest.raises((TimeoutError, ConnectionRefusedError)):
        ask(network, PORTS[0])
    assert mark(edge, MARK)
    assert [ask(network, port) for port in PORTS] == [CLIENT] * 3
    assert sorted(pods_of_the_range(edge).values()) == [0, 3], "one pod for all of a client"
    with pytest.raises((TimeoutError, ConnectionRefusedError)):
        ask(network, 9_999)


def test_a_declared_port_inside_keeps_its_own_virtual_server(network, edge):
    assert mark(edge, MARK)
    assert ask(network, 15_000) == CLIENT
    assert sum(pods_of_the_range(edge).values()) == 0
    with IpvsTable(edge) as table:
        (declared,) = [one for one in table.status() if one.service.key.port == 15_000]
        assert [(str(one.dest.ip), one.inactive) for one in declared.dests] == [(REALS[2], 1)]


def test_ours_is_pruned_and_foreign_marks_stay(edge):
    for rule in ("-A -f 9 -s rr", f"-A -f {MARK + (1 << 20)} -s rr", f"-A -f {MARK + 1} -s rr"):
        subprocess.run(["ip", "netns", "exec", edge, "ipvsadm", *rule.split()], check=True)
    with IpvsTable(edge) as table:
        reconcile_ipvs(table, desired_from(SERVERS), None).raise_for_failures()
        assert f"-A -f {MARK + 1} -s rr" in [line.strip() for line in rules(edge)]
        reconcile_ipvs(table, {}, lambda _: True).raise_for_failures()
    assert {line.strip() for line in rules(edge) if line} == {
        "-A -f 9 -s rr",
        f"-A -f {MARK + (1 << 20)} -s rr",
    }


def test_marks_go_with_the_range(edge):
    assert mark(edge, MARK)
    assert mark(edge, MARK + 1)
    assert mark(edge, 0)
    assert not mark(edge, 0)
