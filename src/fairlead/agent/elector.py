# SPDX-License-Identifier: Apache-2.0
"""The thread that stands for election, so that a hanging API server never delays a weight."""

import logging
import random
import threading
from collections.abc import Callable

from fairlead.cluster.lease import RETRY_PERIOD, Election

log = logging.getLogger(__name__)


class Elector:
    """Steps one `Election` for ever and tells about changes of the seat.

    Args:
        changed: Called in this thread with the new state.
    """

    def __init__(
        self,
        election: Election,
        changed: Callable[[bool], None],
        *,
        period: float = RETRY_PERIOD,
    ) -> None:
        self._election, self._changed, self._period = election, changed, period
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elector", daemon=True)
        self._complained = ""

    def start(self) -> None:
        """Begin to stand."""
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """Give the seat back and end; waits no longer than `grace` seconds."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(grace)

    def is_leader(self) -> bool:
        """Whether this edge may write status now."""
        return self._election.is_leader()

    @property
    def holder(self) -> str:
        """Who holds the seat as far as we know."""
        return self._election.holder

    def _run(self) -> None:
        leading = False
        while not self._stopped.is_set():
            now = self._election.step()
            if now != leading:
                leading = now
                log.info("leader: this edge writes Service status" if now else "no longer leader")
                self._changed(now)
            self._complain(self._election.last_error)
            # A fifth of jitter keeps candidates from trying in step.
            self._stopped.wait(self._period * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        self._election.release()

    def _complain(self, error: str) -> None:
        """Log an error once, not once per second."""
        if error and error != self._complained:
            log.warning("lease: %s", error)
        self._complained = error
