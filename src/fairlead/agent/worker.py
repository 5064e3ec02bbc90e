# SPDX-License-Identifier: Apache-2.0
"""A thread that makes something true: it is only told to look, and looks again after a failure."""

import logging
import threading
import time
from collections.abc import Callable

from fairlead.backoff import Backoff

log = logging.getLogger(__name__)


class Worker:
    """Runs passes in a thread of its own; all methods may be called from any thread.

    Args:
        name: Of the thread.
        work: One pass. True: done. False: to be done again after a wait that grows, which no
            `look` shortens; so is a pass that raises. A number: the seconds after which another
            is due, unless `look` comes first.
        gather: Seconds to wait for more, since things change many at once.
        idle_seconds: How long nothing may be due until `meanwhile` is called; None for ever.
        meanwhile: Called while nothing is due, e.g. to give signs of life.
        last: Called at the end of the thread.

    Attributes:
        backoff: The wait after passes that must be done again.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], bool | float],
        *,
        gather: float = 0.0,
        idle_seconds: float | None = None,
        meanwhile: Callable[[], object] = lambda: None,
        last: Callable[[], object] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._work, self._gather = work, gather
        self._idle_seconds, self._meanwhile, self._last = idle_seconds, meanwhile, last
        self._complaint = ""
        self._wake = threading.Condition()
        self._due = self._busy = self._stopping = False
        self._again_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.backoff = backoff or Backoff(first=0.2)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, grace: float = 0.0) -> None:
        """End after the pass under way; waits at most `grace` seconds for it."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if grace and self._thread.is_alive():
            self._thread.join(grace)

    def look(self) -> None:
        """Make a pass soon."""
        with self._wake:
            self._due = True
            self._wake.notify()

    @property
    def idle(self) -> bool:
        """Whether nothing is due and no pass is under way."""
        with self._wake:
            return not (self._due or self._busy)

    def _run(self) -> None:
        while self._next():
            result = self._pass()
            with self._wake:
                self._busy = False
                if result is False:
                    self._due = True
                    self._wake.wait_for(lambda: self._stopping, self.backoff.next())
                    continue
                if result is not True:
                    self._again_at = time.monotonic() + result
            if self.backoff.waited:
                self.backoff.reset()
        self._last()

    def _pass(self) -> bool | float:
        try:
            result = self._work()
        except Exception as error:  # a defect here is no reason to end the agent
            if str(error) != self._complaint:
                log.exception("%s failed in an unforeseen way", self._thread.name)
            self._complaint = str(error)
            return False
        self._complaint = ""
        return result

    def _next(self) -> bool:
        """Wait until something is due; False to end."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._due or self._stopping, self._patience())
                if self._due:
                    self._wake.wait_for(lambda: self._stopping, self._gather)
                if self._stopping:
                    return False
                if self._due or self._again_at is not None:
                    self._due, self._busy, self._again_at = False, True, None
                    return True
            self._meanwhile()

    def _patience(self) -> float | None:
        """Seconds to wait for a `look`."""
        if self._again_at is None:
            return self._idle_seconds
        return max(0.0, self._again_at - time.monotonic())
