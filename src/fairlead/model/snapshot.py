# SPDX-License-Identifier: Apache-2.0
"""A cluster at one moment: the planner's whole input besides the inventory."""

from collections.abc import Mapping

import msgspec

from fairlead.model.advertisement import BfdProfile, BgpAdvertisement, Community, L2Advertisement
from fairlead.model.bgp import BgpPeer
from fairlead.model.kube import EndpointSlice, Namespace, Node, Service
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import Pool


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Typed objects, parsed once at the rim.

    Attributes:
        slices_known: False for offline input without a single EndpointSlice: addresses and virtual
            servers are planned all the same, real servers stay empty.
        nodes_known: Likewise for Nodes.
        places: File and document number of the metallb.io objects, by kind and key; empty for a
            live cluster.
    """

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pools: tuple[Pool, ...] = ()
    l2_advertisements: tuple[L2Advertisement, ...] = ()
    bgp_advertisements: tuple[BgpAdvertisement, ...] = ()
    bgp_peers: tuple[BgpPeer, ...] = ()
    bfd_profiles: tuple[BfdProfile, ...] = ()
    communities: tuple[Community, ...] = ()
    errors: tuple[ObjectError, ...] = ()
    slices_known: bool = True
    nodes_known: bool = True
    places: Mapping[tuple[str, ObjectKey], tuple[str, int]] = msgspec.field(default_factory=dict)
