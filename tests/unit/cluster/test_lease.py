# SPDX-License-Identifier: Apache-2.0
"""Election with two or three candidates, one store and a clock that the test moves."""

import copy

from fairlead.cluster.client import ApiError, ApiUnavailableError
from fairlead.cluster.lease import Election, Lease, LeaseSpec
from fairlead.cluster.metadata import ObjectMeta


class Clock:
    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Store:
    """What the API server does with a Lease: versions, conflicts, outages."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0
        self.away: set[str] = set()

    def client(self, name: str) -> "Client":
        return Client(self, name)

    def keep(self, spec: LeaseSpec) -> Lease:
        self.version += 1
        meta = ObjectMeta(name="l", namespace="n", resource_version=str(self.version))
        self.lease = Lease(metadata=meta, spec=copy.copy(spec))
        return copy.deepcopy(self.lease)


class Client:
    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name

    def _reach(self) -> None:
        if self.name in self.store.away:
            raise ApiUnavailableError("away")

    def get(self) -> Lease | None:
        self._reach()
        return copy.deepcopy(self.store.lease)

    def create(self, spec: LeaseSpec) -> Lease:
        self._reach()
        if self.store.lease is not None:
            raise ApiError("POST", "l", 409)
        return self.store.keep(spec)

    def put(self, lease: Lease) -> Lease:
        self._reach()
        held = self.store.lease
        assert held is not None
        if lease.metadata.resource_version != held.metadata.resource_version:
            raise ApiError("PUT", "l", 409)
        return self.store.keep(lease.spec)


def candidate(store: Store, name: str, clock: Clock, skew: float = 0.0) -> Election:
    return Election(store.client(name), name, duration=5.0, clock=clock, wall=lambda: skew)


def test_first_comes_first_and_keeps_it() -> None:
    store, clock = Store(), Clock()
    one, two = candidate(store, "one", clock), candidate(store, "two", clock)
    for _ in range(30):
        assert one.step()
        assert not two.step()
        clock.now += 1.0
    assert two.holder == "one"
    assert store.lease is not None
    assert store.lease.spec.leaseTransitions == 0


def test_silent_holder_is_replaced_after_the_duration_and_never_two_at_once() -> None:
    store, clock = Store(), Clock()
    one, two = candidate(store, "one", clock), candidate(store, "two", clock)
    assert one.step()
    assert not two.step()
    store.away.add("one")
    taken = None
    for _ in range(80):
        clock.now += 0.1
        one.step()
        two.step()
        assert not (one.is_leader() and two.is_leader())
        if two.is_leader() and taken is None:
            taken = clock.now
    assert taken is not None
    assert 105.0 <= taken <= 105.2
    store.away.clear()
    assert not one.step()
    assert store.lease is not None
    assert store.lease.spec.leaseTransitions == 1


def test_clocks_of_other_machines_do_not_matter() -> None:
    store, clock = Store(), Clock()
    one = candidate(store, "one", clock, skew=-1e6)  # renewTime looks eleven days old
    two = candidate(store, "two", clock)
    for _ in range(10):
        assert one.step()
        assert not two.step()
        clock.now += 1.0


def test_release_hands_over_at_once() -> None:
    store, clock = Store(), Clock()
    one, two = candidate(store, "one", clock), candidate(store, "two", clock)
    assert one.step()
    assert not two.step()
    one.release()
    assert not one.is_leader()
    assert two.step()


def test_restart_under_the_same_name_continues() -> None:
    store, clock = Store(), Clock()
    assert candidate(store, "one", clock).step()
    again = candidate(store, "one", clock)
    assert again.step()
    assert store.lease is not None
    assert store.lease.spec.leaseTransitions == 0


def test_two_that_try_at_the_same_moment() -> None:
    store, clock = Store(), Clock()
    one, two = candidate(store, "one", clock), candidate(store, "two", clock)
    one._lease = two._lease = None
    assert one.step()
    store_get = two._store.get
    two._store.get = lambda: None  # type: ignore[method-assign] # it looked before the other wrote
    assert not two.step()
    two._store.get = store_get  # type: ignore[method-assign]
    assert not two.step()
    assert one.is_leader()


def test_holder_overwritten_by_hand_steps_down() -> None:
    store, clock = Store(), Clock()
    one = candidate(store, "one", clock)
    assert one.step()
    store.keep(LeaseSpec(holderIdentity="admin", leaseDurationSeconds=60))
    clock.now += 1.0
    one.step()  # conflict: it looks again before the next try
    one.step()
    assert not one.is_leader()
    clock.now += 59.0
    assert not one.step()
    clock.now += 1.1
    assert one.step()
