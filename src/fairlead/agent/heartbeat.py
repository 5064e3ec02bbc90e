# SPDX-License-Identifier: Apache-2.0
"""Which edges are alive: each renews a Lease of its own, the leader watches those of the others.

Rules are the election's: time stamps of other machines are never compared with our clock. An edge
counts as dead once its Lease stood still, or was missing, for the whole duration on our own clock.
"""

import datetime as dt
import math
import time
from collections.abc import Callable, Iterable

from fairlead.cluster.lease import Lease, LeaseSpec, LeaseStore

BEAT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
_RETRY_SECONDS = 1.0  # after an error; `beat` is called at every write

StoreOf = Callable[[str], LeaseStore]


class Heartbeat:
    """Renews this edge's Lease; methods raise ApiError and ApiUnavailableError."""

    def __init__(
        self, store: LeaseStore, edge: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._edge, self._clock = store, edge, clock
        self._lease: Lease | None = None
        self._next = -math.inf

    def beat(self) -> None:
        """Renew if it is time; after an error the Lease is read anew, and soon."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _RETRY_SECONDS
        # What was known counts again only when the write went well: on the version that somebody
        # replaced, or on a Lease that somebody deleted, every further write would be refused.
        known, self._lease = self._lease or self._store.get(), None
        spec = LeaseSpec(
            holderIdentity=self._edge,
            leaseDurationSeconds=int(SILENCE_SECONDS),
            renewTime=dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        )
        if known is None:
            self._lease = self._store.create(spec)
        else:
            known.spec = spec
            self._lease = self._store.put(known)
        self._next = now + BEAT_SECONDS


class Liveness:
    """What the leader knows of the other edges' Leases."""

    def __init__(self, store_of: StoreOf, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store_of, self._clock = store_of, clock
        self._seen: dict[str, tuple[str, float]] = {}

    def alive(self, edges: Iterable[str]) -> list[str]:
        """Those of the edges that were heard of; one seen for the first time has its chance.

        Raises:
            ApiError, ApiUnavailableError: A Lease could not be read.
        """
        return [edge for edge in edges if self._heard(edge)]

    def _heard(self, edge: str) -> bool:
        lease = self._store_of(edge).get()
        version = lease.metadata.resource_version if lease else ""
        now = self._clock()
        if edge not in self._seen or self._seen[edge][0] != version:
            self._seen[edge] = (version, now)
        return now - self._seen[edge][1] < SILENCE_SECONDS
