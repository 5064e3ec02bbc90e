# SPDX-License-Identifier: Apache-2.0
"""The thread that stands for election, so that a hanging API server never delays a weight."""

import logging
import random
from collections.abc import Callable

from fairlead.agent.worker import Worker
from fairlead.cluster.lease import RETRY_PERIOD, Election

log = logging.getLogger(__name__)


class Elector:
    """Steps one `Election` for ever and reports changes of leadership.

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
        self._leading = False
        self._logged = ""
        self._worker = Worker("elector", self._step, last=election.release)

    def start(self) -> None:
        """Begin to stand."""
        self._worker.start()
        self._worker.look()

    def stop(self, grace: float = 2.0) -> None:
        """Release the Lease and end; waits no longer than `grace` seconds."""
        self._worker.stop(grace)

    def is_leader(self) -> bool:
        """Whether this edge may write status now."""
        return self._election.is_leader()

    @property
    def holder(self) -> str:
        """Who holds the Lease as far as we know."""
        return self._election.holder

    def _step(self) -> float:
        now = self._election.step()
        if now != self._leading:
            self._leading = now
            log.info("leader: this edge writes Service status" if now else "no longer leader")
            self._changed(now)
        error = self._election.last_error
        if error and error != self._logged:
            log.warning("lease: %s", error)
        self._logged = error
        # A fifth of jitter keeps candidates from trying in step.
        return self._period * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
