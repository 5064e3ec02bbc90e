# SPDX-License-Identifier: Apache-2.0
"""What waits to be written: the newest of each key, waits that grow, nothing thrown away."""

import pytest

from fairlead.agent.retry_queue import RetryQueue
from support.interleave import SteppingClock


class Bench:
    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.queue: RetryQueue[str, str] = RetryQueue(most=4, clock=self.clock)

    def put(self, **values: str) -> None:
        for key, value in values.items():
            self.queue.put(key, value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_values_come_in_order_and_the_newest_of_a_key_keeps_its_place(bench: Bench) -> None:
    bench.put(a="1", b="1")
    bench.put(a="2")
    assert bench.queue.take() == ("a", "2")
    bench.queue.finish("a", "2")
    assert bench.queue.take() == ("b", "1")
    bench.queue.finish("b", "1")
    assert bench.queue.take() is None
    assert bench.queue.seconds() is None


def test_value_that_came_meanwhile_is_never_finished_in_place_of_the_older(bench: Bench) -> None:
    older, newer = "value", b"value".decode()  # equal, but another one
    for end in (
        lambda: bench.queue.finish("a", older),
        lambda: bench.queue.give_up("a", older),
        lambda: bench.queue.replace("a", older, "rest"),
    ):
        bench.queue.withdraw("a")
        bench.put(a=older)
        assert bench.queue.take() == ("a", older)
        bench.put(a=newer)
        end()
        bench.clock.advance(10)
        found = bench.queue.take()
        assert found is not None
        assert found[1] is newer


def test_key_that_fails_waits_longer_each_time_and_others_go_on(bench: Bench) -> None:
    bench.put(a="1")
    waits = []
    for _ in range(12):
        assert bench.queue.take() == ("a", "1")
        bench.queue.retry("a")
        bench.put(b="1")
        assert bench.queue.take() == ("b", "1")
        bench.queue.finish("b", "1")
        assert bench.queue.take() is None
        waits.append(bench.queue.seconds())
        bench.clock.advance(waits[-1])
    assert 0.02 < waits[0] < 0.06
    assert 4.9 < waits[-1] < 10.1
    bench.queue.finish("a", "1")
    bench.put(a="2")
    assert bench.queue.take() == ("a", "2")


def test_key_that_was_given_up_makes_the_next_value_wait(bench: Bench) -> None:
    bench.put(a="1")
    assert bench.queue.give_up("a", "1")
    assert bench.queue.seconds() is None
    bench.put(a="2")
    assert bench.queue.take() is None
    bench.clock.advance(0.06)
    assert bench.queue.take() == ("a", "2")


def test_pace_is_kept_between_any_two(bench: Bench) -> None:
    paced: RetryQueue[str, str] = RetryQueue(pace=0.5, clock=bench.clock)
    for key in "ab":
        paced.put(key, "1")
    assert paced.take() == ("a", "1")
    paced.finish("a", "1")
    assert paced.take() is None
    assert paced.seconds() == 0.5
    bench.clock.advance(0.5)
    assert paced.take() == ("b", "1")


def test_the_oldest_are_given_up_when_there_are_too_many(bench: Bench) -> None:
    bench.put(a="1", b="1", c="1", d="1", e="1")
    assert len(bench.queue) == 4
    assert bench.queue.take() == ("b", "1")
    bench.queue.withdraw("b")
    assert bench.queue.take() == ("c", "1")
