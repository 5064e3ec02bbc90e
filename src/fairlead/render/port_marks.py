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
from fairlead.render.nft_layout import NftChain, NftLayout, NftSet
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


def marks_layout(marks: Iterable[PortMark]) -> NftLayout | None:
    """Return what table `inet fairlead` holds for these marks; None where there are none."""
    ordered = _ordered(marks)
    if not ordered:
        return None
    maps = tuple(
        NftSet(
            f"marks{version}",
            f"{kind} . inet_proto . inet_service : mark",
            keyword="map",
            interval=True,
            elements=tuple(_element(one) for one in ordered if one.address.version == version),
        )
        for version, (_, kind) in _FAMILIES.items()
    )
    rules = tuple(
        f"meta mark set {match} daddr . meta l4proto . th dport map @marks{version}"
        for version, (match, _) in _FAMILIES.items()
    )
    return NftLayout(NftChain("marks", "filter", "prerouting", "mangle", -150, rules), maps)


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
