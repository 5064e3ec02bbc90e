# SPDX-License-Identifier: Apache-2.0
"""What the order of insertion means under `mh`, and that it can be mended, on a real kernel."""

import random
import socket
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from fairlead.diff.changes import AddDest, AddService, DelDest
from fairlead.diff.ipvs import dest_key, reorder
from fairlead.edge.ipvs import IpvsTable
from fairlead.edge.ipvs.settle import orphans_kept, settle_order
from fairlead.edge.netns import entered
from fairlead.model.ipvs import (
    ForwardMethod,
    IpProtocol,
    IpvsDest,
    IpvsEntry,
    IpvsService,
    ServiceFlag,
    ServiceKey,
)
from kernel import mh_table
from kernel.network import CLIENT, PORT, REALS, VIP

pytestmark = pytest.mark.kernel

FLAGS = int(ServiceFlag.SCHED1 | ServiceFlag.SCHED2)
FLOWS = 1500
FIRST_PORT = 20000


def service(protocol):
    return IpvsService(
        key=ServiceKey.of(protocol, ip_address(VIP), PORT), scheduler="mh", flags=FLAGS
    )


def dests(count, weight=1):
    return tuple(
        IpvsDest(ip_address(f"10.9.1.{last}").packed, PORT, weight, int(ForwardMethod.DIRECT))
        for last in range(1, count + 1)
    )


REAL_DESTS = tuple(
    IpvsDest(ip_address(one).packed, PORT, 1, int(ForwardMethod.DIRECT)) for one in REALS
)


def build(table, of, order):
    changes = [AddService(of), *(AddDest(of.key, dest) for dest in order)]
    assert not [one for one in table.apply(changes) if one.code]


def placements(network, edge):
    """Real server that an edge's kernel chose for each of the client's ports."""
    network.point_at(edge)
    for port in range(FIRST_PORT, FIRST_PORT + FLOWS):
        with entered(network.client):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.bind((CLIENT, port))
            sender.sendto(b"x", (VIP, PORT))
    with entered(network.edges[edge]):
        rows = Path("/proc/net/ip_vs_conn").read_text().splitlines()[1:]
    fields = [row.split() for row in rows]
    return {int(row[2], 16): bytes.fromhex(row[5]) for row in fields if row[0] == "UDP"}


def test_order_decides_few_buckets_and_the_model_knows_which(network):
    """Two edges, 25 real servers, another order: as computed, bucket for bucket; about 1 %."""
    of = service(IpProtocol.UDP)
    orders = [dests(25), tuple(random.Random(3).sample(dests(25), 25))]
    chosen = []
    for edge, order in enumerate(orders):
        with IpvsTable(network.edges[edge]) as table:
            build(table, of, order)
            assert table.dump_service(of.key).dests == order
        found = placements(network, edge)
        computed = mh_table.fill([(one.address, PORT, 1) for one in reversed(order)])
        source = ip_address(CLIENT).packed
        expected = {port: computed[mh_table.bucket(source, port)] for port in found}
        assert len(found) == FLOWS
        assert found == expected
        chosen.append(found)
    differing = sum(chosen[0][port] != chosen[1][port] for port in chosen[0])
    assert 0 < differing < FLOWS * 0.03


def test_settled_edges_agree_on_every_flow(network):
    of = service(IpProtocol.UDP)
    desired = {of.key: IpvsEntry(of, tuple(sorted(dests(25), key=dest_key)))}
    chosen = []
    for edge, seed in enumerate((3, 4)):
        with IpvsTable(network.edges[edge]) as table:
            build(table, of, random.Random(seed).sample(dests(25), 25))
            assert settle_order(table, desired, netns=network.edges[edge])
            assert table.dump() == desired
            assert settle_order(table, desired, netns=network.edges[edge]) == []
        chosen.append(placements(network, edge))
    assert chosen[0] == chosen[1]


class Talk(threading.Thread):
    """Echoes over one connection without pause; knows whether it ever broke."""

    def __init__(self, connection):
        super().__init__(daemon=True)
        self._connection = connection
        self.rounds = 0
        self.error = None
        self._ended = threading.Event()

    def run(self):
        try:
            while not self._ended.is_set():
                self._connection.sendall(b"0123456789")
                received = 0
                while received < 10:
                    data = self._connection.recv(10 - received)
                    if not data:
                        raise ConnectionResetError("closed by the other side")
                    received += len(data)
                self.rounds += 1
                time.sleep(0.002)
        except OSError as error:
            self.error = error

    def end(self):
        self._ended.set()
        self.join(10)
        with suppress(OSError):
            self._connection.close()


def wait_for_rounds(talks, more):
    """Until every conversation has gone on by so many rounds, or broken."""
    goal = {talk: talk.rounds + more for talk in talks}
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if all(talk.error or talk.rounds >= goal[talk] for talk in talks):
            return
        time.sleep(0.02)
    raise AssertionError(f"stuck: {[(talk.rounds, goal[talk]) for talk in talks]}")


def conversations(network, count=12):
    network.serve()
    talks = [Talk(network.connect()[0]) for _ in range(count)]
    for talk in talks:
        talk.start()
    wait_for_rounds(talks, 5)
    return talks


def slowly(table, changes, gap):
    """Removal and addition far apart: the window that a batch makes too short to be hit."""
    for change in changes:
        table.apply([change])
        if isinstance(change, DelDest):
            time.sleep(gap)


@pytest.mark.parametrize("guarded", [True, False])
def test_connections_survive_settling_even_if_it_were_slow(network, guarded):
    """Without the guard the same removal breaks them: so it is the guard that keeps them."""
    of = service(IpProtocol.TCP)
    canonical = IpvsEntry(of, REAL_DESTS)
    with IpvsTable(network.edges[0]) as table:
        build(table, of, REAL_DESTS[::-1])
        talks = conversations(network)
        changes = reorder(canonical, table.dump_service(of.key))
        if guarded:
            with orphans_kept(network.edges[0]):
                slowly(table, changes, 0.05)
        else:
            slowly(table, changes, 0.05)
        wait_for_rounds(talks, 20)
        assert table.dump_service(of.key) == canonical
        for talk in talks:
            talk.end()
    broken = [talk.error for talk in talks if talk.error]
    assert (broken == []) is guarded


def test_settling_under_load_breaks_nothing(network):
    of = service(IpProtocol.TCP)
    desired = {of.key: IpvsEntry(of, REAL_DESTS)}
    with IpvsTable(network.edges[0]) as table:
        build(table, of, REAL_DESTS[::-1])
        talks = conversations(network)
        for _ in range(20):
            assert settle_order(table, desired, netns=network.edges[0])
            turned = {of.key: IpvsEntry(of, REAL_DESTS[::-1])}
            assert settle_order(table, turned, netns=network.edges[0])
        wait_for_rounds(talks, 20)
        for talk in talks:
            talk.end()
    assert [talk.error for talk in talks if talk.error] == []
    with entered(network.edges[0]):
        assert Path("/proc/sys/net/ipv4/vs/expire_nodest_conn").read_text() == "1\n"
