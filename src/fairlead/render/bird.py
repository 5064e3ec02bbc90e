# SPDX-License-Identifier: Apache-2.0
"""BIRD 2's configuration: sessions and policy; which VIPs stand on `fairlead0` is not in it.

BIRD exports the host routes it sees on the dummy link, so a Service that comes or goes costs no
reload: this file changes with peers, pools and advertisements, and with single VIPs only where an
advertisement selects Services or aggregates. The syntax is that of BIRD 2.0.12 (Debian 12) and
2.17 (Debian 13), from the BIRD User's Guide.

One session that can't be rendered is left out and named; the others are not held up by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from fairlead.model.bgp import BfdSettings, BgpPeer
from fairlead.model.errors import InventoryError, ObjectFieldError
from fairlead.model.inventory import Edge
from fairlead.model.names import VIP_LINK, IPAddress
from fairlead.model.plan import EdgePlan, ObjectError
from fairlead.render.bird_limits import peer_limits, place
from fairlead.render.bird_policy import Announced, ExportView, aggregates, export_views
from fairlead.render.environment import render, secret, word

SESSION_PREFIX = "peer."
"""Before each peer's name: BIRD takes a quoted keyword (`'router'`, `'rt'`) for the keyword, and no
keyword has a dot."""

_NAME_LIMIT = 56  # a symbol of BIRD's has 63 characters; sessions of a range get a number appended
_FAMILIES = ("ipv4", "ipv6")


class BirdFile(msgspec.Struct, frozen=True):
    """The file, and what of the sessions could not be put into it."""

    text: str
    errors: tuple[ObjectError, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _ChannelView:
    """One address family of a session; `next_hop` is "" where BIRD finds it by itself."""

    name: str
    next_hop: str
    export: ExportView


@dataclass(frozen=True, kw_only=True)
class _BfdView:
    """BFD of one session; times in milliseconds."""

    receive: int
    transmit: int
    multiplier: int
    passive: bool


@dataclass(frozen=True, kw_only=True)
class _PeerView:
    """One `protocol bgp`; "" and 0 leave a line out."""

    name: str
    local: str
    local_asn: int
    neighbor: str
    interface: str
    vrf: str
    router_id: str
    multihop: bool
    hold_time: int
    keepalive_time: int
    connect_time: int
    graceful_restart: bool
    bfd: _BfdView | None
    password: str
    channels: tuple[_ChannelView, ...]


def session_name(peer: str) -> str:
    """Name of a peer's session in BIRD; a long one is shortened and stays unique."""
    name = SESSION_PREFIX + peer
    if len(name) <= _NAME_LIMIT:
        return name
    digest = sha256(peer.encode()).hexdigest()[:8]
    return f"{name[: _NAME_LIMIT - len(digest) - 1]}.{digest}"


def render_bird(edge: Edge, plan: EdgePlan, passwords: Mapping[str, str] | None = None) -> BirdFile:
    """Return BIRD's file for one edge.

    Args:
        edge: The edge whose file it is.
        plan: Its slice of the plan: sessions, policies, and what is announced now.
        passwords: TCP MD5 secrets by name of the peer, where the plan does not carry them.

    Raises:
        InventoryError: The edge has sessions and no IPv4 router id.
    """
    views: list[_PeerView] = []
    errors: list[ObjectError] = []
    announced = Announced(plan)
    for peer in sorted(plan.bgp_peers, key=lambda peer: peer.name):
        try:
            views.append(_peer(edge, peer, announced, passwords or {}))
            errors += peer_limits(peer)
        except ObjectFieldError as error:
            errors.append(place(peer, error.field, f"{error.message}; the session is left out"))
    text = render(
        "bird.conf.j2",
        router_id=_router_id(edge, needed=bool(plan.bgp_peers)),
        link=VIP_LINK,
        peers=views,
        bfd=any(view.bfd for view in views),
        unnumbered=sorted({view.interface for view in views if view.interface}),
        aggregates={family: aggregates(plan, family) for family in _FAMILIES},
    )
    return BirdFile(text, tuple(errors))


def _router_id(edge: Edge, *, needed: bool) -> str:
    """The edge's router id; "" without one where nobody hears it."""
    chosen = edge.router_id or edge.address
    if chosen.version == 4:
        return str(chosen)
    if not needed:
        return ""
    raise InventoryError(
        f"edges[{edge.name}].router_id",
        f"BGP needs one, written as an IPv4 address: the edge's own address {chosen} is none",
    )


def _peer(
    edge: Edge, peer: BgpPeer, announced: Announced, passwords: Mapping[str, str]
) -> _PeerView:
    asn = peer.local_asn or peer.my_asn
    if asn is None:
        raise ObjectFieldError("my_asn", "a session needs an ASN of ours")
    return _PeerView(
        name=session_name(_word("name", peer.name, 253)),
        local=_local(edge, peer),
        local_asn=asn,
        neighbor=_neighbor(peer),
        interface=_word("interface", peer.interface, 15) if peer.interface else "",
        vrf=_word("vrf", peer.vrf, 15) if peer.vrf else "",
        # Its own only where it differs: the global one stands at the top.
        router_id="" if peer.router_id is None else str(peer.router_id),
        multihop=peer.ebgp_multihop and peer.address is not None,
        hold_time=peer.hold_time,
        keepalive_time=(peer.keepalive_time or 0) if peer.hold_time else 0,
        connect_time=peer.connect_time or 0,
        graceful_restart=peer.graceful_restart,
        bfd=None if peer.bfd is None else _bfd(peer.bfd),
        password=_password(peer, passwords),
        channels=tuple(_channel(edge, peer, announced, family) for family in _carried(peer)),
    )


def _word(field: str, text: str, limit: int) -> str:
    try:
        return word(field, text, limit)
    except InventoryError as error:
        raise ObjectFieldError(field, error.message) from None


def _local(edge: Edge, peer: BgpPeer) -> str:
    """Our end of the session, "" where only the daemon can know it."""
    if peer.address is not None and peer.address.is_link_local:
        raise ObjectFieldError(
            "address",
            f"{peer.address} means nothing without a link: name the interface in its place",
        )
    if peer.source_address is not None:
        if peer.address is not None and peer.address.version != peer.source_address.version:
            raise ObjectFieldError(
                "source_address", f"{peer.source_address} can't call {peer.address}: two families"
            )
        return str(peer.source_address)
    if peer.address is None or peer.vrf:
        return ""
    own = _own(edge, peer.address.version)
    if own is None:
        raise ObjectFieldError(
            "address", f"edge {edge.name} has no IPv{peer.address.version} address"
        )
    return str(own)


def _own(edge: Edge, version: int) -> IPAddress | None:
    addresses = (edge.address, edge.address6)
    return next((own for own in addresses if own and own.version == version), None)


def _neighbor(peer: BgpPeer) -> str:
    """Everything behind `neighbor`: where, which port, which AS."""
    number = peer.dynamic_asn.value if peer.dynamic_asn else f"as {peer.asn}"
    if peer.address is None:
        # BIRD can't look for the neighbour of a link: it waits for whoever comes from there.
        return f"range fe80::/10 {number}"
    return f"{peer.address} port {peer.port} {number}"


def _carried(peer: BgpPeer) -> tuple[str, ...]:
    """Families that go over a session: its own, or both."""
    if peer.address is None or peer.dual_stack:
        return _FAMILIES
    return (f"ipv{peer.address.version}",)


def _channel(edge: Edge, peer: BgpPeer, announced: Announced, family: str) -> _ChannelView:
    version = int(family[-1])
    next_hop = ""
    if peer.address is not None and peer.address.version != version:
        own = _own(edge, version)
        if own is None:
            raise ObjectFieldError(
                "dual_stack", f"edge {edge.name} has no IPv{version} address to be the next hop"
            )
        next_hop = str(own)
    return _ChannelView(
        name=family, next_hop=next_hop, export=export_views(announced, peer.name, family)
    )


def _bfd(settings: BfdSettings) -> _BfdView:
    return _BfdView(
        receive=round(settings.receive * 1000),
        transmit=round(settings.transmit * 1000),
        multiplier=settings.multiplier,
        passive=settings.passive,
    )


def _password(peer: BgpPeer, passwords: Mapping[str, str]) -> str:
    text = peer.password if peer.password is not None else passwords.get(peer.name)
    if text is None:
        if peer.password_secret is None:
            return ""
        ref = peer.password_secret
        raise ObjectFieldError(
            "password_secret",
            f"there is no Secret {ref.namespace}/{ref.name} of type kubernetes.io/basic-auth "
            f"with the key {ref.key} that the edges may read",
        )
    try:
        return secret("password", text)
    except InventoryError as error:
        raise ObjectFieldError("password", error.message) from None
