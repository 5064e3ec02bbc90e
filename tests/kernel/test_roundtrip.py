# SPDX-License-Identifier: Apache-2.0
"""What we tell a real kernel is what it tells us back, and its refusals find their message."""

import errno
import subprocess
import sys

import pytest

from fairlead.diff.changes import AddDest, AddService, DelDest, DelService, SetDest, SetService
from fairlead.edge.ipvs import (
    IpvsTable,
    RepliesLostError,
    reconcile_ipvs,
)
from fairlead.edge.ipvs import socket as ipvs_socket
from kernel import samples

pytestmark = pytest.mark.kernel

WEB = samples.SERVICES[0]


def everything(_address):
    return True


def listing(netns):
    """The table as ipvsadm prints it."""
    command = ["ip", "netns", "exec", netns, "ipvsadm", "-Sn"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def many(count):
    return [samples.dest(f"10.1.{one // 250}.{one % 250 + 1}") for one in range(count)]


def test_everything_round_trips(table):
    wanted = samples.entries()
    changes = []
    for entry in wanted.values():
        changes.append(AddService(entry.service))
        changes += [AddDest(entry.service.key, dest) for dest in entry.dests]
    assert [str(one) for one in table.apply(changes) if one.code] == []
    assert table.dump() == wanted
    assert {key: table.dump_service(key) for key in wanted} == wanted


def test_reconcile_builds_reports_and_rests(table, netns):
    wanted = {key: one for key, one in samples.entries().items() if key.address}
    first = reconcile_ipvs(table, wanted, everything)
    assert (first.failed, first.before) == ((), ())
    assert table.dump() == wanted
    assert not reconcile_ipvs(table, wanted, everything).changed
    printed = {line.split(" --tun")[0] for line in listing(netns).splitlines()}
    # ipvsadm -S leaves out thresholds, tunnels differ by version, and -p has a default of its own.
    ours = {line for line in first.after if not {"-x", "-i", "-p", "-l"} & set(line.split())}
    assert len(ours) > 20
    assert ours <= printed


def test_set_changes_every_attribute(table):
    table.apply([AddService(WEB), AddDest(WEB.key, samples.DESTS4[1])])
    edited = samples.service(WEB.key, "wlc", 1, 600, prefix=28)
    heavy = samples.dest("10.0.0.2", 80, 9, samples.TUNNEL, upper=50, lower=20)
    results = table.apply([SetService(edited), SetDest(WEB.key, heavy)])
    assert [one.code for one in results] == [0, 0]
    entry = table.dump_service(WEB.key)
    assert (entry.service, entry.dests) == (edited, (heavy,))


def test_failures_in_the_middle_of_batches_find_their_message(table):
    """2,500 changes make three datagrams; the others are applied all the same."""
    dests = many(2500)
    changes = [AddDest(WEB.key, dest) for dest in dests]
    twice = {0: errno.EEXIST, 999: errno.EEXIST, 1000: errno.EEXIST, 2499: errno.EEXIST}
    table.apply([AddService(samples.service(WEB.key, "wlc"))])
    table.apply([changes[index] for index in twice])
    results = table.apply(changes)
    assert {index: one.code for index, one in enumerate(results) if one.code} == twice
    assert len(table.dump_service(WEB.key).dests) == 2500


def test_a_batch_of_nothing_but_failures_fits_the_receive_buffer(table):
    results = table.apply([AddDest(WEB.key, dest) for dest in many(1000)])
    assert {one.code for one in results} == {errno.ESRCH}


def test_lost_replies_are_noticed(netns, monkeypatch):
    """With the default receive buffer a thousand refusals overflow it: nothing may be concluded."""
    monkeypatch.setattr(ipvs_socket, "_RECEIVE_BUFFER_BYTES", 1 << 12)
    with IpvsTable(netns) as table, pytest.raises(RepliesLostError, match="read again"):
        table.apply([AddDest(WEB.key, dest) for dest in many(1000)])


def test_refusals_in_words(table):
    added = AddService(WEB)
    table.apply([added])
    unknown = samples.service(samples.key(samples.TCP, "192.0.2.77", 80), "nosuch")
    results = table.apply([added, AddService(unknown), SetDest(WEB.key, samples.dest("10.9.9.9"))])
    assert [one.code for one in results] == [errno.EEXIST, errno.ENOENT, errno.ENOENT]
    assert "someone else made it" in str(results[0])
    assert "modprobe" in str(results[1])


def test_removing_what_is_gone_is_done(table):
    results = table.apply([DelDest(WEB.key, samples.dest("10.0.0.1")), DelService(WEB)])
    assert [one.code for one in results] == [0, 0]
    table.apply([AddService(WEB)])
    assert [one.code for one in table.apply([DelDest(WEB.key, samples.dest("10.0.0.1"))])] == [0]


def test_absent_service_reads_as_none(table):
    assert table.dump_service(WEB.key) is None
    assert table.dump() == {}


def test_flush_is_explicit(table):
    table.apply([AddService(one) for one in samples.SERVICES[:3]])
    table.flush()
    assert table.dump() == {}


def test_without_the_right_it_is_a_sentence():
    """A plain user: the socket opens, reading and writing are refused."""
    script = """
import os
from fairlead.edge.ipvs import IpvsPermissionError, IpvsTable
from fairlead.diff.changes import AddService
from fairlead.model.ipvs import IpvsService, ServiceKey
service = IpvsService(key=ServiceKey(2, 6, bytes(4), 80), scheduler="rr")
os.setgid(65534); os.setuid(65534)
with IpvsTable() as table:
    for action in (table.dump, lambda: table.apply([AddService(service)] * 3), table.info):
        try:
            action()
        except IpvsPermissionError as error:
            print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.count("CAP_NET_ADMIN") == 3


def test_odd_scheduler_names_fail_alone(table):
    names = ["m\u00fc", "x" * 40, "\ud800", "a b"]
    odd = [
        samples.service(samples.key(samples.TCP, "192.0.2.9", one), n)
        for one, n in enumerate(names, 1)
    ]
    results = table.apply([*map(AddService, odd), AddService(WEB)])
    assert [bool(one.code) for one in results] == [True] * 4 + [False]


def test_info(table):
    info = table.info()
    assert info.version[0] == 1
    assert info.connection_table_size >= 256


def test_namespaces_have_tables_of_their_own(table):
    table.apply([AddService(WEB)])
    with IpvsTable() as ours:
        assert WEB.key not in ours.dump()
