# SPDX-License-Identifier: Apache-2.0
"""BGP sessions and policies of a plan as JSON, and back.

A password is never in it, whether a person looks at the plan or a playbook passes it on: where one
is needed `password` is "inventory" or "object", and whoever renders takes it from there; a Secret
is named.
"""

from typing import Any

import msgspec

from fairlead.model.addresses import parse_address
from fairlead.model.bgp import BfdSettings, BgpPeer, DynamicAsn, SecretRef
from fairlead.model.names import Announce, IPAddress, ObjectKey
from fairlead.model.plan import BgpPolicy, NotAnnounced


class PolicyWire(msgspec.Struct, frozen=True, kw_only=True):
    """A `BgpPolicy`."""

    prefixes: list[str]
    length: int
    peers: list[str]
    communities: list[str]
    local_pref: int | None


class PeerWire(msgspec.Struct, frozen=True, kw_only=True):
    """A `BgpPeer` as one edge runs it."""

    name: str
    namespace: str
    origin: str
    address: str | None
    interface: str
    asn: int | None
    dynamic_asn: DynamicAsn | None
    my_asn: int | None
    local_asn: int | None
    port: int
    source_address: str | None
    router_id: str | None
    hold_time: int
    keepalive_time: int | None
    connect_time: int | None
    bfd: BfdSettings | None
    password: str | None
    password_secret: SecretRef | None
    ebgp_multihop: bool
    graceful_restart: bool
    vrf: str
    dual_stack: bool


class NotAnnouncedWire(msgspec.Struct, frozen=True, kw_only=True):
    """A `NotAnnounced`."""

    service: str
    edge: str
    way: Announce
    reason: str
    message: str


def policy_dict(policy: BgpPolicy) -> dict[str, Any]:
    """A policy as plain values."""
    return {
        "prefixes": list(policy.prefixes),
        "length": policy.length,
        "peers": list(policy.peers),
        "communities": list(policy.communities),
        "local_pref": policy.local_pref,
    }


def policy_from_wire(wire: PolicyWire) -> BgpPolicy:
    """A policy back from its JSON."""
    return BgpPolicy(
        prefixes=tuple(wire.prefixes),
        length=wire.length,
        peers=tuple(wire.peers),
        communities=tuple(wire.communities),
        local_pref=wire.local_pref,
    )


def peer_dict(peer: BgpPeer) -> dict[str, Any]:
    """A session as plain values, without its password."""
    password = None
    if peer.password is not None:
        password = "inventory" if peer.origin == "inventory" else "object"
    return {
        "name": peer.name,
        "namespace": peer.namespace,
        "origin": peer.origin,
        "address": _text(peer.address),
        "interface": peer.interface,
        "asn": peer.asn,
        "dynamic_asn": peer.dynamic_asn.value if peer.dynamic_asn else None,
        "my_asn": peer.my_asn,
        "local_asn": peer.local_asn,
        "port": peer.port,
        "source_address": _text(peer.source_address),
        "router_id": _text(peer.router_id),
        "hold_time": peer.hold_time,
        "keepalive_time": peer.keepalive_time,
        "connect_time": peer.connect_time,
        "bfd": msgspec.to_builtins(peer.bfd),
        "password": password,
        "password_secret": msgspec.to_builtins(peer.password_secret),
        "ebgp_multihop": peer.ebgp_multihop,
        "graceful_restart": peer.graceful_restart,
        "vrf": peer.vrf,
        "dual_stack": peer.dual_stack,
    }


def peer_from_wire(wire: PeerWire) -> BgpPeer:
    """A session back from its JSON; its `password` is None. Raises ValueError for no address."""
    return BgpPeer(
        name=wire.name,
        namespace=wire.namespace,
        origin=wire.origin,
        address=_address(wire.address),
        interface=wire.interface,
        asn=wire.asn,
        dynamic_asn=wire.dynamic_asn,
        my_asn=wire.my_asn,
        local_asn=wire.local_asn,
        port=wire.port,
        source_address=_address(wire.source_address),
        router_id=_address(wire.router_id),
        hold_time=wire.hold_time,
        keepalive_time=wire.keepalive_time,
        connect_time=wire.connect_time,
        bfd=wire.bfd,
        password_secret=wire.password_secret,
        ebgp_multihop=wire.ebgp_multihop,
        graceful_restart=wire.graceful_restart,
        vrf=wire.vrf,
        dual_stack=wire.dual_stack,
    )


def not_announced_dict(one: NotAnnounced) -> dict[str, Any]:
    """A reason as plain values."""
    return {
        "service": str(one.service),
        "edge": one.edge,
        "way": one.way.value,
        "reason": one.reason,
        "message": one.message,
    }


def not_announced_from_wire(wire: NotAnnouncedWire) -> NotAnnounced:
    """A reason back from its JSON."""
    namespace, _, name = wire.service.rpartition("/")
    return NotAnnounced(
        service=ObjectKey(namespace, name),
        edge=wire.edge,
        way=wire.way,
        reason=wire.reason,
        message=wire.message,
    )


def _text(address: IPAddress | None) -> str | None:
    return None if address is None else str(address)


def _address(text: str | None) -> IPAddress | None:
    return None if text is None else parse_address(text)
