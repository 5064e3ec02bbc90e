# SPDX-License-Identifier: Apache-2.0
"""BGP sessions: routers, their timers and secrets (`BGPPeer` objects, inventory)."""

from enum import StrEnum

import msgspec

from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.selector import LabelSelector


class BfdSettings(msgspec.Struct, frozen=True):
    """BFD timers (RFC 5880).

    Attributes:
        interval: Seconds, for both directions where no other is given.
        multiplier: Packets that may be lost.
        receive_interval, transmit_interval: Seconds; None takes `interval`.
        echo_interval: Seconds between echo packets; only with `echo`.
        passive: Wait for the peer's first packet.
        minimum_ttl: Lowest TTL accepted from a peer that is several hops away.
    """

    interval: float = 0.1
    multiplier: int = 3
    receive_interval: float | None = None
    transmit_interval: float | None = None
    echo: bool = False
    echo_interval: float = 0.05
    passive: bool = False
    minimum_ttl: int = 254

    @property
    def receive(self) -> float:
        """Shortest interval, in seconds, at which packets can be taken."""
        return self.interval if self.receive_interval is None else self.receive_interval

    @property
    def transmit(self) -> float:
        """Shortest interval, in seconds, at which packets are sent."""
        return self.interval if self.transmit_interval is None else self.transmit_interval


class DynamicAsn(StrEnum):
    """Which ASN a peer may have whose number is not written down."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class SecretRef(msgspec.Struct, frozen=True):
    """A Secret of type kubernetes.io/basic-auth and the key in it."""

    namespace: str
    name: str
    key: str = "password"


class BgpPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream router (`BGPPeer`, or an entry of `bgp.peers`).

    Attributes:
        address, interface: Exactly one; a session over `interface` is unnumbered (RFC 8950).
        asn, dynamic_asn: Exactly one.
        my_asn: Our ASN, None takes `BgpSettings.local_asn`.
        local_asn: ASN shown to this peer in place of `my_asn` (local-as), None for none.
        source_address: None takes the edge's own address of the peer's family.
        router_id: IPv4; None takes the edge's.
        hold_time, keepalive_time, connect_time: Seconds; keepalive None is a third of the hold
            time, connect None the daemon's own.
        bfd, bfd_profile: Settings, or the name of a profile ("" for none); without either, no BFD.
        password, password_secret: TCP MD5 secret (RFC 2385) or where it stands; None for none.
        ebgp_multihop: The peer is more than one hop away.
        graceful_restart: Ask the peer to keep our routes through a restart.
        vrf: Name of the VRF device that the session runs in, "" for none.
        dual_stack: Carry prefixes of both families over this session.
        disable_mp: Deprecated upstream: one family per session, which is the rule here anyway.
        edges: Names of the edges that peer with it; empty means all.
        edge_selectors: OR-ed over the labels of edges, AND-ed with `edges`; empty means all.
        origin: "inventory" or "cluster".
        namespace, created: Of the object, "" for the inventory.
    """

    name: str
    address: IPAddress | None = None
    asn: int | None = None
    port: int = 179
    hold_time: int = 9
    bfd: BfdSettings | None = None
    password: str | None = None
    edges: tuple[str, ...] = ()
    interface: str = ""
    dynamic_asn: DynamicAsn | None = None
    my_asn: int | None = None
    local_asn: int | None = None
    source_address: IPAddress | None = None
    router_id: IPAddress | None = None
    keepalive_time: int | None = None
    connect_time: int | None = None
    bfd_profile: str = ""
    password_secret: SecretRef | None = None
    ebgp_multihop: bool = False
    graceful_restart: bool = False
    vrf: str = ""
    dual_stack: bool = False
    disable_mp: bool = False
    edge_selectors: tuple[LabelSelector, ...] = ()
    origin: str = "inventory"
    namespace: str = ""
    created: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name of the object; the namespace is "" for the inventory."""
        return ObjectKey(self.namespace, self.name)


class BgpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """BGP of the edge group."""

    local_asn: int = 64512
    peers: tuple[BgpPeer, ...] = ()
