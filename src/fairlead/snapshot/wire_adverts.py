# SPDX-License-Identifier: Apache-2.0
"""Wire shapes of what MetalLB announces by: advertisements, peers, BFD profiles, communities.

Field names: metallb.io/v1beta1 and v1beta2 CRDs. Ranges are checked in `fairlead.snapshot.adverts`
and `.peers`, because the inventory's entries have the same fields and come the same way.
"""

import msgspec

from fairlead.snapshot.wire import Meta, SelectorWire, Wire


class PreferenceWire(Wire):
    """An entry of `preferredNodeSelectors`."""

    weight: int
    preference: SelectorWire


class L2SpecWire(Wire):
    """`spec` of an L2Advertisement."""

    ip_address_pools: list[str] | None = None
    ip_address_pool_selectors: list[SelectorWire] | None = None
    node_selectors: list[SelectorWire] | None = None
    interfaces: list[str] | None = None
    service_selectors: list[SelectorWire] | None = None
    preferred_node_selectors: list[PreferenceWire] | None = None


class L2AdvertisementWire(Wire):
    """A metallb.io/v1beta1 L2Advertisement."""

    metadata: Meta
    spec: L2SpecWire | None = None


class BgpSpecWire(Wire):
    """`spec` of a BGPAdvertisement."""

    aggregation_length: int | None = None
    aggregation_length_v6: int | None = None
    local_pref: int | None = None
    communities: list[str] | None = None
    ip_address_pools: list[str] | None = None
    ip_address_pool_selectors: list[SelectorWire] | None = None
    node_selectors: list[SelectorWire] | None = None
    peers: list[str] | None = None
    service_selectors: list[SelectorWire] | None = None


class BgpAdvertisementWire(Wire):
    """A metallb.io/v1beta1 BGPAdvertisement."""

    metadata: Meta
    spec: BgpSpecWire | None = None


class SecretRefWire(Wire):
    """`passwordSecret` of a peer."""

    name: str | None = None
    namespace: str | None = None


class PeerSpecWire(Wire):
    """`spec` of a BGPPeer, v1beta2; v1beta1 has a part of these fields.

    Times are durations such as `90s`; a number of seconds is for the inventory.
    """

    my_asn: int | None = msgspec.field(default=None, name="myASN")
    peer_asn: int | None = msgspec.field(default=None, name="peerASN")
    local_asn: int | None = msgspec.field(default=None, name="localASN")
    dynamic_asn: str | None = msgspec.field(default=None, name="dynamicASN")
    peer_address: str | None = None
    interface: str | None = None
    source_address: str | None = None
    peer_port: int | None = None
    hold_time: str | int | None = None
    keepalive_time: str | int | None = None
    connect_time: str | int | None = None
    router_id: str | None = msgspec.field(default=None, name="routerID")
    node_selectors: list[SelectorWire] | None = None
    password: str | None = None
    password_secret: SecretRefWire | None = None
    bfd_profile: str | None = None
    enable_graceful_restart: bool | None = None
    ebgp_multi_hop: bool | None = None
    vrf: str | None = None
    disable_mp: bool | None = msgspec.field(default=None, name="disableMP")
    dual_stack_address_family: bool | None = None


class PeerWire(Wire):
    """A metallb.io BGPPeer."""

    metadata: Meta
    spec: PeerSpecWire | None = None


class BfdSpecWire(Wire):
    """`spec` of a BFDProfile; intervals in milliseconds."""

    receive_interval: int | None = None
    transmit_interval: int | None = None
    detect_multiplier: int | None = None
    echo_interval: int | None = None
    echo_mode: bool | None = None
    passive_mode: bool | None = None
    minimum_ttl: int | None = None


class BfdProfileWire(Wire):
    """A metallb.io/v1beta1 BFDProfile."""

    metadata: Meta
    spec: BfdSpecWire | None = None


class AliasWire(Wire):
    """An entry of `communities` of a Community."""

    name: str | None = None
    value: str | None = None


class CommunitySpecWire(Wire):
    """`spec` of a Community."""

    communities: list[AliasWire] | None = None


class CommunityWire(Wire):
    """A metallb.io/v1beta1 Community."""

    metadata: Meta
    spec: CommunitySpecWire | None = None
