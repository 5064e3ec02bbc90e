# SPDX-License-Identifier: Apache-2.0
"""The plan: what one edge group should look like. Its JSON form is a contract."""

from collections.abc import Mapping

import msgspec

from fairlead.model.bgp import BgpPeer
from fairlead.model.names import (
    Announce,
    Forwarding,
    IPAddress,
    IPNetwork,
    ObjectKey,
    Protocol,
)

SLOW_START_STEPS = 10
"""Weights of a slow start rise in so many steps: each rebuilds the table of `mh`."""


class RealServer(msgspec.Struct, frozen=True, gc=False):
    """Where a virtual server sends; weight 0 takes no new connections and keeps the old ones.

    Port 0 keeps the port that the client chose (port ranges).
    """

    address: IPAddress
    port: int
    weight: int


class VirtualServer(msgspec.Struct, frozen=True, kw_only=True):
    """VIP + protocol + port in IPVS; real servers sorted by address, then port.

    The order matters: `mh` fills its table in order of insertion, and all edges must agree.

    Attributes:
        flags: Scheduler flags by name, e.g. ("fallback", "port").
        persistence_seconds: ClientIP affinity timeout, None without.
        one_packet: UDP one-packet scheduling.
        source_ranges: Clients that are let in (`loadBalancerSourceRanges`), disjoint and sorted;
            None lets everybody in, () nobody.
        slow_start_seconds: A real server that newly takes traffic beside others reaches its weight
            after so long, in `SLOW_START_STEPS`; None at once. Each edge does it by itself.
        last_port: Last port of a range that begins with `port`; None for that port alone. Ports of
            the Service's other virtual servers inside the range are theirs.
        mark: Firewall mark by which IPVS knows a range, one for each Service; None without range.
    """

    address: IPAddress
    protocol: Protocol
    port: int
    scheduler: str
    flags: tuple[str, ...]
    forwarding: Forwarding
    service: ObjectKey
    persistence_seconds: int | None = None
    one_packet: bool = False
    source_ranges: tuple[IPNetwork, ...] | None = None
    slow_start_seconds: int | None = None
    last_port: int | None = None
    mark: int | None = None
    real_servers: tuple[RealServer, ...] = ()


class VipAddress(msgspec.Struct, frozen=True, gc=False):
    """A VIP on one edge.

    Attributes:
        announce: Ways by which this edge may announce it.
        ready: False where no endpoint could answer: not announced.
    """

    address: IPAddress
    announce: tuple[Announce, ...]
    ready: bool


class VrrpInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One keepalived vrrp_instance of one edge.

    Attributes:
        advertised_address: The stable address with prefix length.
        addresses: Service VIPs, in `virtual_ipaddress_excluded`.
        devices: Interfaces on which the VIPs stand, all of them to be tracked; () for `interface`
            alone. The adverts and the advertised address stay on `interface`.
        peers: Unicast peers: own addresses of the other edges that run this instance.
    """

    instance: str
    interface: str
    vrid: int
    priority: int
    advert_interval: float
    preempt: bool
    source: IPAddress
    peers: tuple[IPAddress, ...]
    advertised_address: str
    addresses: tuple[IPAddress, ...] = ()
    devices: tuple[str, ...] = ()


class BgpAnnouncement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One prefix that an edge originates now, to some of its peers.

    A prefix may stand several times, each time for other peers. One wider than a host route is an
    aggregate: it is listed while any VIP inside is ready, and the edge originates it for just that
    long (the VIPs' own host routes are not listed then, unless some advertisement asks for both).

    Attributes:
        peers: Names of peers of this edge, sorted, never empty.
        communities: `a:b` or `large:a:b:c`, aliases resolved, sorted by number.
        local_pref: None where unset.
    """

    prefix: str
    peers: tuple[str, ...]
    communities: tuple[str, ...] = ()
    local_pref: int | None = None


class BgpPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What this edge tells some peers about any VIP inside some ranges, ready or not.

    It follows from pools and advertisements without serviceSelectors, so it stays the same while
    Services come and go: a daemon can be configured by it once. Announcements in `EdgePlan.bgp`
    that no policy produces (serviceSelectors) are exceptions that override it by prefix.

    Attributes:
        prefixes: CIDRs that cover the pools' ranges exactly, sorted.
        length: Prefix length of what is announced: 32, 128, or an aggregate's.
    """

    prefixes: tuple[str, ...]
    length: int
    peers: tuple[str, ...]
    communities: tuple[str, ...] = ()
    local_pref: int | None = None


class NotAnnounced(msgspec.Struct, frozen=True, kw_only=True):
    """Why one edge does not announce a Service by one way.

    Attributes:
        reason: Upstream's word, e.g. `noMatchingAdvertisement`, `announceFailed`.
        message: A sentence for people.
    """

    service: ObjectKey
    edge: str
    way: Announce
    reason: str
    message: str


class EdgePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One edge's slice of the plan; every list is sorted.

    Attributes:
        bgp: Prefixes that the edge originates now.
        bgp_policies: The same for all VIPs that could come, by pools and advertisements.
        bgp_peers: Sessions of this edge: inventory and cluster, by name, with `my_asn` filled in,
            `bfd` resolved, and neither `edges` nor `edge_selectors`.
        failed: Services that this edge should announce and can't (`announceFailed`).
    """

    virtual_servers: tuple[VirtualServer, ...] = ()
    addresses: tuple[VipAddress, ...] = ()
    vrrp: tuple[VrrpInstance, ...] = ()
    bgp: tuple[BgpAnnouncement, ...] = ()
    bgp_policies: tuple[BgpPolicy, ...] = ()
    bgp_peers: tuple[BgpPeer, ...] = ()
    failed: tuple[NotAnnounced, ...] = ()


class PlanEvent(msgspec.Struct, frozen=True):
    """A Kubernetes Event to raise on a Service; type is Normal or Warning."""

    type: str
    reason: str
    message: str


class Refusal(msgspec.Struct, frozen=True):
    """Why a Service got no address."""

    reason: str
    message: str


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The allocator's decision for one Service of ours.

    Attributes:
        addresses: What `status.loadBalancer.ingress` should hold, in order.
        pool: Pool of the addresses, None without.
        changed: Whether the Service's status or pool note differs from this decision.
    """

    key: ObjectKey
    addresses: tuple[IPAddress, ...] = ()
    pool: str | None = None
    refusal: Refusal | None = None
    events: tuple[PlanEvent, ...] = ()
    changed: bool = False


class ObjectError(msgspec.Struct, frozen=True, kw_only=True):
    """An object that could not be used, and where it stands.

    Attributes:
        file: File of the manifest, "" for a live cluster.
        document: Number of the YAML document in the file, from 1; 0 for a live cluster.
        field: Dotted path, "" where the whole object is meant.
    """

    file: str = ""
    document: int = 0
    kind: str = ""
    namespace: str = ""
    name: str = ""
    field: str = ""
    message: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan."""

    services: tuple[ServicePlan, ...] = ()
    edges: Mapping[str, EdgePlan] = msgspec.field(default_factory=dict)
    errors: tuple[ObjectError, ...] = ()
