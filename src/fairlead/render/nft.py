# SPDX-License-Identifier: Apache-2.0
"""Source NAT for flows that IPVS forwards by `masquerade`: table `inet fairlead` of nftables.

IPVS rewrites only the destination; without source NAT the node would answer the client directly and
the client would not know the answer. nftables has no match on IPVS connections, but conntrack's
original tuple still names the VIP after IPVS has rewritten the packet, so VIP, protocol and port
tell these flows from all others. It needs `net.ipv4.vs.conntrack=1`: without it IPVS takes its
packets out of conntrack.

Kernels whose nf_tables lacks the IP families get the same rule by legacy iptables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fairlead.model.names import Forwarding, IPAddress, Protocol
from fairlead.model.plan import EdgePlan, VirtualServer
from fairlead.render.environment import render

TABLE = "fairlead"
IPTABLES_CHAIN = "FAIRLEAD-MASQUERADE"


class MasqueradeTarget(NamedTuple):
    """A virtual server whose flows leave with the edge's own source address."""

    address: IPAddress
    protocol: Protocol
    port: int


@dataclass(frozen=True)
class _FamilyView:
    """One set of the table: its name, key type, address keyword and elements."""

    set: str
    type: str
    match: str
    elements: tuple[str, ...]


def masquerade_targets(plan: EdgePlan) -> frozenset[MasqueradeTarget]:
    """Return the virtual servers of a plan that forward by `masquerade`."""
    return masqueraded(plan.virtual_servers)


def masqueraded(servers: Iterable[VirtualServer]) -> frozenset[MasqueradeTarget]:
    """Return those of these virtual servers that forward by `masquerade`."""
    return frozenset(
        MasqueradeTarget(server.address, server.protocol, server.port)
        for server in servers
        if server.forwarding is Forwarding.MASQUERADE
    )


def render_nft(targets: Iterable[MasqueradeTarget]) -> str:
    """Return a script for `nft -f` that replaces the whole table in one transaction.

    Without targets the table is left empty, so that conntrack is not switched on for nothing.
    """
    ordered = _sorted(targets)
    views = (
        _family("masquerade4", "ipv4_addr", "ip", (t for t in ordered if t.address.version == 4)),
        _family("masquerade6", "ipv6_addr", "ip6", (t for t in ordered if t.address.version == 6)),
    )
    return render("fairlead.nft.j2", table=TABLE, families=[v for v in views if v.elements])


def render_iptables(targets: Iterable[MasqueradeTarget], version: int) -> str:
    """Return input for `iptables-restore --noflush` (or `ip6tables-`) that fills our own chain.

    Declaring the chain empties it, so the whole chain is replaced in one commit.
    """
    views = [
        {"protocol": t.protocol.lower(), "address": str(t.address), "port": t.port}
        for t in _sorted(targets)
        if t.address.version == version
    ]
    return render("fairlead.iptables.j2", chain=IPTABLES_CHAIN, targets=views)


def _sorted(targets: Iterable[MasqueradeTarget]) -> list[MasqueradeTarget]:
    return sorted(
        set(targets), key=lambda t: (t.address.version, int(t.address), t.protocol, t.port)
    )


def _family(name: str, kind: str, match: str, targets: Iterable[MasqueradeTarget]) -> _FamilyView:
    elements = (f"{t.address} . {t.protocol.lower()} . {t.port}" for t in targets)
    return _FamilyView(name, kind, match, tuple(elements))
