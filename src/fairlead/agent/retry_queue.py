# SPDX-License-Identifier: Apache-2.0
"""What waits to be written, by key: the newest of each, and a growing wait after each failure."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fairlead.backoff import Backoff

K = TypeVar("K")
V = TypeVar("V")

_FIRST_SECONDS = 0.05
_LIMIT_SECONDS = 10.0
_MOST = 20_000


@dataclass
class _Failing:
    """A key that failed: how long it waits next, and until when (monotonic) it waits now."""

    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_SECONDS, _LIMIT_SECONDS))
    until: float = -math.inf


class RetryQueue(Generic[K, V]):
    """Values in the order in which they came; all methods may be called from any thread.

    A value that was taken stays until it is finished, so that nothing is lost by a failure. One
    that came meanwhile is never finished in place of the one that was taken.

    Args:
        join: What to keep of an older value that waits, and a newer one; the newer by default.
        pace: Seconds between any two values.
        most: Values that may wait; the oldest are given up.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        join: Callable[[V, V], V] = lambda _older, newer: newer,
        *,
        pace: float = 0.0,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._join, self._pace, self._most, self._clock = join, pace, most, clock
        self._lock = threading.Lock()
        self._values: OrderedDict[K, V] = OrderedDict()
        self._failing: dict[K, _Failing] = {}
        self._not_before = -math.inf

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: K, value: V) -> None:
        """Queue a value; where an older one waits, it keeps its place and its wait."""
        with self._lock:
            older = self._values.get(key)
            self._values[key] = value if older is None else self._join(older, value)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def withdraw(self, key: K) -> None:
        """Nothing is to be written under this key any more."""
        with self._lock:
            self._values.pop(key, None)
            self._failing.pop(key, None)

    def take(self) -> tuple[K, V] | None:
        """The first that may be tried now; None where there is none."""
        with self._lock:
            now = self._clock()
            if now < self._not_before:
                return None
            for key, value in self._values.items():
                if self._wait(key) <= now:
                    self._not_before = now + self._pace
                    return key, value
        return None

    def seconds(self) -> float | None:
        """How long until one may be tried; None where nothing waits."""
        with self._lock:
            now, first = self._clock(), math.inf
            for key in self._values:
                first = min(first, self._wait(key))
                if first <= now:  # as a rule the very first: those that wait are at the end
                    break
            return max(0.0, max(first, self._not_before) - now) if self._values else None

    def replace(self, key: K, taken: V, rest: V) -> None:
        """Part of a value is done: the rest stays, unless another came meanwhile."""
        with self._lock:
            if self._values.get(key) is taken:
                self._values[key] = rest

    def finish(self, key: K, taken: V) -> None:
        """A value is done with."""
        with self._lock:
            self._failing.pop(key, None)
            self._remove(key, taken)

    def give_up(self, key: K, taken: V) -> bool:
        """A value is void, and the next under this key waits; False where that one is there."""
        with self._lock:
            self._postpone(key)
            return self._remove(key, taken)

    def retry(self, key: K) -> None:
        """A value failed: it goes to the end, and waits longer each time."""
        with self._lock:
            self._postpone(key)
            if key in self._values:
                self._values.move_to_end(key)

    def _wait(self, key: K) -> float:
        failing = self._failing.get(key)
        return -math.inf if failing is None else failing.until

    def _postpone(self, key: K) -> None:
        now = self._clock()
        if len(self._failing) > self._most:  # keys of which nothing came any more
            self._failing = {k: one for k, one in self._failing.items() if one.until > now}
        failing = self._failing.setdefault(key, _Failing())
        failing.until = now + failing.backoff.next()

    def _remove(self, key: K, taken: V) -> bool:
        if self._values.get(key) is not taken:
            return False
        del self._values[key]
        return True
