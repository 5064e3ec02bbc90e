# SPDX-License-Identifier: Apache-2.0
"""What changes of the table do to connections, across namespaces of one kernel."""

import subprocess
import time
from collections import Counter
from ipaddress import ip_address

import pytest

from fairlead.diff.ipvs import desired_entry, desired_from, service_key
from fairlead.edge.ipvs import IpvsTable, reconcile_ipvs, reconcile_virtual_server
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from kernel.network import PORT, REALS, VIP

pytestmark = pytest.mark.kernel


def server(*weights, **more):
    """The VIP's virtual server with a weight for each real server, None to leave it out."""
    values = {
        "scheduler": "mh",
        "flags": ("fallback", "port"),
        "forwarding": Forwarding.DSR,
    } | more
    return VirtualServer(
        address=ip_address(VIP),
        protocol=Protocol.TCP,
        port=PORT,
        service=ObjectKey("default", "web"),
        real_servers=tuple(
            RealServer(ip_address(address), PORT, weight)
            for address, weight in zip(REALS, weights, strict=True)
            if weight is not None
        ),
        **values,
    )


def owned(address):
    return str(address) == VIP


def make_true(table, wanted):
    done = reconcile_virtual_server(table, service_key(wanted), desired_entry(wanted))
    done.raise_for_failures()
    return done


def real_servers(network, count):
    """How many of so many new connections each real server got."""
    found = Counter()
    for _ in range(count):
        connection, number = network.connect()
        connection.close()
        found[number] += 1
    return found


def echo(connection, text=b"still here"):
    connection.sendall(text)
    return connection.recv(len(text)) == text


def talk_twice(connection):
    """The first packet may still be sent before the reset comes."""
    return echo(connection) and echo(connection)


def within(seconds, happened):
    """Whether something came true in time; counters are summed up every two seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def edge(network):
    network.serve()
    with IpvsTable(network.edges[0]) as table:
        yield table


def test_weight_0_takes_no_new_connections_and_keeps_the_old(network, edge):
    make_true(edge, server(1, 1, 1))
    held = {}
    while len(held) < 3:
        connection, number = network.connect()
        if number in held:
            connection.close()
        else:
            held[number] = connection
    done = make_true(edge, server(1, 0, 1))
    assert len(done.changes) == 1
    assert real_servers(network, 60)[2] == 0
    assert all(echo(connection) for connection in held.values())
    make_true(edge, server(1, 1, 1))
    assert real_servers(network, 60)[2] > 0
    assert echo(held[2])
    for connection in held.values():
        connection.close()


def test_shares_follow_weights(network, edge):
    make_true(edge, server(1, 2, 1))
    found = real_servers(network, 400)
    assert 0.4 < found[2] / 400 < 0.6
    assert min(found[1], found[3]) > 60


def test_removed_real_server_ends_its_connections_at_once(network, edge):
    """expire_nodest_conn: no client hangs on a real server that is gone."""
    make_true(edge, server(1, None, None))
    held, _ = network.connect()
    make_true(edge, server(None, 1, 1))
    with held, pytest.raises(ConnectionError):
        talk_twice(held)


def test_connections_move_to_the_other_edge_mid_stream(network, edge):
    """mh and sloppy_tcp: the other edge, built in one go, picks the same real servers."""
    make_true(edge, server(1, 2, 3))
    held = [network.connect()[0] for _ in range(40)]
    with IpvsTable(network.edges[1]) as other:
        make_true(other, server(1, 2, 3))
        network.point_at(1)
        assert all(echo(connection) for connection in held)
        assert sum(one.active for one in other.status()[0].dests) >= 40
    for connection in held:
        connection.close()


def test_foreign_virtual_servers_survive_everything(network, edge):
    name = network.edges[0]

    def ipvsadm(*argv):
        command = ["ip", "netns", "exec", name, "ipvsadm", *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    ipvsadm("-A", "-t", "192.0.2.50:8443", "-s", "wlc", "-p", "77")
    ipvsadm("-a", "-t", "192.0.2.50:8443", "-r", "10.9.0.77:443", "-m", "-w", "5")
    ipvsadm("-A", "-f", "9", "-s", "rr")
    ipvsadm("-A", "-t", f"{VIP}:9999", "-s", "rr")
    reconcile_ipvs(edge, desired_from([server(1, 1, 1)]), owned).raise_for_failures()
    assert f"{VIP}:9999" not in ipvsadm("-Sn")
    reconcile_ipvs(edge, {}, owned).raise_for_failures()
    assert set(ipvsadm("-Sn").splitlines()) == {
        "-A -t 192.0.2.50:8443 -s wlc -p 77",
        "-a -t 192.0.2.50:8443 -r 10.9.0.77:443 -m -w 5",
        "-A -f 9 -s rr",
    }


def test_counters_count(network, edge):
    make_true(edge, server(1, 1, 1))
    real_servers(network, 30)
    assert within(5, lambda: edge.status()[0].counters.connections == 30)
    (status,) = edge.status()
    assert sum(one.counters.connections for one in status.dests) == 30
    assert status.counters.bytes_in > 30 * 40
