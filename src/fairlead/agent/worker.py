# SPDX-License-Identifier: Apache-2.0
"""A thread that makes something true: it is only told to look, and looks again after a failure."""

import logging
import threading
from collections.abc import Callable

from fairlead.backoff import Backoff

log = logging.getLogger(__name__)


class Worker:
    """Runs passes in a thread of its own; all methods may be called from any thread.

    Args:
        name: Of the thread.
        work: One pass; False where it must be done again soon. One that raises is done again, too.
        gather: Seconds to wait for more, since things change many at once.
        idle_seconds: How long nothing may be due until `meanwhile` is called; None for ever.
        meanwhile: Called while nothing is due, e.g. to give signs of life.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], bool],
        *,
        gather: float,
        idle_seconds: float | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self._work, self._gather = work, gather
        self._idle_seconds, self._meanwhile = idle_seconds, meanwhile
        self._complaint = ""
        self._wake = threading.Condition()
        self._due = self._busy = self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.backoff = Backoff(first=0.2)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the pass under way."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

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
            complete = self._pass()
            if complete:
                self.backoff.reset()
            with self._wake:
                self._busy = False
                if not complete:
                    self._due = True
                    self._wake.wait_for(lambda: self._stopping, self.backoff.next())

    def _pass(self) -> bool:
        try:
            complete = self._work()
        except Exception as error:  # a defect here is no reason to end the agent
            if str(error) != self._complaint:
                log.exception("%s failed in an unforeseen way", self._thread.name)
            self._complaint = str(error)
            return False
        self._complaint = ""
        return complete

    def _next(self) -> bool:
        """Wait until something is due; False to end."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._due or self._stopping, self._idle_seconds)
                if self._due:
                    self._wake.wait_for(lambda: self._stopping, self._gather)
                if self._stopping:
                    return False
                if self._due:
                    self._due, self._busy = False, True
                    return True
            self._meanwhile()
