# SPDX-License-Identifier: Apache-2.0
"""The thread that keeps pool objects true: counters in their status, Events on the invalid ones.

Level-triggered: it learns only when to look, and which objects were touched. What it once saw to be
true is not read again until somebody touches the object or the truth changes, so that a Service
that comes costs one read and one write per pool, and a manual edit of the counters is reverted.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial

import msgspec

from fairlead.agent.attempts import Attempts, Outcome
from fairlead.agent.worker import Worker
from fairlead.cluster.client import KubeApi
from fairlead.cluster.pools import read_pool, write_counters
from fairlead.cluster.writes import EventRecorder
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError, PlanEvent
from fairlead.planner.pools import PoolIndex
from fairlead.planner.usage import PoolUsage

log = logging.getLogger(__name__)

REASON = "ConfigurationError"
IN_FORCE = "the version before stays in force"
_GATHER_SECONDS = 0.3  # many Services that come at once are one write


class PoolState(msgspec.Struct, frozen=True):
    """What should be true of one pool object.

    Attributes:
        usage: Counters of its status; None leaves the status alone.
        complaint: What is wrong with the object, "" for nothing.
    """

    key: ObjectKey
    usage: PoolUsage | None
    complaint: str


def pool_states(
    pools: PoolIndex, namespace: str, usage: Iterable[PoolUsage], errors: Iterable[ObjectError]
) -> list[PoolState]:
    """What should be true of pool objects, by key.

    Args:
        pools: Those in force, the inventory's among them, which are no objects.
        namespace: Where pool objects are read from.
        usage: How full pools are, those not in force included.
        errors: Objects that can't be used, of any kind.
    """
    in_force = {pool.key for pool in pools.by_name.values() if pool.origin == "cluster"}
    objects = in_force | {ObjectKey(namespace, name) for name in pools.unusable}
    counters = {key: row for row in usage if (key := ObjectKey(namespace, row.name)) in objects}
    complaints = {
        ObjectKey(error.namespace, error.name): _sentence(error, in_force)
        for error in errors
        if error.kind == "IPAddressPool" and error.namespace and error.name
    }
    keys = sorted(counters.keys() | complaints.keys())
    return [PoolState(key, counters.get(key), complaints.get(key, "")) for key in keys]


def _sentence(error: ObjectError, in_force: Collection[ObjectKey]) -> str:
    text = f"{error.field}: {error.message}" if error.field else error.message
    if text.endswith(IN_FORCE):
        return text
    kept = ObjectKey(error.namespace, error.name) in in_force
    return f"{text}; {IN_FORCE if kept else 'nothing is given from this pool'}"


class PoolWriter:
    """Makes states true while this edge leads; `look` may be called from any thread."""

    def __init__(
        self,
        api: KubeApi,
        recorder: EventRecorder,
        *,
        leading: Callable[[], bool],
        states: Callable[[], Iterable[PoolState]],
    ) -> None:
        self._api, self._recorder = api, recorder
        self._leading, self._states = leading, states
        self._lock = threading.Lock()
        self._touched: set[ObjectKey] = set()
        self._verified: dict[ObjectKey, PoolState] = {}
        self._attempts = Attempts(log, "pool object not written")
        self._worker = Worker(
            "pool-writer",
            lambda: self._attempts.whole_pass(self._pass),
            gather=_GATHER_SECONDS,
        )

    def start(self) -> None:
        """Begin to write."""
        self._worker.start()

    def stop(self) -> None:
        """End after the pass under way."""
        self._worker.stop()

    def look(self, touched: Iterable[ObjectKey] = ()) -> None:
        """Compare soon; these objects were touched, whatever was true of them before."""
        with self._lock:
            self._touched.update(touched)
        self._worker.look()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return self._worker.idle

    def _pass(self) -> bool:
        """Make all states true; False where the API server must be asked again."""
        with self._lock:
            touched, self._touched = self._touched, set()
        for key in touched:
            self._verified.pop(key, None)
        return self._make_all_true() if self._leading() else True

    def _make_all_true(self) -> bool:
        states = {state.key: state for state in self._states()}
        self._verified = {key: known for key, known in self._verified.items() if key in states}
        complete = True
        for key, state in states.items():
            if self._verified.get(key) == state:
                continue
            outcome = self._attempts.outcome(partial(self._make_true, state))
            if outcome is Outcome.UNAVAILABLE:
                return False
            if outcome in (Outcome.DONE, Outcome.FINAL):
                self._verified[key] = state
            else:
                complete = False
        return complete

    def _make_true(self, state: PoolState) -> None:
        pool = read_pool(self._api, state.key)
        if state.complaint:
            event = PlanEvent("Warning", REASON, state.complaint)
            self._recorder.record_once(pool.ref, event, pool.generation)
        if state.usage is not None and write_counters(self._api, pool, state.usage):
            log.debug("counters written", extra={"fields": {"pool": state.key}})
