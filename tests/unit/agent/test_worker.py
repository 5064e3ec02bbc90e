# SPDX-License-Identifier: Apache-2.0
"""A worker makes passes when it is told to look, one at a time, and outlives a pass that fails."""

import logging
import queue
import threading

import pytest

from fairlead.agent.worker import Worker

WAIT = 20


class Passes:
    """Work that follows a script: True, False and seconds are answers, an error is raised."""

    def __init__(self, *script: float | Exception) -> None:
        self._script = list(script)
        self.made: queue.Queue[float | Exception] = queue.Queue()

    def __call__(self) -> float:
        outcome = self._script.pop(0) if self._script else True
        self.made.put(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def worker_for(passes: Passes) -> Worker:
    return Worker("painter", passes, gather=0.0)


def test_it_works_only_when_it_is_told_to_look():
    passes = Passes()
    worker = worker_for(passes)
    worker.start()
    assert worker.idle
    assert passes.made.empty()
    worker.look()
    assert passes.made.get(timeout=WAIT) is True
    worker.look()
    assert passes.made.get(timeout=WAIT) is True
    worker.stop()


def test_an_incomplete_pass_is_done_again_without_being_told():
    passes = Passes(False, True)
    worker = worker_for(passes)
    worker.start()
    worker.look()
    assert [passes.made.get(timeout=WAIT) for _ in range(2)] == [False, True]
    worker.stop()


def test_a_pass_that_raises_is_done_again_and_complains_once(caplog: pytest.LogCaptureFixture):
    passes = Passes(KeyError("paint"), KeyError("paint"), True, KeyError("paint"), True)
    worker = worker_for(passes)
    with caplog.at_level(logging.ERROR):
        worker.start()
        worker.look()
        for _ in range(3):
            passes.made.get(timeout=WAIT)
        assert [record.getMessage() for record in caplog.records] == [
            "painter failed in an unforeseen way"
        ]
        worker.look()
        for _ in range(2):
            passes.made.get(timeout=WAIT)
    worker.stop()
    assert len(caplog.records) == 2  # it had gone well in between, so it is news again


def test_a_pass_that_names_a_time_is_made_again_by_then_or_at_a_look():
    passes = Passes(0.01, 3600.0, True)
    worker = worker_for(passes)
    worker.start()
    worker.look()
    assert [passes.made.get(timeout=WAIT) for _ in range(2)] == [0.01, 3600.0]
    worker.look()
    assert passes.made.get(timeout=WAIT) is True
    worker.stop()


def test_the_last_word_is_spoken_in_the_thread_before_stop_returns():
    said = []
    worker = Worker("painter", Passes(), last=lambda: said.append(threading.current_thread().name))
    worker.start()
    worker.stop(grace=WAIT)
    assert said == ["painter"]
