# SPDX-License-Identifier: Apache-2.0
"""Slow start on a real kernel: each step holds, and shares of new connections follow."""

from collections import Counter
from contextlib import nullcontext
from ipaddress import ip_address

import pytest

from fairlead.agent.kernel import KernelTable
from fairlead.diff.ipvs import service_key
from fairlead.edge.ipvs import IpvsTable
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from kernel.network import PORT, REALS, VIP

pytestmark = pytest.mark.kernel


def server(count):
    """The first so many real servers, at weight 10."""
    return VirtualServer(
        address=ip_address(VIP),
        protocol=Protocol.TCP,
        port=PORT,
        scheduler="mh",
        flags=("fallback", "port"),
        forwarding=Forwarding.DSR,
        service=ObjectKey("default", "web"),
        slow_start_seconds=100,
        real_servers=tuple(RealServer(ip_address(at), PORT, 10) for at in REALS[:count]),
    )


def share_of_the_last(network, count=200):
    found = Counter()
    for _ in range(count):
        connection, number = network.connect()
        connection.close()
        found[number] += 1
    return found[2] / count


def test_weights_rise_and_new_connections_follow(network):
    network.serve()
    now = [1000.0]
    with IpvsTable(network.edges[0]) as table:
        kernel = KernelTable(lambda: table, nullcontext, clock=lambda: now[0])

        def weights():
            return [dest.weight for dest in table.dump_service(service_key(server(1))).dests]

        kernel.apply([kernel.want(server(1))])
        kernel.apply([kernel.want(server(2))])
        assert weights() == [10, 1]
        assert share_of_the_last(network) < 0.25
        found = []
        while (due := kernel.next_due()) is not None:
            now[0] = due
            assert kernel.apply(kernel.due()) == (1 if due > 1010.5 else 0)
            found.append(weights()[1])
        assert found == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        assert now[0] == pytest.approx(1100)
        assert 0.35 < share_of_the_last(network) < 0.65
