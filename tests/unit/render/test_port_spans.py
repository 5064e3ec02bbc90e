# SPDX-License-Identifier: Apache-2.0
"""Ranges of ports around declared ones: marks and source filters share spans that never overlap."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import VirtualServer
from fairlead.render.port_marks import port_marks
from fairlead.render.port_spans import spans_of
from fairlead.render.source_filter import filters_of

VIP, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def server(port, last=None, protocol=Protocol.UDP, address=VIP):
    return VirtualServer(
        address=address,
        protocol=protocol,
        port=port,
        scheduler="mh",
        flags=(),
        forwarding=Forwarding.POD,
        service=ObjectKey("default", "x"),
        source_ranges=(ip_network("192.0.2.0/24"),),
        last_port=last,
        mark=None if last is None else 0x0FA00007,
    )


ROWS = {
    "alone": ([], ["10-20"]),
    "in-the-middle": ([server(15)], ["10-14", "16-20"]),
    "first": ([server(10)], ["11-20"]),
    "last": ([server(20)], ["10-19"]),
    "neighbours": ([server(12), server(13)], ["10-11", "14-20"]),
    "all-but-one": ([server(port) for port in range(10, 20)], ["20-20"]),
    "all": ([server(port) for port in range(10, 21)], []),
    "outside": ([server(9), server(21)], ["10-20"]),
    "another-protocol": ([server(15, protocol=Protocol.TCP)], ["10-20"]),
    "another-address": ([server(15, address=OTHER)], ["10-20"]),
}


@pytest.mark.parametrize("row", ROWS)
def test_declared_ports_are_left_to_their_own_virtual_servers(row):
    declared, expected = ROWS[row]
    marks = sorted(port_marks([*declared, server(10, 20)]))
    assert [f"{one.first}-{one.last}" for one in marks] == expected
    assert {one.mark for one in marks} <= {0x0FA00007}
    filters = filters_of([*declared, server(10, 20)])
    assert len(filters) == len(declared) + len(expected), "every span is restricted"


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sets(st.integers(1, 62), max_size=20),
)
def test_spans_cover_each_port_once(first, length, declared):
    servers = [server(first, first + length), *(server(port) for port in sorted(declared))]
    ports = [port for one in spans_of(servers) for port in range(one.first, one.last + 1)]
    assert len(ports) == len(set(ports))
    assert set(ports) == declared | set(range(first, first + length + 1))


def test_without_ranges_nothing_is_marked():
    assert port_marks([server(80), server(443)]) == frozenset()
