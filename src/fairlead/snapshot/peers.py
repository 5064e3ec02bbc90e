# SPDX-License-Identifier: Apache-2.0
"""BGP peers and BFD profiles to the model, with upstream's validation (reference 3.3, 3.4).

One parser for objects of the cluster and entries of the inventory, as in `.adverts`.
"""

from collections.abc import Mapping
from typing import Any

from fairlead.model.advertisement import BfdProfile
from fairlead.model.bgp import BfdSettings, BgpPeer, DynamicAsn, SecretRef
from fairlead.model.errors import ObjectFieldError
from fairlead.snapshot.adverts import identity
from fairlead.snapshot.selectors import parse_selectors
from fairlead.snapshot.text import (
    address_field,
    duration_field,
    interface_name,
    router_id_field,
    subdomain_name,
)
from fairlead.snapshot.wire_adverts import (
    BfdProfileWire,
    BfdSpecWire,
    PeerSpecWire,
    PeerWire,
    SecretRefWire,
)

# What FRR, and with it upstream, uses where neither time is given.
HOLD_SECONDS, KEEPALIVE_SECONDS = 180, 60
MAX_PORT = 16384  # upstream's limit for peerPort

# BGPPeer v1beta1 has these fields; the API server drops all others of such a manifest.
_V1BETA1 = frozenset(
    {
        "myASN",
        "peerASN",
        "peerAddress",
        "sourceAddress",
        "peerPort",
        "holdTime",
        "keepaliveTime",
        "routerID",
        "nodeSelectors",
        "password",
        "bfdProfile",
        "ebgpMultiHop",
    }
)


def as_v1beta2(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A BGPPeer manifest of v1beta1 as v1beta2; others as they are."""
    spec = data.get("spec")
    if data.get("apiVersion") != "metallb.io/v1beta1" or not isinstance(spec, Mapping):
        return data
    kept = {key: value for key, value in spec.items() if key in _V1BETA1}
    return {**data, "spec": kept}


def peer_from_wire(wire: PeerWire) -> BgpPeer:
    """Parse a BGPPeer; raises `ObjectFieldError`."""
    who = identity(wire.metadata)
    spec = wire.spec or PeerSpecWire()
    for value, field in (
        (spec.hold_time, "holdTime"),
        (spec.keepalive_time, "keepaliveTime"),
        (spec.connect_time, "connectTime"),
    ):
        if isinstance(value, int):
            raise ObjectFieldError(f"spec.{field}", f"{value} is no duration; write {value}s")
    if not spec.my_asn:
        raise ObjectFieldError("spec.myASN", "our own ASN is missing")
    hold = (HOLD_SECONDS, KEEPALIVE_SECONDS)
    return parse_peer(spec, "spec.", who, hold=hold, max_port=MAX_PORT)


def parse_peer(
    spec: PeerSpecWire,
    field: str,
    who: Mapping[str, Any],
    *,
    hold: tuple[int, int | None],
    max_port: int,
) -> BgpPeer:
    """Parse the fields of a peer.

    Args:
        spec: The fields.
        field: Where they stand, with the dot.
        who: Name, namespace, age and origin.
        hold: Hold and keepalive time, in seconds, where neither is given.
        max_port: Highest port that is allowed.
    """
    asn, dynamic = _asn(spec, field)
    address = spec.peer_address or ""
    if bool(address) == bool(spec.interface):
        raise ObjectFieldError(
            f"{field}peerAddress", "exactly one of peerAddress and interface is needed"
        )
    my_asn = spec.my_asn or None
    if spec.ebgp_multi_hop and (asn == my_asn or dynamic is DynamicAsn.INTERNAL):
        raise ObjectFieldError(f"{field}ebgpMultiHop", "an iBGP peer has no eBGP hops")
    hold_time, keepalive_time = _timers(spec, field, hold)
    return BgpPeer(
        address=address_field(address, f"{field}peerAddress") if address else None,
        interface=interface_name(spec.interface, f"{field}interface") if spec.interface else "",
        asn=asn,
        dynamic_asn=dynamic,
        my_asn=_number(my_asn, f"{field}myASN", 1, 0xFFFFFFFF),
        local_asn=_number(spec.local_asn, f"{field}localASN", 1, 0xFFFFFFFF),
        port=_number(spec.peer_port or None, f"{field}peerPort", 1, max_port) or 179,
        source_address=_address(spec.source_address, f"{field}sourceAddress"),
        router_id=router_id_field(spec.router_id, f"{field}routerID") if spec.router_id else None,
        hold_time=hold_time,
        keepalive_time=keepalive_time,
        connect_time=_connect(spec, f"{field}connectTime"),
        bfd_profile=spec.bfd_profile or "",
        password=spec.password or None,
        password_secret=_secret(spec, field, who["namespace"]),
        ebgp_multihop=bool(spec.ebgp_multi_hop),
        graceful_restart=bool(spec.enable_graceful_restart),
        vrf=interface_name(spec.vrf, f"{field}vrf") if spec.vrf else "",
        dual_stack=bool(spec.dual_stack_address_family),
        disable_mp=bool(spec.disable_mp),
        edge_selectors=parse_selectors(spec.node_selectors, f"{field}nodeSelectors"),
        **who,
    )


def profile_from_wire(wire: BfdProfileWire) -> BfdProfile:
    """Parse a BFDProfile; raises `ObjectFieldError`."""
    who = identity(wire.metadata)
    return BfdProfile(settings=parse_bfd(wire.spec or BfdSpecWire(), "spec."), **who)


def parse_bfd(spec: BfdSpecWire, field: str) -> BfdSettings:
    """Parse the fields of a BFD profile; FRR's defaults, as upstream."""
    receive = _number(spec.receive_interval, f"{field}receiveInterval", 10, 60000)
    transmit = _number(spec.transmit_interval, f"{field}transmitInterval", 10, 60000)
    echo = _number(spec.echo_interval, f"{field}echoInterval", 10, 60000)
    multiplier = _number(spec.detect_multiplier, f"{field}detectMultiplier", 2, 255)
    ttl = _number(spec.minimum_ttl, f"{field}minimumTtl", 1, 254)
    return BfdSettings(
        interval=0.3,
        multiplier=3 if multiplier is None else multiplier,
        receive_interval=None if receive is None else receive / 1000,
        transmit_interval=None if transmit is None else transmit / 1000,
        echo=bool(spec.echo_mode),
        echo_interval=0.05 if echo is None else echo / 1000,
        passive=bool(spec.passive_mode),
        minimum_ttl=254 if ttl is None else ttl,
    )


def _asn(spec: PeerSpecWire, field: str) -> tuple[int | None, DynamicAsn | None]:
    text = spec.dynamic_asn or ""
    if bool(spec.peer_asn) == bool(text):
        raise ObjectFieldError(f"{field}peerASN", "exactly one of peerASN and dynamicASN is needed")
    if not text:
        return _number(spec.peer_asn, f"{field}peerASN", 1, 0xFFFFFFFF), None
    try:
        return None, DynamicAsn(text)
    except ValueError:
        raise ObjectFieldError(
            f"{field}dynamicASN", f"{text!r} is not internal or external"
        ) from None


def _timers(
    spec: PeerSpecWire, field: str, default: tuple[int, int | None]
) -> tuple[int, int | None]:
    """Hold and keepalive time in whole seconds: one given alone sets the other (3 : 1)."""
    hold = duration_field(spec.hold_time, f"{field}holdTime")
    keepalive = duration_field(spec.keepalive_time, f"{field}keepaliveTime")
    if hold is None and keepalive is None:
        return default
    if hold is None:
        hold = 3 * (keepalive or 0.0)
    if not (int(hold) == 0 or 3 <= int(hold) <= 65535):
        raise ObjectFieldError(f"{field}holdTime", "must be 0 or 3..65535 seconds (RFC 4271)")
    if keepalive is not None and keepalive > hold:
        raise ObjectFieldError(f"{field}keepaliveTime", "must not be longer than the hold time")
    if keepalive is None:
        return int(hold), None
    return int(hold), max(1, int(keepalive)) if keepalive else 0


def _connect(spec: PeerSpecWire, field: str) -> int | None:
    seconds = duration_field(spec.connect_time, field)
    if seconds is None:
        return None
    if seconds != int(seconds) or not 1 <= seconds <= 65535:
        raise ObjectFieldError(field, "must be a whole number of seconds, 1..65535")
    return int(seconds)


def _secret(spec: PeerSpecWire, field: str, namespace: str) -> SecretRef | None:
    """The Secret is in the object's own namespace, whatever the reference says, as upstream."""
    wire = spec.password_secret or SecretRefWire()
    if not wire.name:
        return None
    if spec.password:
        raise ObjectFieldError(
            f"{field}passwordSecret", "and password exclude each other: give one of them"
        )
    return SecretRef(namespace, subdomain_name(wire.name, f"{field}passwordSecret.name"))


def _address(text: str | None, field: str) -> Any:
    return address_field(text, field) if text else None


def _number(value: int | None, field: str, low: int, high: int) -> int | None:
    if value is not None and not low <= value <= high:
        raise ObjectFieldError(field, f"{value} is not in {low}..{high}")
    return value
