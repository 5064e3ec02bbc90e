# SPDX-License-Identifier: Apache-2.0
"""Which ports of an address are a virtual server's own, as spans that never overlap."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from fairlead.model.names import IPAddress, Protocol
from fairlead.model.plan import VirtualServer


class Span(NamedTuple):
    """Ports of a virtual server, both ends included."""

    server: VirtualServer
    first: int
    last: int


def spans_of(servers: Collection[VirtualServer]) -> Iterator[Span]:
    """One span for a port; of a range, what other virtual servers of its address leave."""
    ranged = {(one.address, one.protocol) for one in servers if one.last_port is not None}
    declared: dict[tuple[IPAddress, Protocol], list[int]] = {place: [] for place in ranged}
    for one in servers:
        if one.last_port is None:
            yield Span(one, one.port, one.port)
            if ranged and (one.address, one.protocol) in declared:
                declared[one.address, one.protocol].append(one.port)
    if ranged:
        for one in servers:
            if one.last_port is not None:
                yield from _left(one, one.last_port, declared[one.address, one.protocol])


def ports_text(first: int, last: int) -> str:
    """`80` or `10000-20000`."""
    return f"{first}-{last}" if last > first else str(first)


def _left(server: VirtualServer, last: int, declared: list[int]) -> Iterator[Span]:
    first = server.port
    for port in sorted(port for port in declared if first <= port <= last):
        if first < port:
            yield Span(server, first, port - 1)
        first = port + 1
    if first <= last:
        yield Span(server, first, last)
