# SPDX-License-Identifier: Apache-2.0
"""Leases as an API server keeps them, and stores in which time passes inside a call.

Semantics of the real thing: a write carries the resourceVersion that was read, and of two writers
one gets 409; a request takes time before it arrives and after it was served; an answer can be lost
although the write was done.
"""

import copy
from collections.abc import Callable
from typing import TypeVar

from fairlead.cluster.client import ApiError, ApiUnavailableError
from fairlead.cluster.lease import Lease, LeaseSpec
from fairlead.cluster.metadata import ObjectMeta

T = TypeVar("T")


class LeaseServer:
    """Leases by name; `away` are the clients that don't reach it."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self.writes = 0
        self.away: set[str] = set()

    def store(
        self, client: str, name: str = "l", meanwhile: Callable[[], None] = lambda: None
    ) -> "SlowStore":
        """The store of one client."""
        return SlowStore(self, client, name, meanwhile)

    def keep(self, spec: LeaseSpec, name: str = "l") -> Lease:
        """Write, whatever is there."""
        self.writes += 1
        meta = ObjectMeta(name=name, namespace="n", resource_version=str(self.writes))
        self.leases[name] = Lease(metadata=meta, spec=copy.copy(spec))
        return copy.deepcopy(self.leases[name])

    @property
    def lease(self) -> Lease:
        """The Lease of the election."""
        return self.leases["l"]


class SlowStore:
    """A `LeaseStore`; `meanwhile` is called on the way there and on the way back.

    Attributes:
        lose: Whether the next answer gets lost; the request is served all the same.
    """

    def __init__(
        self, server: LeaseServer, client: str, name: str, meanwhile: Callable[[], None]
    ) -> None:
        self._server, self._client, self._name = server, client, name
        self._meanwhile = meanwhile
        self.lose = False

    def get(self) -> Lease | None:
        """The Lease as it stands when the request arrives."""
        return self._call(lambda: copy.deepcopy(self._server.leases.get(self._name)))

    def create(self, spec: LeaseSpec) -> Lease:
        """Make it; 409 where it is there."""

        def serve() -> Lease:
            if self._name in self._server.leases:
                raise ApiError("POST", self._name, 409)
            return self._server.keep(spec, self._name)

        return self._call(serve)

    def put(self, lease: Lease) -> Lease:
        """Replace the version that was read; 409 where it is another one by now, 404 without."""

        def serve() -> Lease:
            found = self._server.leases.get(self._name)
            if found is None:
                raise ApiError("PUT", self._name, 404)
            if lease.metadata.resource_version != found.metadata.resource_version:
                raise ApiError("PUT", self._name, 409)
            return self._server.keep(lease.spec, self._name)

        return self._call(serve)

    def _call(self, serve: Callable[[], T]) -> T:
        self._meanwhile()
        if self._client in self._server.away:
            raise ApiUnavailableError("away")
        try:
            answer = serve()
        finally:  # a refusal takes its time, too
            self._meanwhile()
        lost, self.lose = self.lose, False
        if lost:
            raise ApiUnavailableError("the answer got lost")
        return answer
