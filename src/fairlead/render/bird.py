# SPDX-License-Identifier: Apache-2.0
"""BIRD 2's configuration: sessions and policy; which VIPs stand on `fairlead0` is not in it.

BIRD exports the host routes it sees on the dummy link, so a Service that comes or goes costs no
reload; this file changes only with peers and pools. The syntax is that of BIRD 2.0.12 (Debian 12)
and 2.17 (Debian 13), from the BIRD User's Guide.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from fairlead.model.errors import InventoryError
from fairlead.model.inventory import BgpPeer, BgpSettings, Edge
from fairlead.model.names import IPNetwork
from fairlead.model.pool import AddressRange, Pool
from fairlead.render.environment import render, secret, word

VIP_LINK = "fairlead0"
SESSION_PREFIX = "peer."
"""Before each peer's name: BIRD takes a quoted keyword (`'router'`, `'rt'`) for the keyword, and no
keyword has a dot."""


@dataclass(frozen=True, kw_only=True)
class _PeerView:
    """One `protocol bgp`; BFD times are in milliseconds, 0 without BFD."""

    name: str
    local: str
    address: str
    asn: int
    port: int
    hold_time: int
    channel: str
    bfd_interval: int
    bfd_multiplier: int
    password: str


def render_bird(edge: Edge, bgp: BgpSettings, pools: Iterable[Pool]) -> str:
    """Return the text of `bird.conf` for one edge.

    Args:
        edge: The edge whose file it is.
        bgp: Sessions of the edge group; those of other edges are left out.
        pools: Pools whose addresses may be announced; anything else never leaves this edge.

    Raises:
        InventoryError: A name or secret can't stand in the file, or the edge has no address of a
            peer's family, or no IPv4 router id.
    """
    pools = tuple(pools)
    peers = sorted((p for p in bgp.peers if _is_for(edge, p)), key=lambda peer: peer.name)
    views = [_peer(edge, peer) for peer in peers]
    return render(
        "bird.conf.j2",
        router_id=_router_id(edge),
        link=VIP_LINK,
        session_prefix=SESSION_PREFIX,
        local_asn=bgp.local_asn,
        peers=views,
        bfd=any(view.bfd_interval for view in views),
        prefixes={"ipv4": _prefixes(pools, 4), "ipv6": _prefixes(pools, 6)},
    )


def _is_for(edge: Edge, peer: BgpPeer) -> bool:
    return not peer.edges or edge.name in peer.edges


def _router_id(edge: Edge) -> str:
    chosen = edge.router_id or edge.address
    if chosen.version != 4:
        raise InventoryError(
            f"edges[{edge.name}].router_id", f"{chosen} must be written as an IPv4 address"
        )
    return str(chosen)


def _peer(edge: Edge, peer: BgpPeer) -> _PeerView:
    field = f"bgp.peers[{peer.name}]"
    address = peer.address
    if address is None or peer.asn is None:
        raise InventoryError(field, "a session needs an address and an asn")
    local = next(
        (own for own in (edge.address, edge.address6) if own and own.version == address.version),
        None,
    )
    if local is None:
        raise InventoryError(
            f"{field}.address", f"edge {edge.name} has no IPv{address.version} address"
        )
    return _PeerView(
        name=word(f"{field}.name", peer.name),
        local=str(local),
        address=str(address),
        asn=peer.asn,
        port=peer.port,
        hold_time=peer.hold_time,
        channel=f"ipv{address.version}",
        bfd_interval=round(peer.bfd.interval * 1000) if peer.bfd else 0,
        bfd_multiplier=peer.bfd.multiplier if peer.bfd else 0,
        password="" if peer.password is None else secret(f"{field}.password", peer.password),
    )


def _prefixes(pools: tuple[Pool, ...], version: int) -> list[str]:
    """Host routes inside the pools as BIRD prefix patterns, e.g. `192.0.2.0/28{32,32}`."""
    length = 32 if version == 4 else 128
    networks = {
        network
        for pool in pools
        for part in pool.ranges
        for network in _cover(part)
        if network.version == version
    }
    ordered = sorted(networks, key=lambda item: (int(item.network_address), item.prefixlen))
    return [f"{network}{{{length},{length}}}" for network in ordered]


def _cover(part: AddressRange) -> Iterable[IPNetwork]:
    first, last = part.first, part.last
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address):
        return summarize_address_range(first, last)
    if isinstance(first, IPv6Address) and isinstance(last, IPv6Address):
        return summarize_address_range(first, last)
    return ()  # a range never mixes families: the parser of pools refuses it
