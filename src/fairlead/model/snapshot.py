# SPDX-License-Identifier: Apache-2.0
"""A cluster at one moment: the planner's whole input besides the inventory."""

from collections.abc import Mapping

import msgspec

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
        pool_places: File and document number of the pools' objects, by key; empty for a live
            cluster.
    """

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pools: tuple[Pool, ...] = ()
    errors: tuple[ObjectError, ...] = ()
    slices_known: bool = True
    nodes_known: bool = True
    pool_places: Mapping[ObjectKey, tuple[str, int]] = msgspec.field(default_factory=dict)
