# SPDX-License-Identifier: Apache-2.0
"""Packet filter text for ranges of ports: packets for a range get the mark that IPVS knows it by.

In table `inet fairlead` of nftables one map per family says which; a lookup costs the same for one
port and for ten thousand.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from fairlead.model.marks import mark_text
from fairlead.model.names import IPAddress, Protocol
from fairlead.model.plan import VirtualServer
from fairlead.render.environment import render
from fairlead.render.nft import TABLE
from fairlead.render.port_spans import ports_text, spans_of

MARKS_CHAIN = "FAIRLEAD-MARKS"
_FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}


class PortMark(NamedTuple):
    """Ports of a VIP, both ends included, and the mark of their packets."""

    address: IPAddress
    protocol: Protocol
    first: int
    last: int
    mark: int

    @property
    def place(self) -> str:
        """Address, protocol and ports in words."""
        return f"{self.address} {self.protocol} {ports_text(self.first, self.last)}"

    def __str__(self) -> str:
        return f"{self.place} as {mark_text(self.mark)}"


def port_marks(servers: Collection[VirtualServer]) -> frozenset[PortMark]:
    """Marks that these virtual servers need: those of their ranges."""
    if all(one.mark is None for one in servers):  # nearly always, and asked at every change
        return frozenset()
    return frozenset(
        PortMark(one.server.address, one.server.protocol, one.first, one.last, one.server.mark)
        for one in spans_of(servers)
        if one.server.mark is not None
    )


def render_marks_nft(marks: Iterable[PortMark]) -> str:
    """Return a script for `nft -f` that makes exactly these marks in one transaction."""
    ordered = _ordered(marks)
    maps = [
        {
            "name": f"marks{version}",
            "match": match,
            "type": f"{kind} . inet_proto . inet_service : mark",
            "elements": [_element(one) for one in ordered if one.address.version == version],
        }
        for version, (match, kind) in _FAMILIES.items()
    ]
    return render("marks.nft.j2", table=TABLE, filled=bool(ordered), maps=maps)


def render_marks_iptables(marks: Iterable[PortMark]) -> str:
    """Return input for `iptables-restore --noflush` (or `ip6tables-`); marks of one family.

    Declaring the chain empties it, so the whole chain is replaced in one commit.
    """
    rows = [
        {
            "address": str(one.address),
            "protocol": one.protocol.lower(),
            "ports": ports_text(one.first, one.last).replace("-", ":"),
            "mark": f"0x{one.mark:x}/0xffffffff",
        }
        for one in _ordered(marks)
    ]
    return render("marks.iptables.j2", chain=MARKS_CHAIN, marks=rows)


def _element(one: PortMark) -> str:
    ports = ports_text(one.first, one.last)
    return f"{one.address} . {one.protocol.lower()} . {ports} : {mark_text(one.mark)}"


def _ordered(marks: Iterable[PortMark]) -> list[PortMark]:
    return sorted(
        marks,
        key=lambda one: (one.address.version, int(one.address), one.protocol.value, one.first),
    )
