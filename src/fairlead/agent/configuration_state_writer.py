# SPDX-License-Identifier: Apache-2.0
"""The thread that keeps ConfigurationState objects true.

Each edge keeps its own; the leader also keeps the controller's, and deletes those of edges that
left the inventory or fell silent. Level-triggered: it compares when what it would write is
different, and at every resync, so that what people edit or delete comes back. Without the
definition (or the right) it stays quiet and looks again at the next resync.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from fairlead.agent.attempts import Attempts
from fairlead.agent.configuration_state import Findings, controller_state, speaker_state
from fairlead.agent.heartbeat import Liveness
from fairlead.agent.worker import Worker
from fairlead.cluster.configuration_states import KIND, ConfigStateStore
from fairlead.model.groups import DEFAULT_GROUP

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.3

_Seen = tuple[Findings, bool, int]


class ConfigStateWriter:
    """Makes the objects true; the work is done in a thread of its own.

    Args:
        findings: What is known of the objects; None where it is too early to tell anything.
    """

    def __init__(
        self,
        store: ConfigStateStore,
        liveness: Liveness,
        *,
        findings: Callable[[], Findings | None],
        edge: str,
        edges: Sequence[str],
        leading: Callable[[], bool],
        group: str = DEFAULT_GROUP,
    ) -> None:
        self._group = group
        self._store, self._liveness, self._findings = store, liveness, findings
        self._edge, self._edges, self._leading = edge, edges, leading
        self._seen: _Seen | None = None
        self._attempts = Attempts(log, f"{KIND} objects")
        self._worker = Worker(
            "config-states", lambda: self._attempts.whole_pass(self._pass), gather=_GATHER_SECONDS
        )

    def start(self) -> None:
        """Begin to write."""
        self._worker.start()

    def stop(self) -> None:
        """End after the pass under way; the objects stay."""
        self._worker.stop()

    def look(self, resyncs: int) -> None:
        """Compare soon if there is news, or a resync more; cheap, for the main loop's tick."""
        if (found := self._findings()) is None:
            return
        seen = (found, self._leading(), resyncs)
        if seen != self._seen:
            self._seen = seen
            self._worker.look()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return self._worker.idle

    def _pass(self) -> bool:
        """Compare and write; False where an object changed meanwhile."""
        if (found := self._findings()) is None:
            return True
        states = [speaker_state(self._edge, found, self._group)]
        if self._leading():
            states.append(controller_state(found, self._group))
        done = [
            self._attempts.one_of_many(partial(self._store.make_true, state)) for state in states
        ]
        if self._leading():
            self._clean()
        return all(done)

    def _clean(self) -> None:
        """Delete objects of edges that left the inventory or fell silent."""
        others = [edge for edge in self._edges if edge != self._edge]
        for one in self._store.of_absent([self._edge, *self._liveness.alive(others)]):
            self._store.delete(one)
            name = one.metadata.name
            log.info("%s of an absent edge deleted", KIND, extra={"fields": {"object": name}})
