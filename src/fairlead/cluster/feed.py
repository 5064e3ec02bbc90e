# SPDX-License-Identifier: Apache-2.0
"""What the agent follows in the cluster: one watch per kind, all feeding one queue."""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from fairlead.cluster.client import KubeApi
from fairlead.cluster.decode import WatchTarget
from fairlead.cluster.peer_secrets import SECRET_TYPE, SecretWire, peer_secret
from fairlead.cluster.watch import Watcher, WatchState
from fairlead.model.errors import ObjectFieldError
from fairlead.model.pool import Pool
from fairlead.snapshot.pools import pool_from_wire
from fairlead.snapshot.resources import PLANNED, SECRET, Place
from fairlead.snapshot.wire import PoolWire


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
    parsers = {"IPAddressPool": _pools_of(pool_namespace)}
    return tuple(
        WatchTarget(
            kind,
            one.path(pool_namespace if one.watched is Place.POOLS else ""),
            one.wire,
            parsers.get(kind, one.parse),
            selector=one.selector,
            optional=one.optional,
        )
        for kind, one in PLANNED.items()
    )


def secret_target(namespace: str) -> WatchTarget[Any]:
    """Secrets that BGP peers may name: those of one type, in the namespace of the peers."""
    return WatchTarget(
        SECRET.kind,
        SECRET.path(namespace),
        SecretWire,
        peer_secret,
        fields=f"type={SECRET_TYPE}",
        optional=SECRET.optional,
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
