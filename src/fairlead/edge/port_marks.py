# SPDX-License-Identifier: Apache-2.0
"""Marks of packets for port ranges, in the kernel's packet filter.

Packets are marked in prerouting at priority mangle: after those that are not let in were dropped
(raw), and before IPVS looks for a virtual server (LOCAL_IN), which asks for the mark first. By
nftables, or by legacy iptables where nf_tables has no IP families.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface
from typing import Any

from fairlead.edge.filter_tools import IPTABLES, Chain
from fairlead.edge.nft_table import NftTable
from fairlead.edge.packet_filter import RuleChange, RuleKind, ports_of, read_rules, reconcile
from fairlead.model.names import Protocol
from fairlead.render.port_marks import (
    MARKS_CHAIN,
    PortMark,
    marks_layout,
    render_marks_iptables,
)


def reconcile_marks(marks: Iterable[PortMark], *, check: bool = False) -> RuleChange[PortMark]:
    """Mark the packets of exactly these ranges.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    return reconcile(MARKS, marks, check=check)


def marks_in_force() -> frozenset[PortMark]:
    """Return the marks that the kernel sets now."""
    return read_rules(MARKS).rules


def _nft_marks(table: NftTable, faults: list[str]) -> frozenset[PortMark]:
    return frozenset(
        mark for version in IPTABLES for mark in table.elements(f"marks{version}", _element, faults)
    )


def _element(shown: Any) -> PortMark:
    key, mark = shown
    address, protocol, ports = key["concat"]
    return PortMark(ip_address(address), Protocol(protocol.upper()), *ports_of(ports), int(mark))


def _iptables_row(words: list[str]) -> PortMark:
    mark, _, _ = words[words.index("--set-xmark") + 1].partition("/")
    return PortMark(
        ip_interface(words[words.index("-d") + 1]).ip,
        Protocol(words[words.index("-p") + 1].upper()),
        *ports_of(words[words.index("--dport") + 1]),
        int(mark, 16),
    )


MARKS = RuleKind(
    layout=marks_layout,
    nft_chain="marks",
    sets=("marks4", "marks6"),
    read=_nft_marks,
    chain=Chain("mangle", "PREROUTING", MARKS_CHAIN),
    rows=_iptables_row,
    gather=frozenset[PortMark],
    iptables=lambda rules, _version: render_marks_iptables(rules),
)
