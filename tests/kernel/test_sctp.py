# SPDX-License-Identifier: Apache-2.0
"""SCTP through IPVS in dsr: associations reach real servers, weight 0 takes no new ones."""

import socket
from ipaddress import ip_address

import pytest

from fairlead.diff.ipvs import desired_entry, service_key
from fairlead.edge.ipvs import IpvsTable, reconcile_virtual_server
from fairlead.edge.netns import entered
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from kernel.network import CLIENT, REALS, VIP, EchoServer

pytestmark = pytest.mark.kernel

PORT = 3868


def associate(network):
    """An association from the client, and the number of its real server."""
    with entered(network.client):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    try:
        made.settimeout(5)
        made.bind((CLIENT, 0))
        made.connect((VIP, PORT))
        return made, made.recv(1)[0]
    except OSError:
        made.close()
        raise


def make_true(table, *weights):
    server = VirtualServer(
        address=ip_address(VIP),
        protocol=Protocol.SCTP,
        port=PORT,
        scheduler="rr",
        flags=(),
        forwarding=Forwarding.DSR,
        service=ObjectKey("core", "diameter"),
        real_servers=tuple(
            RealServer(ip_address(at), PORT, weight)
            for at, weight in zip(REALS, weights, strict=True)
        ),
    )
    key = service_key(server)
    reconcile_virtual_server(table, key, desired_entry(server)).raise_for_failures()
    assert not reconcile_virtual_server(table, key, desired_entry(server)).changes


def test_associations_follow_weights_and_old_ones_live_on(network):
    for number, real in enumerate(network.reals, 1):
        # On the VIP alone: an association tells all addresses of its end, and peers use them.
        EchoServer(real, number, (VIP, PORT), socket.IPPROTO_SCTP).start()
    with IpvsTable(network.edges[0]) as table:
        make_true(table, 1, 1, 1)
        made = [associate(network) for _ in range(6)]
        assert sorted(number for _, number in made) == [1, 1, 2, 2, 3, 3]
        make_true(table, 1, 0, 1)
        later = [associate(network) for _ in range(4)]
        assert {number for _, number in later} == {1, 3}
        for held, _ in (*made, *later):
            held.sendall(b"still here")
            assert held.recv(64) == b"still here"
            held.close()
