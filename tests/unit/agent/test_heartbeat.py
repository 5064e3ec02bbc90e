# SPDX-License-Identifier: Apache-2.0
"""Signs of life: an edge renews a Lease of its own, and others count by their own clock."""

import pytest

from fairlead.agent.heartbeat import BEAT_SECONDS, SILENCE_SECONDS, Heartbeat, Liveness
from fairlead.cluster.client import ApiError, ApiUnavailableError
from fairlead.cluster.lease import LeaseSpec
from support.interleave import SteppingClock
from support.lease_store import LeaseServer, SlowStore


class Bench:
    def __init__(self) -> None:
        self.server, self.clock = LeaseServer(), SteppingClock()
        self.store = self.server.store("edge1")
        self.heart = Heartbeat(self.store, "edge1", clock=self.clock)

    def beat_later(self) -> None:
        self.clock.advance(BEAT_SECONDS)
        self.heart.beat()


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.heart.beat()
    return made


def test_an_edge_renews_its_lease_every_ten_seconds(bench: Bench) -> None:
    for _ in range(5):
        bench.heart.beat()
    assert bench.server.writes == 1
    bench.beat_later()
    assert bench.server.writes == 2
    assert bench.server.lease.spec.holderIdentity == "edge1"


def test_lease_that_somebody_wrote_is_read_anew(bench: Bench) -> None:
    bench.server.keep(LeaseSpec(holderIdentity="admin"))
    with pytest.raises(ApiError, match="409"):
        bench.beat_later()
    bench.beat_later()
    assert bench.server.lease.spec.holderIdentity == "edge1"


def test_lease_that_somebody_deleted_is_made_anew(bench: Bench) -> None:
    del bench.server.leases["l"]
    with pytest.raises(ApiError, match="404"):
        bench.beat_later()
    bench.beat_later()
    assert bench.server.lease.spec.holderIdentity == "edge1"


def test_lease_of_which_the_answer_got_lost_is_read_anew(bench: Bench) -> None:
    bench.store.lose = True
    with pytest.raises(ApiUnavailableError):
        bench.beat_later()
    bench.beat_later()
    assert bench.server.writes == 3


def test_an_outage_is_over_soon_and_does_not_cost_a_request_at_every_write(bench: Bench) -> None:
    bench.server.away.add("edge1")
    with pytest.raises(ApiUnavailableError):
        bench.beat_later()
    bench.heart.beat()  # no request, no error
    bench.server.away.clear()
    bench.clock.advance(1.0)
    bench.heart.beat()
    assert bench.server.writes == 2


def test_an_edge_is_dead_when_its_lease_stood_still_or_was_missing_for_a_minute() -> None:
    clock, server = SteppingClock(), LeaseServer()

    def slow(edge: str) -> SlowStore:
        return server.store("leader", edge, meanwhile=lambda: clock.advance(0.5))

    liveness = Liveness(slow, clock=clock)
    heart = Heartbeat(server.store("edge2", "edge2"), "edge2", clock=clock)
    heart.beat()
    assert liveness.alive(["edge2", "edge3"]) == ["edge2", "edge3"]  # each has its chance
    clock.advance(SILENCE_SECONDS - 4)
    heart.beat()
    assert liveness.alive(["edge2", "edge3"]) == ["edge2", "edge3"]
    clock.advance(SILENCE_SECONDS - 4)
    assert liveness.alive(["edge2", "edge3"]) == ["edge2"]
    clock.advance(4)
    assert liveness.alive(["edge2", "edge3"]) == []
    heart.beat()
    assert liveness.alive(["edge2", "edge3"]) == ["edge2"]
