# SPDX-License-Identifier: Apache-2.0
"""What the agent follows in the cluster: one watch per kind, all feeding one queue."""

from collections.abc import Callable
from queue import SimpleQueue
from sys import intern
from typing import Any

from fairlead.cluster.client import KubeApi
from fairlead.cluster.decode import WatchTarget
from fairlead.cluster.peer_secrets import SECRET_TYPE, SecretWire, peer_secret
from fairlead.cluster.watch import Watcher, WatchState
from fairlead.model.errors import ObjectFieldError
from fairlead.model.kube import EndpointSlice
from fairlead.model.pool import Pool
from fairlead.snapshot.objects import METALLB_KINDS, PARSERS, pool_from_wire, slice_from_wire
from fairlead.snapshot.wire import (
    EndpointSliceWire,
    NamespaceWire,
    NodeWire,
    PoolWire,
    ServiceWire,
)

# Collection of each kind of metallb.io; all of them may be unknown to the API server. Pools of all
# namespaces are followed, so that one in the wrong place is named and not missed.
_METALLB = {
    "IPAddressPool": "v1beta1/ipaddresspools",
    "L2Advertisement": "v1beta1/namespaces/{}/l2advertisements",
    "BGPAdvertisement": "v1beta1/namespaces/{}/bgpadvertisements",
    "BGPPeer": "v1beta2/namespaces/{}/bgppeers",
    "BFDProfile": "v1beta1/namespaces/{}/bfdprofiles",
    "Community": "v1beta1/namespaces/{}/communities",
}
# Slices that belong to a Service; those of headless ones are never ours and may be many.
_SLICES = "kubernetes.io/service-name,!service.kubernetes.io/headless"


def _slice(wire: EndpointSliceWire) -> EndpointSlice:
    """Parse a slice; its node names become shared strings: few nodes, 100,000 endpoints."""
    for endpoint in wire.endpoints or ():
        if endpoint.node_name:
            endpoint.node_name = intern(endpoint.node_name)
    return slice_from_wire(wire)


def _pools_of(namespace: str) -> Callable[[PoolWire], Pool]:
    """Parser of pool objects that refuses those of other namespaces, as upstream's webhook does."""

    def parse(wire: PoolWire) -> Pool:
        if wire.metadata.namespace != namespace:
            raise ObjectFieldError(
                "metadata.namespace",
                f"pools are read from namespace {namespace!r} only (pool_namespace)",
            )
        return pool_from_wire(wire)

    return parse


def targets(pool_namespace: str) -> tuple[WatchTarget[Any], ...]:
    """The kinds that a plan is computed from."""
    parsers = {**PARSERS, "IPAddressPool": _pools_of(pool_namespace)}
    return (
        WatchTarget("Service", "/api/v1/services", ServiceWire, PARSERS["Service"]),
        WatchTarget(
            "EndpointSlice",
            "/apis/discovery.k8s.io/v1/endpointslices",
            EndpointSliceWire,
            _slice,
            selector=_SLICES,
        ),
        WatchTarget("Node", "/api/v1/nodes", NodeWire, PARSERS["Node"]),
        WatchTarget("Namespace", "/api/v1/namespaces", NamespaceWire, PARSERS["Namespace"]),
        *(
            WatchTarget(
                kind,
                f"/apis/metallb.io/{path.format(pool_namespace)}",
                METALLB_KINDS[kind],
                parsers[kind],
                optional=True,
            )
            for kind, path in _METALLB.items()
        ),
    )


def secret_target(namespace: str) -> WatchTarget[Any]:
    """Secrets that BGP peers may name: those of one type, in the namespace of the peers."""
    return WatchTarget(
        "Secret",
        f"/api/v1/namespaces/{namespace}/secrets",
        SecretWire,
        peer_secret,
        fields=f"type={SECRET_TYPE}",
        optional=True,  # whoever uses no passwords need not grant it
    )


class ClusterFeed:
    """The watches of all kinds."""

    def __init__(
        self, api: KubeApi, pool_namespace: str, queue: SimpleQueue[Any], *, secrets: bool = False
    ) -> None:
        """Set up the watches, that of Secrets only if asked for; nothing runs before `start`."""
        followed = targets(pool_namespace)
        if secrets:
            followed += (secret_target(pool_namespace),)
        self._watchers = [Watcher(api, target, queue) for target in followed]

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds whose complete list must be known before anything is changed."""
        return frozenset(watcher.state.kind for watcher in self._watchers)

    @property
    def states(self) -> tuple[WatchState, ...]:
        """State of each watch."""
        return tuple(watcher.state for watcher in self._watchers)

    def start(self) -> None:
        """Begin to follow."""
        for watcher in self._watchers:
            watcher.start()

    def stop(self) -> None:
        """End all watches."""
        for watcher in self._watchers:
            watcher.stop()
