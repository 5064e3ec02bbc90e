# SPDX-License-Identifier: Apache-2.0
"""Who is let in (`loadBalancerSourceRanges`), in the kernel's packet filter.

Packets are dropped in prerouting at priority raw: before conntrack, and long before IPVS looks at
them (it hooks LOCAL_IN). By nftables, or by legacy iptables where the kernel's nf_tables has no IP
families. A change sends the elements that differ.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from fairlead.edge.filter_tools import IPTABLES, Chain
from fairlead.edge.nft_table import NftTable
from fairlead.edge.packet_filter import RuleChange, RuleKind, ports_of, read_rules, reconcile
from fairlead.model.names import IPNetwork, Protocol
from fairlead.render.source_filter import (
    SOURCES_CHAIN,
    Restricted,
    SourceFilter,
    render_source_elements,
    render_sources_iptables,
    sources_layout,
)

Row = tuple[Restricted, IPNetwork | None]
"""Ports of a VIP, and a network that they let in; None says that they are restricted at all."""


def reconcile_sources(
    filters: Iterable[SourceFilter], *, check: bool = False
) -> RuleChange[SourceFilter]:
    """Let into these virtual servers only whom each names, and everybody into all others.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    return reconcile(SOURCES, filters, check=check)


def source_filters() -> frozenset[SourceFilter]:
    """Return the filters that the kernel has now."""
    return read_rules(SOURCES).rules


def _gathered(rows: Iterable[Row]) -> frozenset[SourceFilter]:
    found: dict[Restricted, list[IPNetwork]] = {}
    for restricted, network in rows:
        sources = found.setdefault(restricted, [])
        if network is not None:
            sources.append(network)
    return frozenset(SourceFilter.of(key, sources) for key, sources in found.items())


def _nft_filters(table: NftTable, faults: list[str]) -> frozenset[SourceFilter]:
    restricted: list[Row] = []
    sources: list[Row] = []
    for version in IPTABLES:
        restricted += table.elements(f"restricted{version}", _restricted_element, faults)
        sources += table.elements(f"sources{version}", _source_element, faults)
    known = {key for key, _ in restricted}
    if any(key not in known for key, _ in sources):
        # The rule asks for the first set alone: a VIP that is missing there is open.
        faults.append("sources are let into what is not restricted")
    return _gathered(restricted + sources)


def _restricted_element(shown: Any) -> Row:
    address, protocol, ports = shown["concat"]
    return _restricted(address, protocol, ports), None


def _source_element(shown: Any) -> Row:
    address, protocol, ports, source = shown["concat"]
    if isinstance(source, dict):
        prefix = source["prefix"]
        source = f"{prefix['addr']}/{prefix['len']}"
    return _restricted(address, protocol, ports), ip_network(source)


def _iptables_row(words: list[str]) -> Row:
    address = str(ip_interface(words[words.index("-d") + 1]).ip)
    key = _restricted(address, words[words.index("-p") + 1], words[words.index("--dport") + 1])
    source = ip_network(words[words.index("-s") + 1]) if "-s" in words else None
    if words[words.index("-j") + 1] != ("DROP" if source is None else "RETURN"):
        raise ValueError(words)
    return key, source


def _restricted(address: str, protocol: str, ports: int | str | dict[str, Any]) -> Restricted:
    return Restricted(ip_address(address), Protocol(protocol.upper()), *ports_of(ports))


SOURCES = RuleKind(
    layout=sources_layout,
    nft_chain="sources",
    sets=("restricted4", "restricted6", "sources4", "sources6"),
    read=_nft_filters,
    elements=render_source_elements,
    chain=Chain("raw", "PREROUTING", SOURCES_CHAIN),
    rows=_iptables_row,
    gather=_gathered,
    iptables=lambda rules, _version: render_sources_iptables(rules),
)
