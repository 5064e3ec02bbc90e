# SPDX-License-Identifier: Apache-2.0
"""Election with two or three candidates, one store and a clock that the test moves."""

from random import Random

import pytest

from fairlead.cluster.lease import LEASE_DURATION, Election, LeaseSpec
from support.interleave import SteppingClock, Turns
from support.lease_store import LeaseServer


def candidate(
    server: LeaseServer, name: str, clock: SteppingClock, skew: float = 0.0, rate: float = 1.0
) -> Election:
    store = server.store(name)
    return Election(store, name, clock=clock.at_rate(rate), wall=lambda: skew)


def test_first_comes_first_and_keeps_it() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one, two = candidate(server, "one", clock), candidate(server, "two", clock)
    for _ in range(30):
        assert one.step()
        assert not two.step()
        clock.advance(1.0)
    assert two.holder == "one"
    assert server.lease.spec.leaseTransitions == 0


def test_silent_holder_is_replaced_after_the_duration_and_never_two_at_once() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one, two = candidate(server, "one", clock), candidate(server, "two", clock)
    assert one.step()
    assert not two.step()
    server.away.add("one")
    taken = None
    for _ in range(80):
        clock.advance(0.1)
        one.step()
        two.step()
        assert not (one.is_leader() and two.is_leader())
        if two.is_leader() and taken is None:
            taken = clock.now
    assert taken is not None
    assert 105.0 <= taken <= 105.2
    server.away.clear()
    assert not one.step()
    assert server.lease.spec.leaseTransitions == 1


def test_clocks_of_other_machines_do_not_matter() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one = candidate(server, "one", clock, skew=-1e6)  # renewTime looks eleven days old
    two = candidate(server, "two", clock)
    for _ in range(10):
        assert one.step()
        assert not two.step()
        clock.advance(1.0)


def test_release_hands_over_at_once() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one, two = candidate(server, "one", clock), candidate(server, "two", clock)
    assert one.step()
    assert not two.step()
    one.release()
    assert not one.is_leader()
    assert two.step()


def test_restart_under_the_same_name_continues() -> None:
    server, clock = LeaseServer(), SteppingClock()
    assert candidate(server, "one", clock).step()
    again = candidate(server, "one", clock)
    assert again.step()
    assert server.lease.spec.leaseTransitions == 0


def test_two_that_try_at_the_same_moment() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one = candidate(server, "one", clock)
    calls = []

    def meanwhile() -> None:
        calls.append(clock())
        if len(calls) == 2:  # two has read that there is no Lease, and is about to make one
            one.step()

    two = Election(server.store("two", meanwhile=meanwhile), "two", clock=clock)
    assert not two.step()
    assert not two.step()
    assert one.is_leader()
    assert two.holder == "one"


def test_hold_is_counted_from_before_the_write_was_sent() -> None:
    server, clock = LeaseServer(), SteppingClock()
    store = server.store("one", meanwhile=lambda: clock.advance(1.9))
    one = Election(store, "one", clock=clock)
    assert one.step()  # read in 3.8 s, then written in 3.8 s
    clock.advance(0.3)
    assert not one.is_leader()


def test_answer_that_comes_after_the_hold_makes_no_leader() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one = Election(server.store("one", meanwhile=lambda: clock.advance(2.1)), "one", clock=clock)
    assert not one.step()
    assert server.lease.spec.holderIdentity == "one"


def test_holder_stops_a_second_before_another_may_begin() -> None:
    """The last write that it began must be over by then, and clocks don't run at one rate."""
    server, clock = LeaseServer(), SteppingClock()
    one = candidate(server, "one", clock)
    assert one.step()
    clock.advance(LEASE_DURATION - 1.0)
    assert not one.is_leader()
    clock.advance(-0.01)
    assert one.is_leader()


def test_write_of_which_the_answer_got_lost_is_found_again() -> None:
    server, clock = LeaseServer(), SteppingClock()
    store = server.store("one")
    one, two = Election(store, "one", clock=clock), candidate(server, "two", clock)
    assert one.step()
    store.lose = True
    for _ in range(4):
        clock.advance(1.0)
        one.step()
        assert not two.step()
    assert one.is_leader()
    assert server.lease.spec.leaseTransitions == 0


@pytest.mark.parametrize("seed", range(30))
def test_never_two_at_once_whatever_comes_in_between(seed: int) -> None:
    """Requests and answers on their way for any time, lost ones, cables that are drawn, and
    clocks of different rates.
    """
    server, clock, chance = LeaseServer(), SteppingClock(), Random(seed)
    led: set[str] = set()

    def between(random: Random) -> None:
        # Most calls are quick; one in thirty hangs for as long as a lease lasts, and longer.
        clock.advance(random.uniform(2.0, 7.0) if random.random() < 1 / 30 else 0.1)
        if random.random() < 1 / 30:  # a cable is drawn, or put in again
            server.away ^= {random.choice(list(candidates))}
        leaders = [name for name, one in candidates.items() if one.is_leader()]
        assert len(leaders) < 2
        led.update(leaders)

    turns = Turns(seed, between)
    stores = {name: server.store(name, meanwhile=turns.pause) for name in ("one", "two", "three")}
    candidates = {
        name: Election(store, name, clock=clock.at_rate(chance.choice((0.9, 1.1))))
        for name, store in stores.items()
    }

    def stand(name: str) -> None:
        for _ in range(120):
            stores[name].lose = chance.random() < 1 / 20
            candidates[name].step()
            turns.pause()

    turns.run(*(lambda name=name: stand(name) for name in candidates))  # type: ignore[misc]
    assert len(led) > 1


def test_holder_overwritten_by_hand_steps_down() -> None:
    server, clock = LeaseServer(), SteppingClock()
    one = candidate(server, "one", clock)
    assert one.step()
    server.keep(LeaseSpec(holderIdentity="admin", leaseDurationSeconds=60))
    clock.advance(1.0)
    one.step()  # conflict: it looks again before the next try
    one.step()
    assert not one.is_leader()
    clock.advance(59.0)
    assert not one.step()
    clock.advance(1.1)
    assert one.step()
