# SPDX-License-Identifier: Apache-2.0
"""Packet filter text for `loadBalancerSourceRanges`: who may reach a virtual server.

In table `inet fairlead` of nftables two sets per family say it all: virtual servers that are
restricted, and (virtual server, source network) pairs that are let in. A change of ranges changes
elements and no rule.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fairlead.model.names import IPAddress, IPNetwork, Protocol
from fairlead.model.plan import VirtualServer
from fairlead.render.environment import render
from fairlead.render.nft_layout import TABLE, NftChain, NftLayout, NftSet
from fairlead.render.port_spans import ports_text, spans_of

SOURCES_CHAIN = "FAIRLEAD-SOURCES"
_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}
_WORDS = {4: "ip", 6: "ip6"}


class Restricted(NamedTuple):
    """Ports of a VIP, both ends included, that let in only some."""

    address: IPAddress
    protocol: Protocol
    port: int
    last_port: int


class SourceFilter(NamedTuple):
    """Ports of a VIP and the networks that they let in, sorted; () lets nobody in."""

    address: IPAddress
    protocol: Protocol
    port: int
    last_port: int
    sources: tuple[IPNetwork, ...]

    @property
    def place(self) -> str:
        """Address, protocol and ports in words."""
        return f"{self.address} {self.protocol} {ports_text(self.port, self.last_port)}"

    @classmethod
    def of(cls, key: Restricted, sources: Iterable[IPNetwork]) -> "SourceFilter":
        """A filter with its sources in order."""
        ordered = sorted(sources, key=lambda one: (int(one.network_address), one.prefixlen))
        return cls(*key, tuple(ordered))


@dataclass(frozen=True)
class _SetView:
    """One set: its name, type, and the elements to add and to remove."""

    name: str
    type: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


def filters_of(servers: Collection[VirtualServer]) -> frozenset[SourceFilter]:
    """Filters of those virtual servers that are restricted."""
    if all(one.source_ranges is None for one in servers):  # nearly always, asked at every change
        return frozenset()
    return frozenset(
        SourceFilter.of(
            Restricted(one.address, one.protocol, span.first, span.last), one.source_ranges
        )
        for span in spans_of(servers)
        if (one := span.server).source_ranges is not None
    )


def sources_layout(filters: Iterable[SourceFilter]) -> NftLayout | None:
    """Return what table `inet fairlead` holds for these filters; None where there are none."""
    wanted = frozenset(filters)
    if not wanted:
        return None
    sets = tuple(
        NftSet(view.name, view.type, interval=True, elements=view.added)
        for version in _TYPES
        for view in _views(version, frozenset(), wanted)
    )
    rules = tuple(
        f"{word} daddr . meta l4proto . th dport @restricted{version} "
        f"{word} daddr . meta l4proto . th dport . {word} saddr != @sources{version} counter drop"
        for version, word in _WORDS.items()
    )
    return NftLayout(NftChain("sources", "filter", "prerouting", "raw", -300, rules), sets)


def render_source_elements(before: Iterable[SourceFilter], after: Iterable[SourceFilter]) -> str:
    """Return a script for `nft -f` with the elements that differ; chain and sets stand already."""
    old, new = frozenset(before), frozenset(after)
    views = [view for version in _TYPES for view in _views(version, old, new)]
    return render("sources.nft.j2", table=TABLE, sets=views)


def render_sources_iptables(filters: Iterable[SourceFilter]) -> str:
    """Return input for `iptables-restore --noflush` (or `ip6tables-`); filters of one family.

    Declaring the chain empties it, so the whole chain is replaced in one commit.
    """
    rows = [
        {
            "address": str(one.address),
            "protocol": one.protocol.lower(),
            "ports": ports_text(one.port, one.last_port).replace("-", ":"),
            "sources": [str(source) for source in one.sources],
        }
        for one in sorted(filters, key=_order)
    ]
    return render("sources.iptables.j2", chain=SOURCES_CHAIN, filters=rows)


def _views(
    version: int, old: frozenset[SourceFilter], new: frozenset[SourceFilter]
) -> tuple[_SetView, _SetView]:
    kind = f"{_TYPES[version]} . inet_proto . inet_service"
    gone, come = _elements(old, version), _elements(new, version)
    restricted, allowed = (
        (tuple(sorted(have - had)), tuple(sorted(had - have)))
        for had, have in zip(gone, come, strict=True)
    )
    return (
        _SetView(f"restricted{version}", kind, *restricted),
        _SetView(f"sources{version}", f"{kind} . {_TYPES[version]}", *allowed),
    )


def _elements(filters: Iterable[SourceFilter], version: int) -> tuple[set[str], set[str]]:
    restricted: set[str] = set()
    allowed: set[str] = set()
    for one in filters:
        if one.address.version == version:
            key = f"{one.address} . {one.protocol.lower()} . {ports_text(one.port, one.last_port)}"
            restricted.add(key)
            allowed.update(f"{key} . {source}" for source in one.sources)
    return restricted, allowed


def _order(one: SourceFilter) -> tuple[int, int, str, int]:
    return one.address.version, int(one.address), one.protocol.value, one.port
