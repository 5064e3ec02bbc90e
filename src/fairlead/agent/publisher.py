# SPDX-License-Identifier: Apache-2.0
"""The thread that writes decisions to the cluster: status first, then the Event that tells of it.

Level-triggered like the rest: for each Service only the newest decision is kept, a refused write is
tried again until a newer decision replaces it or another edge leads. Only the leader is offered
decisions; `nodeAssigned` comes from whichever edge announces.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import msgspec

from fairlead.backoff import Backoff
from fairlead.cluster.client import ApiError, ApiUnavailableError, KubeApi
from fairlead.cluster.writes import EventRecorder, IngressStatus, ServiceRef, write_status
from fairlead.model.names import ObjectKey
from fairlead.model.plan import PlanEvent

log = logging.getLogger(__name__)

# nodeAssigned for thousands of Services at a failover must not crowd out anything.
_NOTICES_PER_SECOND = 20.0
# Answers that the same request would get again: changed since (409), gone (404, and 403 in a
# namespace that is being deleted), not acceptable. The watch brings what to decide next.
_FINAL = frozenset({400, 403, 404, 405, 409, 413, 415, 422})


_REMEMBERED = 20_000  # Services whose last Events are remembered

_Said = tuple[str, str, tuple[PlanEvent, ...]]


class Decision(msgspec.Struct, frozen=True):
    """What the leader decided about one version of one Service; `status` None changes nothing."""

    service: ServiceRef
    status: IngressStatus | None
    events: tuple[PlanEvent, ...] = ()


class Notice(msgspec.Struct, frozen=True):
    """An Event about a Service that needs no election."""

    service: ServiceRef
    event: PlanEvent


@dataclass
class PublishCounts:
    """Totals for the metrics."""

    statuses: int = 0
    refused: int = 0
    events: int = 0
    errors: int = 0
    last_error: str = ""


class Publisher:
    """Writes decisions and notices; all methods but `_run` are called from other threads."""

    def __init__(
        self,
        api: KubeApi,
        recorder: EventRecorder,
        *,
        leading: Callable[[], bool],
        conflict: Callable[[ObjectKey], None],
        mirror_namespace: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._api, self._recorder, self._leading = api, recorder, leading
        self._conflict, self._mirror = conflict, mirror_namespace
        self._wake = threading.Condition()
        self._decisions: OrderedDict[ObjectKey, Decision] = OrderedDict()
        # Decisions that met a conflict: the next one to the same end tells their Events, too.
        self._owed: dict[ObjectKey, Decision] = {}
        self._notices: OrderedDict[tuple[ObjectKey, str], Notice] = OrderedDict()
        self._said: OrderedDict[ObjectKey, _Said] = OrderedDict()
        self._backoff = Backoff(first=0.05)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.counts = PublishCounts()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End after the write under way; what is left is decided anew by the next leader."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def offer(self, decisions: Iterable[Decision]) -> None:
        """Queue decisions; a newer one about a Service replaces the older."""
        with self._wake:
            for decision in decisions:
                key = decision.service.key
                self._decisions[key] = _joined(self._decisions.get(key), decision)
            self._wake.notify()

    def notify(self, notices: Iterable[Notice]) -> None:
        """Queue nodeAssigned Events."""
        with self._wake:
            for notice in notices:
                self._notices[(notice.service.key, notice.event.message)] = notice
            self._wake.notify()

    @property
    def backlog(self) -> int:
        """Decisions and notices that wait."""
        return len(self._decisions) + len(self._notices)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._decisions or self._notices or self._stopping):
                    self._wake.wait()
                if self._stopping:
                    return
                decision = next(iter(self._decisions.values()), None)
                notice = None if decision else next(iter(self._notices.values()))
            if decision is not None:
                self._attempt_decision(decision)
            elif notice is not None:
                self._attempt_notice(notice)

    def _attempt_decision(self, decision: Decision) -> None:
        """Status, then Events; what could not be written stays queued, the rest is not repeated."""
        key, queued = decision.service.key, decision
        decision = _joined(self._owed.pop(key, None), queued)
        outcome = self._publish(decision) if self._leading() else _Outcome.STALE
        if outcome is _Outcome.DONE:
            told = Decision(decision.service, None, decision.events)
            self._settle(queued, told)
            decision = queued = told
            outcome = self._try(lambda: self._tell_changes(told))
        self._settle(queued, decision if outcome is _Outcome.FAILED else None)
        if outcome is _Outcome.CONFLICT:
            self._owed[key] = decision
            if len(self._owed) > _REMEMBERED:  # Services that went away meanwhile
                del self._owed[next(iter(self._owed))]
            self._conflict(key)
        if outcome in (_Outcome.FAILED, _Outcome.CONFLICT):
            with self._wake:
                self._wake.wait(self._backoff.next())

    def _settle(self, decision: Decision, left: Decision | None) -> None:
        """Replace a decision by what is left of it, unless a newer one took its place."""
        key = decision.service.key
        with self._wake:
            if self._decisions.get(key) is not decision:
                return
            del self._decisions[key]
            if left is not None:
                self._decisions[key] = left  # at the end: others go on meanwhile

    def _attempt_notice(self, notice: Notice) -> None:
        self._try(lambda: self._tell(notice))
        with self._wake:
            self._notices.pop((notice.service.key, notice.event.message), None)
        time.sleep(1 / _NOTICES_PER_SECOND)

    def _try(self, action: Callable[[], None]) -> "_Outcome":
        try:
            action()
        except (ApiError, ApiUnavailableError) as error:
            if isinstance(error, ApiError) and error.status in _FINAL:
                self.counts.refused += 1
                if error.status == 409:
                    return _Outcome.CONFLICT
                log.log(
                    logging.DEBUG if error.status == 404 else logging.WARNING,
                    "not written: %s",
                    error,
                )
                return _Outcome.STALE
            self.counts.errors += 1
            if str(error) != self.counts.last_error:
                log.warning("not written: %s", error)
            self.counts.last_error = str(error)
            return _Outcome.FAILED
        self.counts.last_error = ""
        if self._backoff.waited:
            self._backoff.reset()
        return _Outcome.DONE

    def _publish(self, decision: Decision) -> "_Outcome":
        service, status = decision.service, decision.status
        if status is None:
            return _Outcome.DONE
        outcome = self._try(lambda: write_status(self._api, service, status))
        if outcome is _Outcome.DONE:
            self.counts.statuses += 1
            shown = " ".join(ip for ip, _ in status.ingress) or "none"
            log.info(
                "status written", extra={"fields": {"service": service.key, "addresses": shown}}
            )
        return outcome

    def _tell_changes(self, decision: Decision) -> None:
        """Events of a decision, unless the same was said about the same version before."""
        service = decision.service
        said = (service.uid, service.resource_version, decision.events)
        if not decision.events or self._said.get(service.key) == said:
            return
        for event in decision.events:
            self._recorder.record(service, event)
            self.counts.events += 1
        self._said[service.key] = said
        self._said.move_to_end(service.key)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)

    def _tell(self, notice: Notice) -> None:
        self._recorder.record(notice.service, notice.event)
        if (namespace := self._mirror()) is not None:
            self._recorder.record(notice.service, notice.event, namespace=namespace)
        self.counts.events += 1


def _joined(older: Decision | None, newer: Decision) -> Decision:
    """The newer decision, with what the older has not told yet if both come to the same.

    A Service that changes between decision and write is decided anew; to the planner what it gave
    before is no news then, but nobody was told.
    """
    if (
        older is None
        or newer.status is None
        or (older.service.uid, older.status) != (newer.service.uid, newer.status)
    ):
        return newer
    rest = tuple(event for event in newer.events if event not in older.events)
    return Decision(newer.service, newer.status, older.events + rest)


class _Outcome(Enum):
    """What became of a write."""

    DONE = 1
    STALE = 2  # pointless by now
    CONFLICT = 3  # the Service changed meanwhile: to be decided anew
    FAILED = 4  # to be tried again
