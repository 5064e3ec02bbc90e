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
from typing import NamedTuple

from fairlead.model.names import Forwarding, IPAddress, Protocol
from fairlead.model.plan import VirtualServer
from fairlead.render.environment import render
from fairlead.render.nft_layout import NftChain, NftLayout, NftSet

IPTABLES_CHAIN = "FAIRLEAD-MASQUERADE"
_FAMILIES = {4: ("ipv4_addr", "ip"), 6: ("ipv6_addr", "ip6")}


class MasqueradeTarget(NamedTuple):
    """A virtual server whose flows leave with the edge's own source address."""

    address: IPAddress
    protocol: Protocol
    port: int


def masqueraded(servers: Iterable[VirtualServer]) -> frozenset[MasqueradeTarget]:
    """Return those of these virtual servers that forward by `masquerade`."""
    return frozenset(
        MasqueradeTarget(server.address, server.protocol, server.port)
        for server in servers
        if server.forwarding is Forwarding.MASQUERADE
    )


def masquerade_layout(targets: Iterable[MasqueradeTarget]) -> NftLayout | None:
    """Return what table `inet fairlead` holds for these; None where there are none.

    Without targets nothing is there, so that conntrack is not switched on for nothing.
    """
    ordered = _sorted(targets)
    if not ordered:
        return None
    sets, rules = [], []
    for version, (kind, match) in _FAMILIES.items():
        name = f"masquerade{version}"
        elements = tuple(
            f"{t.address} . {t.protocol.lower()} . {t.port}"
            for t in ordered
            if t.address.version == version
        )
        sets.append(NftSet(name, f"{kind} . inet_proto . inet_service", elements=elements))
        rules.append(
            f"meta l4proto {{ tcp, udp, sctp }} ct original {match} daddr . meta l4proto . "
            f"ct original proto-dst @{name} masquerade"
        )
    chain = NftChain("postrouting", "nat", "postrouting", "srcnat", 100, tuple(rules))
    return NftLayout(chain, tuple(sets))


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
