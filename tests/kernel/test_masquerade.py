# SPDX-License-Identifier: Apache-2.0
"""Forwarding by masquerade end to end: IPVS rewrites the destination, our rule the source.

The kernel here has nf_tables without IP families, so it is the iptables backend that carries the
packets; the nftables backend has the same match on conntrack's original tuple and is loaded into
a real kernel by the golden tests.
"""

import socket
import subprocess
import sys
import threading
from ipaddress import ip_address

import pytest

from fairlead.diff.ipvs import desired_from
from fairlead.edge.ipvs import IpvsTable, reconcile_ipvs
from fairlead.edge.netns import entered
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from kernel.network import CLIENT, EDGES, REALS, VIP

pytestmark = pytest.mark.kernel

NODE_PORT = 30080

_APPLY = """
import sys
from ipaddress import ip_address
from fairlead.edge.filter_tools import nftables_usable
from fairlead.edge.source_nat import masqueraded, reconcile_masquerade
from fairlead.model.names import Protocol
from fairlead.render import MasqueradeTarget
words = [word.split("/") for word in sys.argv[1:]]
targets = {MasqueradeTarget(ip_address(a), Protocol(p), int(n)) for a, p, n in words}
assert not nftables_usable()
first = reconcile_masquerade(targets).changed
assert not reconcile_masquerade(targets).changed
assert masqueraded() == targets
print(first)
"""


def masquerade(edge, *targets):
    """Apply inside the edge's namespace; whether the kernel had to be changed."""
    argv = ["ip", "netns", "exec", edge, sys.executable, "-c", _APPLY, *targets]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


class PeerServer(threading.Thread):
    """Tells every client the address that it sees, over TCP or UDP."""

    def __init__(self, namespace, address, port, kind):
        super().__init__(daemon=True)
        with entered(namespace):
            self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._kind = kind
        if kind == socket.SOCK_STREAM:
            self._socket.listen()
        self.start()

    def run(self):
        while True:
            if self._kind == socket.SOCK_STREAM:
                connection, peer = self._socket.accept()
                with connection:
                    connection.sendall(peer[0].encode())
            else:
                _, peer = self._socket.recvfrom(64)
                self._socket.sendto(peer[0].encode(), peer)


def seen_source(network, port, kind=socket.SOCK_STREAM):
    """The client's address as the real server saw it through the VIP."""
    with entered(network.client):
        made = socket.socket(socket.AF_INET, kind)
    with made:
        made.settimeout(3)
        made.connect((VIP, port))
        if kind == socket.SOCK_DGRAM:
            made.send(b"who am I?")
        return made.recv(64).decode()


def server(protocol, port, forwarding, real_port):
    return VirtualServer(
        address=ip_address(VIP),
        protocol=protocol,
        port=port,
        scheduler="rr",
        flags=(),
        forwarding=forwarding,
        service=ObjectKey("default", "web"),
        real_servers=(RealServer(ip_address(REALS[0]), real_port, 1),),
    )


@pytest.fixture
def edge(network):
    """An edge with two masqueraded virtual servers on port 80 and one in dsr on port 81."""
    PeerServer(network.reals[0], REALS[0], NODE_PORT, socket.SOCK_STREAM)
    PeerServer(network.reals[0], REALS[0], NODE_PORT, socket.SOCK_DGRAM)
    PeerServer(network.reals[0], VIP, 81, socket.SOCK_STREAM)
    servers = (
        server(Protocol.TCP, 80, Forwarding.MASQUERADE, NODE_PORT),
        server(Protocol.UDP, 80, Forwarding.MASQUERADE, NODE_PORT),
        server(Protocol.TCP, 81, Forwarding.DSR, 81),
    )
    with IpvsTable(network.edges[0]) as table:
        reconcile_ipvs(table, desired_from(servers), lambda _: True).raise_for_failures()
    return network.edges[0]


@pytest.mark.usefixtures("edge")
def test_without_the_rule_no_answer_comes_back(network):
    with pytest.raises(TimeoutError):
        seen_source(network, 80)


def test_masqueraded_flows_come_from_the_edge_and_others_keep_their_source(network, edge):
    assert masquerade(edge, f"{VIP}/TCP/80", f"{VIP}/UDP/80")
    assert seen_source(network, 80) == EDGES[0]
    assert seen_source(network, 80, socket.SOCK_DGRAM) == EDGES[0]
    assert seen_source(network, 81) == CLIENT


def test_only_what_is_named_is_masqueraded(network, edge):
    assert masquerade(edge, f"{VIP}/UDP/80")
    assert seen_source(network, 80, socket.SOCK_DGRAM) == EDGES[0]
    with pytest.raises(TimeoutError):
        seen_source(network, 80)
    assert masquerade(edge)
    assert not masquerade(edge)
