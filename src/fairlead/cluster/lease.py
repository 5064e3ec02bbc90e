# SPDX-License-Identifier: Apache-2.0
"""Election over a Lease (coordination.k8s.io/v1): one writer of Service status at a time.

Rules are client-go's: time stamps of other machines are never compared with our clock. A candidate
notes on its own monotonic clock when it last saw the record change, and takes over once the record
stood still for the whole lease duration. The holder steps down in its own eyes earlier, counted
from before its last successful write was sent, so two never believe it at once. Writes carry the
resourceVersion, so of two candidates one gets a conflict.

Losing the election never touches traffic: every edge applies the plan, only the writing stops.
"""

import datetime as dt
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from fairlead.cluster.client import ApiError, ApiUnavailableError, KubeApi
from fairlead.cluster.metadata import ObjectMeta

# Quicker than client-go's 15/10/2: a user waits for an address as long as the seat is empty.
LEASE_DURATION = 5.0
RETRY_PERIOD = 1.0
# Share of the lease duration after which an unsuccessful holder stops acting.
RENEW_SHARE = 0.8


class LeaseSpec(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`spec` of a Lease, fields as the API spells them."""

    holderIdentity: str | None = None  # noqa: N815 - wire name
    leaseDurationSeconds: int | None = None  # noqa: N815 - wire name
    acquireTime: str | None = None  # noqa: N815 - wire name
    renewTime: str | None = None  # noqa: N815 - wire name
    leaseTransitions: int | None = None  # noqa: N815 - wire name


class Lease(msgspec.Struct, kw_only=True):
    """A Lease as the API server holds it."""

    metadata: ObjectMeta
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)
    apiVersion: str = "coordination.k8s.io/v1"  # noqa: N815 - wire name
    kind: str = "Lease"


class LeaseStore(Protocol):
    """Where the Lease lives. `put` and `create` raise ApiError 409 when somebody was faster."""

    def get(self) -> Lease | None:
        """Return the Lease, None where there is none."""

    def create(self, spec: LeaseSpec) -> Lease:
        """Create it."""

    def put(self, lease: Lease) -> Lease:
        """Replace the version that was read."""


class KubeLeaseStore:
    """The Lease object in one namespace."""

    def __init__(self, api: KubeApi, namespace: str, name: str) -> None:
        self._api, self._namespace, self._name = api, namespace, name
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    def get(self) -> Lease | None:
        """Return the Lease, None where there is none."""
        try:
            data = self._api.request("GET", f"{self._collection}/{self._name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return msgspec.json.decode(data, type=Lease)

    def create(self, spec: LeaseSpec) -> Lease:
        """Create it; ApiError 409 when somebody was faster."""
        lease = Lease(metadata=ObjectMeta(name=self._name, namespace=self._namespace), spec=spec)
        data = self._api.request("POST", self._collection, body=lease)
        return msgspec.json.decode(data, type=Lease)

    def put(self, lease: Lease) -> Lease:
        """Replace the version that was read; ApiError 409 when it changed meanwhile."""
        data = self._api.request("PUT", f"{self._collection}/{self._name}", body=lease)
        return msgspec.json.decode(data, type=Lease)


class Election:
    """One candidate. `step` once per retry period; `is_leader` any time from any thread.

    Args:
        clock: Monotonic seconds.
        wall: Seconds since the epoch, for the time stamps that people read.
    """

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        *,
        duration: float = LEASE_DURATION,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._identity, self._duration = store, identity, duration
        self._clock, self._wall = clock, wall
        self._lease: Lease | None = None
        self._observed_at = 0.0
        self._held_until: float | None = None
        self.last_error = ""

    def is_leader(self) -> bool:
        """Whether this candidate may write now."""
        held = self._held_until
        return held is not None and self._clock() < held

    @property
    def holder(self) -> str:
        """Identity in the record last seen, "" when unknown."""
        return (self._lease.spec.holderIdentity or "") if self._lease else ""

    def step(self) -> bool:
        """Try once to acquire or renew; never raises. Returns `is_leader()`."""
        try:
            self._step()
            self.last_error = ""
        except (ApiError, ApiUnavailableError, msgspec.MsgspecError) as error:
            if isinstance(error, ApiError) and error.status == 409:
                self._lease = None  # somebody wrote: look before the next try
            else:
                self.last_error = str(error)
        return self.is_leader()

    def release(self) -> None:
        """Give the seat back so that another takes over at once; errors are of no consequence."""
        lease, mine = self._lease, self.is_leader()
        self._held_until = None
        if not mine or lease is None:
            return
        lease.spec.holderIdentity = ""
        lease.spec.leaseDurationSeconds = 1
        lease.spec.renewTime = self._stamp()
        try:
            self._store.put(lease)
        except (ApiError, ApiUnavailableError, msgspec.MsgspecError) as error:
            self.last_error = str(error)

    def _step(self) -> None:
        # The holder writes without reading first: one request per period.
        if not self.is_leader() or self._lease is None:
            seen = self._store.get()
            if seen is None:
                self._write(None)
                return
            self._observe(seen)
            if not self._may_take(seen):
                self._held_until = None
                return
        self._write(self._lease)

    def _observe(self, seen: Lease) -> None:
        known = self._lease
        if known is None or known.metadata.resource_version != seen.metadata.resource_version:
            self._observed_at = self._clock()
        self._lease = seen

    def _may_take(self, seen: Lease) -> bool:
        holder = seen.spec.holderIdentity or ""
        if holder in ("", self._identity):
            return True
        lasts = max(self._duration, float(seen.spec.leaseDurationSeconds or 0))
        return self._clock() >= self._observed_at + lasts

    def _write(self, current: Lease | None) -> None:
        started, stamp = self._clock(), self._stamp()
        old = current.spec if current else LeaseSpec()
        same = old.holderIdentity == self._identity
        spec = LeaseSpec(
            holderIdentity=self._identity,
            leaseDurationSeconds=max(1, round(self._duration)),
            acquireTime=old.acquireTime if same else stamp,
            renewTime=stamp,
            leaseTransitions=(old.leaseTransitions or 0) + (0 if same or current is None else 1),
        )
        if current is None:
            written = self._store.create(spec)
        else:
            written = self._store.put(Lease(metadata=current.metadata, spec=spec))
        self._lease, self._observed_at = written, self._clock()
        self._held_until = started + self._duration * RENEW_SHARE

    def _stamp(self) -> str:
        moment = dt.datetime.fromtimestamp(self._wall(), tz=dt.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
