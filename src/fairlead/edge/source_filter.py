# SPDX-License-Identifier: Apache-2.0
"""Who is let in (`loadBalancerSourceRanges`), in the kernel's packet filter.

Packets are dropped in prerouting at priority raw: before conntrack, and long before IPVS looks at
them (it hooks LOCAL_IN). By nftables, or by legacy iptables where the kernel's nf_tables has no IP
families. Actual state is read from the kernel; a change sends the elements that differ.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from fairlead.edge.packet_filter import (
    IPTABLES,
    Chain,
    RuleChange,
    chain_rules,
    nftables_usable,
    ports_of,
    set_elements,
)
from fairlead.model.names import IPNetwork, Protocol
from fairlead.render.source_filter import (
    SOURCES_CHAIN,
    Restricted,
    SourceFilter,
    render_sources_iptables,
    render_sources_nft,
)

_CHAIN = Chain("raw", "PREROUTING", SOURCES_CHAIN)


def reconcile_sources(
    filters: Iterable[SourceFilter], *, check: bool = False
) -> RuleChange[SourceFilter]:
    """Let into these virtual servers only whom each names, and everybody into all others.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    change = RuleChange(source_filters(), frozenset(filters))
    if change.changed and not check:
        change.load(
            _CHAIN,
            lambda: render_sources_nft(change.before, change.after),
            lambda rules, _version: render_sources_iptables(rules),
        )
    return change


def source_filters() -> frozenset[SourceFilter]:
    """Return the filters that the kernel has now."""
    found: dict[Restricted, list[IPNetwork]] = {}
    for version in IPTABLES:
        rows = _nft_rows(version) if nftables_usable() else _iptables_rows(version)
        for restricted, network in rows:
            sources = found.setdefault(restricted, [])
            if network is not None:
                sources.append(network)
    return frozenset(SourceFilter.of(key, sources) for key, sources in found.items())


def _nft_rows(version: int) -> Iterator[tuple[Restricted, IPNetwork | None]]:
    for address, protocol, ports in set_elements(f"restricted{version}"):
        yield _restricted(address, protocol, ports), None
    for address, protocol, ports, source in set_elements(f"sources{version}"):
        yield _restricted(address, protocol, ports), _nft_network(source)


def _nft_network(source: Any) -> IPNetwork:
    if isinstance(source, dict):
        return ip_network(f"{source['prefix']['addr']}/{source['prefix']['len']}")
    return ip_network(source)


def _iptables_rows(version: int) -> Iterator[tuple[Restricted, IPNetwork | None]]:
    for words in chain_rules(_CHAIN, version):
        address = str(ip_interface(words[words.index("-d") + 1]).ip)
        key = _restricted(address, words[words.index("-p") + 1], words[words.index("--dport") + 1])
        yield key, ip_network(words[words.index("-s") + 1]) if "-s" in words else None


def _restricted(address: str, protocol: str, ports: int | str | dict[str, Any]) -> Restricted:
    return Restricted(ip_address(address), Protocol(protocol.upper()), *ports_of(ports))
