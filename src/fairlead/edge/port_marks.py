# SPDX-License-Identifier: Apache-2.0
"""Marks of packets for port ranges, in the kernel's packet filter.

Packets are marked in prerouting at priority mangle: after those that are not let in were dropped
(raw), and before IPVS looks for a virtual server (LOCAL_IN), which asks for the mark first. By
nftables, or by legacy iptables where nf_tables has no IP families. Actual state is read from the
kernel.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface

from fairlead.edge.packet_filter import (
    IPTABLES,
    Chain,
    RuleChange,
    chain_rules,
    map_elements,
    nftables_usable,
    ports_of,
)
from fairlead.model.names import Protocol
from fairlead.render.port_marks import (
    MARKS_CHAIN,
    PortMark,
    render_marks_iptables,
    render_marks_nft,
)

_CHAIN = Chain("mangle", "PREROUTING", MARKS_CHAIN)


def reconcile_marks(marks: Iterable[PortMark], *, check: bool = False) -> RuleChange[PortMark]:
    """Mark the packets of exactly these ranges.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    change = RuleChange(marks_in_force(), frozenset(marks))
    if change.changed and not check:
        change.load(
            _CHAIN,
            lambda: render_marks_nft(change.after),
            lambda rules, _version: render_marks_iptables(rules),
        )
    return change


def marks_in_force() -> frozenset[PortMark]:
    """Return the marks that the kernel sets now."""
    rows = _nft_rows if nftables_usable() else _iptables_rows
    return frozenset(mark for version in IPTABLES for mark in rows(version))


def _nft_rows(version: int) -> Iterator[PortMark]:
    for (address, protocol, ports), mark in map_elements(f"marks{version}"):
        yield PortMark(ip_address(address), Protocol(protocol.upper()), *ports_of(ports), int(mark))


def _iptables_rows(version: int) -> Iterator[PortMark]:
    for words in chain_rules(_CHAIN, version):
        mark, _, _ = words[words.index("--set-xmark") + 1].partition("/")
        yield PortMark(
            ip_interface(words[words.index("-d") + 1]).ip,
            Protocol(words[words.index("-p") + 1].upper()),
            *ports_of(words[words.index("--dport") + 1]),
            int(mark, 16),
        )
