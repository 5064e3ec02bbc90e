# SPDX-License-Identifier: Apache-2.0
"""Advertisements, peers, BFD profiles and communities of the inventory document.

Entries have the fields of the `spec` of the objects, in the spelling of the inventory
(`ip_address_pools`) or that of the CRD (`ipAddressPools`), so that a spec can be pasted. Errors
name the field in the inventory's spelling.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import msgspec

from fairlead.model.advertisement import BfdProfile, BgpAdvertisement, Community, L2Advertisement
from fairlead.model.bgp import BfdSettings, BgpPeer
from fairlead.model.errors import InventoryError, ObjectFieldError
from fairlead.snapshot.adverts import parse_aliases, parse_bgp, parse_l2
from fairlead.snapshot.objects import field_error
from fairlead.snapshot.peers import parse_bfd, parse_peer
from fairlead.snapshot.text import subdomain_name
from fairlead.snapshot.wire_adverts import (
    BfdSpecWire,
    BgpSpecWire,
    CommunitySpecWire,
    L2SpecWire,
    PeerSpecWire,
)

HOLD_SECONDS = 9
"""Hold time of a peer that names none: ours, where objects of the cluster have FRR's."""

T = TypeVar("T")
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=255)]


class _L2Entry(L2SpecWire, forbid_unknown_fields=True, kw_only=True):
    name: str


class _BgpEntry(BgpSpecWire, forbid_unknown_fields=True, kw_only=True):
    name: str


class _BfdEntry(BfdSpecWire, forbid_unknown_fields=True, kw_only=True):
    name: str


class _CommunityEntry(CommunitySpecWire, forbid_unknown_fields=True, kw_only=True):
    name: str


class _Bfd(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Settings at the peer itself; `interval` is in seconds."""

    interval: _Seconds = 0.1
    multiplier: Annotated[int, msgspec.Meta(ge=1, le=255)] = 3


class _PeerEntry(PeerSpecWire, forbid_unknown_fields=True, kw_only=True):
    name: str
    edges: list[str] = msgspec.field(default_factory=list)
    bfd: _Bfd | bool | None = None


# The inventory's spelling -> the CRD's.
_PEER_KEYS = {
    "address": "peerAddress",
    "asn": "peerASN",
    "port": "peerPort",
    "my_asn": "myASN",
    "local_asn": "localASN",
    "dynamic_asn": "dynamicASN",
    "source_address": "sourceAddress",
    "router_id": "routerID",
    "hold_time": "holdTime",
    "keepalive_time": "keepaliveTime",
    "connect_time": "connectTime",
    "password_secret": "passwordSecret",
    "bfd_profile": "bfdProfile",
    "graceful_restart": "enableGracefulRestart",
    "ebgp_multihop": "ebgpMultiHop",
    "dual_stack": "dualStackAddressFamily",
    "disable_mp": "disableMP",
}
_KEYS = {
    "ip_address_pools": "ipAddressPools",
    "ip_address_pool_selectors": "ipAddressPoolSelectors",
    "node_selectors": "nodeSelectors",
    "service_selectors": "serviceSelectors",
    "preferred_node_selectors": "preferredNodeSelectors",
    "match_labels": "matchLabels",
    "match_expressions": "matchExpressions",
    "aggregation_length": "aggregationLength",
    "aggregation_length_v6": "aggregationLengthV6",
    "local_pref": "localPref",
    "receive_interval": "receiveInterval",
    "transmit_interval": "transmitInterval",
    "detect_multiplier": "detectMultiplier",
    "echo_interval": "echoInterval",
    "echo_mode": "echoMode",
    "passive_mode": "passiveMode",
    "minimum_ttl": "minimumTtl",
}
_SPOKEN = {theirs: ours for ours, theirs in {**_KEYS, **_PEER_KEYS}.items()}
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]+")
# Of YAML 1.1, which Ansible reads, 64512:10 is a number to the base of 60.
_QUOTE_IT = ": put quotes around it, YAML may take digits with colons for a number"
_LABELS = frozenset({"match_labels", "matchLabels"})


def l2_entries(documents: Sequence[Any]) -> tuple[L2Advertisement, ...]:
    """Parse `l2_advertisements`."""
    return _entries(documents, "l2_advertisements", _L2Entry, parse_l2)


def bgp_entries(documents: Sequence[Any]) -> tuple[BgpAdvertisement, ...]:
    """Parse `bgp_advertisements`."""
    return _entries(documents, "bgp_advertisements", _BgpEntry, parse_bgp)


def bfd_entries(documents: Sequence[Any]) -> tuple[BfdProfile, ...]:
    """Parse `bfd_profiles`; intervals are in milliseconds, as in the objects."""

    def parse(wire: _BfdEntry, field: str, who: Mapping[str, Any]) -> BfdProfile:
        return BfdProfile(settings=parse_bfd(wire, field), **who)

    return _entries(documents, "bfd_profiles", _BfdEntry, parse)


def community_entries(documents: Sequence[Any]) -> tuple[Community, ...]:
    """Parse `communities`."""
    return _entries(documents, "communities", _CommunityEntry, parse_aliases)


def peer_entries(
    documents: Sequence[Any], edges: Sequence[str], local_asn: int, namespace: str
) -> tuple[BgpPeer, ...]:
    """Parse `bgp.peers`.

    Args:
        documents: The entries.
        edges: Names of the edges.
        local_asn: Our ASN where an entry names none.
        namespace: Where the Secrets of peers are.
    """

    def parse(wire: _PeerEntry, field: str, who: Mapping[str, Any]) -> BgpPeer:
        for index, edge in enumerate(wire.edges):
            if edge not in edges:
                raise ObjectFieldError(f"{field}edges[{index}]", f"{edge!r} is not an edge")
        if wire.bfd and wire.bfd_profile:
            raise ObjectFieldError(f"{field}bfdProfile", "and bfd exclude each other")
        who = {**who, "namespace": namespace}
        hold = (HOLD_SECONDS, None)
        peer = parse_peer(wire, field, who, hold=hold, max_port=65535)
        if peer.ebgp_multihop and peer.asn == (peer.my_asn or local_asn):
            raise ObjectFieldError(f"{field}ebgpMultiHop", "an iBGP peer has no eBGP hops")
        bfd = _Bfd() if wire.bfd is True else wire.bfd
        settings = BfdSettings(bfd.interval, bfd.multiplier) if isinstance(bfd, _Bfd) else None
        return msgspec.structs.replace(peer, namespace="", edges=tuple(wire.edges), bfd=settings)

    return _entries(documents, "bgp.peers", _PeerEntry, parse, keys=_PEER_KEYS)


def _entries(
    documents: Sequence[Any],
    section: str,
    kind: type[Any],
    parse: Callable[[Any, str, Mapping[str, Any]], T],
    keys: Mapping[str, str] = MappingProxyType({}),
) -> tuple[T, ...]:
    found: list[T] = []
    names: list[str] = []
    for index, document in enumerate(documents):
        where = f"{section}[{index}]"
        try:
            wire = _wire(document, kind, where, keys)
            name = subdomain_name(wire.name, f"{where}.name")
            names.append(_new(name, names, f"{where}.name"))
            found.append(parse(wire, f"{where}.", {"name": name, "origin": "inventory"}))
        except ObjectFieldError as error:
            raise InventoryError(_spoken(error.field), _spoken(error.message)) from None
    return tuple(found)


def _new(name: str, names: Sequence[str], field: str) -> str:
    if name in names:
        raise ObjectFieldError(field, f"{name!r} is there twice")
    return name


def _wire(document: Any, kind: type[Any], where: str, keys: Mapping[str, str]) -> Any:
    if isinstance(document, Mapping):
        document = {keys.get(key, key): value for key, value in document.items()}
    try:
        return msgspec.convert(_renamed(document), kind)
    except msgspec.ValidationError as error:
        told = field_error(error)
        separator = "." if told.field and not told.field.startswith("[") else ""
        hint = _QUOTE_IT if told.message == "Expected `str`, got `int`" else ""
        raise ObjectFieldError(f"{where}{separator}{told.field}", told.message + hint) from None


def _renamed(value: Any) -> Any:
    """The CRD's spelling at every depth, except inside labels; nulls are absent."""
    if isinstance(value, Mapping):
        return {
            _KEYS.get(key, key): item if key in _LABELS else _renamed(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value


def _spoken(text: str) -> str:
    """Names of fields in the inventory's spelling."""
    return _WORD.sub(lambda match: _SPOKEN.get(match[0], match[0]), text)
