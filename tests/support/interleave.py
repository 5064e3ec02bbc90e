# SPDX-License-Identifier: Apache-2.0
"""A clock that tests move, and threads of which one at a time moves, in an order that a seed gives.

Real threads under a real scheduler show a race once in a thousand runs, and never the same one
twice. Here each step is named by the places where it may be interrupted, and a seed that fails
fails again.
"""

import threading
from collections.abc import Callable
from random import Random


class SteppingClock:
    """Monotonic seconds that pass only when somebody lets them."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def at_rate(self, rate: float) -> Callable[[], float]:
        """The clock of a machine whose quartz is too fast (above 1.0) or too slow."""
        return lambda: self.now * rate


class Turns:
    """Runs functions in turns: each goes on until it pauses, then the seed says who is next.

    Args:
        between: Called between any two turns, while nobody moves; raises to fail the test.
    """

    def __init__(self, seed: int, between: Callable[[Random], None]) -> None:
        self._random, self._between = Random(seed), between
        self._resume: dict[threading.Thread, threading.Semaphore] = {}
        self._paused = threading.Semaphore(0)
        self._error: BaseException | None = None

    def pause(self) -> None:
        """A place where others may go on: called in a function that runs here."""
        if (resume := self._resume.get(threading.current_thread())) is not None:
            self._paused.release()
            resume.acquire()

    def run(self, *functions: Callable[[], None]) -> None:
        """Run all to their ends; raises what one of them or `between` raised."""
        for function in functions:
            thread = threading.Thread(target=self._follow, args=(function,), daemon=True)
            self._resume[thread] = threading.Semaphore(0)
            thread.start()
        running = list(self._resume)
        while running:
            thread = self._random.choice(running)
            self._resume[thread].release()
            assert self._paused.acquire(timeout=20), "a function waits for something else"
            if self._error is not None:
                raise self._error
            self._between(self._random)
            running = [one for one in running if one in self._resume]

    def _follow(self, function: Callable[[], None]) -> None:
        me = threading.current_thread()
        self._resume[me].acquire()
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
            self._error = error
        del self._resume[me]
        self._paused.release()
