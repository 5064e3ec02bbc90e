# SPDX-License-Identifier: Apache-2.0
"""The inventory document: what the operator says about edges, pools, peers and modes.

One schema for three readers: `fairlead plan --edges FILE`, the Ansible `plan` module, and the agent
(`/etc/fairlead/edges.yaml`). Parsed by `fairlead.snapshot.inventory`; the YAML keys are the
attribute names below.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from fairlead.model.advertisement import BfdProfile, BgpAdvertisement, Community, L2Advertisement
from fairlead.model.bgp import BfdSettings, BgpPeer, BgpSettings
from fairlead.model.groups import DEFAULT_GROUP
from fairlead.model.names import Announce, Forwarding, IPAddress
from fairlead.model.pool import Pool

__all__ = [
    "BfdSettings",
    "BgpPeer",
    "BgpSettings",
    "Edge",
    "Inventory",
    "ServiceSync",
    "VrrpSettings",
]


class ServiceSync(StrEnum):
    """Who makes Services true: the agents, at once."""

    LIVE = "live"


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """One edge machine.

    Attributes:
        address, address6: Its own addresses on `interface`.
        interface: LAN interface, e.g. `eth0`; VRRP speaks there.
        interfaces: Further interfaces on which advertisements may place VIPs.
        priority: VRRP priority 1..254; None lets the planner count down from 200 in list order.
        router_id: BGP router id; None takes `address`.
        labels: Matched by nodeSelectors of advertisements.
    """

    name: str
    address: IPAddress
    address6: IPAddress | None = None
    interface: str = "eth0"
    priority: int | None = None
    router_id: IPAddress | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    interfaces: tuple[str, ...] = ()


class VrrpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """VRRP of the edge group (RFC 5798).

    Attributes:
        instance: Name of the keepalived vrrp_instance.
        vrid: Virtual router id, 1..255, unique on the LAN.
        advertised_address: The one stable address in adverts, with prefix length, e.g.
            `10.0.0.9/24`; Service VIPs ride in `virtual_ipaddress_excluded`.
        advert_interval: Seconds; 0.1 gives failover in about 0.35 s.
        preempt: Whether a better edge takes back mastership when it returns.
    """

    instance: str = "fairlead"
    vrid: int = 51
    advertised_address: str = ""
    advert_interval: float = 0.1
    preempt: bool = False


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """All that the operator says about one edge group.

    Attributes:
        group: Name of the edge group; part of names and labels in the cluster.
        announce: Ways by which VIPs are announced; both may be named.
        forwarding: Default forwarding mode, overridden per Service by annotation.
        load_balancer_class: Only Services of this class are ours; None: only those without one.
        pool_namespace: Namespace from which `IPAddressPool` objects are read.
        nodes_per_service: At most this many nodes per Service of policy Cluster.
        announce_default: Announce every allocated address where no advertisement exists.
        hold_unready: Keep a node whose endpoints are all unready (but still there) at weight 0
            under TCP and SCTP, so that held connections live on; False removes it.
        l2_advertisements, bgp_advertisements, bfd_profiles, communities: The same as the objects
            of these kinds; peers stand in `bgp`.
    """

    edges: tuple[Edge, ...]
    group: str = DEFAULT_GROUP
    pools: tuple[Pool, ...] = ()
    announce: tuple[Announce, ...] = (Announce.VRRP,)
    forwarding: Forwarding = Forwarding.DSR
    scheduler: str = "mh"
    vrrp: VrrpSettings = VrrpSettings()
    bgp: BgpSettings = BgpSettings()
    service_sync: ServiceSync = ServiceSync.LIVE
    load_balancer_class: str | None = None
    pool_namespace: str = "metallb-system"
    nodes_per_service: int = 25
    announce_default: bool = True
    hold_unready: bool = True
    l2_advertisements: tuple[L2Advertisement, ...] = ()
    bgp_advertisements: tuple[BgpAdvertisement, ...] = ()
    bfd_profiles: tuple[BfdProfile, ...] = ()
    communities: tuple[Community, ...] = ()
