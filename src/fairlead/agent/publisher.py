# SPDX-License-Identifier: Apache-2.0
"""Writes decisions to the cluster: status first, then the Event that tells of it.

Level-triggered like the rest: for each Service only the newest decision is kept, a refused write is
tried again until a newer decision replaces it or another edge leads. Only the leader is offered
decisions; `nodeAssigned` comes from whichever edge announces, and is tried again until it is not
true any more.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from fairlead.agent.attempts import Attempts, Outcome
from fairlead.agent.retry_queue import RetryQueue
from fairlead.agent.worker import Worker
from fairlead.backoff import Backoff
from fairlead.cluster.client import KubeApi
from fairlead.cluster.writes import EventRecorder, IngressStatus, ServiceRef, write_status
from fairlead.model.names import ObjectKey
from fairlead.model.plan import PlanEvent

log = logging.getLogger(__name__)

# nodeAssigned for thousands of Services at a failover must not crowd out anything.
_NOTICES_PER_SECOND = 40.0
_REMEMBERED = 20_000  # Services whose last Events are remembered
_SERVER_DOWN = 3  # so many Services in a row that could not be written: it is not for them

_Recorded = tuple[str, str, tuple[PlanEvent, ...]]
_NoticeKey = tuple[ObjectKey, str, str | None]


class Decision(msgspec.Struct, frozen=True):
    """What the leader decided about one version of one Service; `status` None changes nothing."""

    service: ServiceRef
    status: IngressStatus | None
    events: tuple[PlanEvent, ...] = ()


class Notice(msgspec.Struct, frozen=True):
    """An Event about a Service that needs no election."""

    service: ServiceRef
    event: PlanEvent


class NoticeChanges(msgspec.Struct, frozen=True):
    """Notices that are news, and those that are true no more, by Service and message."""

    new: tuple[Notice, ...] = ()
    over: tuple[tuple[ObjectKey, str], ...] = ()


@dataclass
class PublishCounts:
    """Totals for the metrics."""

    statuses: int = 0
    refused: int = 0
    events: int = 0
    errors: int = 0
    last_error: str = ""


class Publisher:
    """Writes decisions and notices in a thread of its own; what others call never waits."""

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
        self._decisions: RetryQueue[ObjectKey, Decision] = RetryQueue(_joined)
        self._notices: RetryQueue[_NoticeKey, Notice] = RetryQueue(pace=1 / _NOTICES_PER_SECOND)
        # Decisions that met a conflict: the next one to the same end brings their Events, too.
        self._unrecorded: OrderedDict[ObjectKey, Decision] = OrderedDict()
        self._recorded: OrderedDict[ObjectKey, _Recorded] = OrderedDict()
        self._failed: set[ObjectKey] = set()  # since the last write that went well
        self._attempts = Attempts(log, "not written")
        # Short waits: a user waits for an address, and one request is all that a try costs.
        self._worker = Worker("publisher", self._pass, backoff=Backoff(first=0.05, limit=2.0))
        self.counts = PublishCounts()

    def start(self) -> None:
        """Begin to write."""
        self._worker.start()

    def stop(self) -> None:
        """End after the write under way; what is left is decided anew by the next leader."""
        self._worker.stop()

    def offer(self, decisions: Iterable[Decision]) -> None:
        """Queue decisions; a newer one about a Service replaces the older."""
        for decision in decisions:
            key = decision.service.key
            self._decisions.put(key, _joined(self._unrecorded.pop(key, None), decision))
        self._worker.look()

    def notify(self, changes: NoticeChanges) -> None:
        """Queue Events of this edge, each also for the mirror; those that are over are given up."""
        mirror = self._mirror()
        for service, message in changes.over:
            for key in _notice_keys(service, message, mirror):
                self._notices.withdraw(key)
        for notice in changes.new:
            for key in _notice_keys(notice.service.key, notice.event.message, mirror):
                self._notices.put(key, notice)
        self._worker.look()

    @property
    def backlog(self) -> int:
        """Decisions and notices that wait."""
        return len(self._decisions) + len(self._notices)

    def _pass(self) -> bool | float:
        """Write one decision, or where none is due one notice."""
        outcome = None
        if (decision := self._decisions.take()) is not None:
            outcome = self._publish(*decision)
        elif (notice := self._notices.take()) is not None:
            outcome = self._record_notice(*notice)
        if outcome is Outcome.UNAVAILABLE or len(self._failed) >= _SERVER_DOWN:
            self._failed.clear()
            return False
        waits = [s for q in (self._decisions, self._notices) if (s := q.seconds()) is not None]
        if not waits:
            self._attempts.all_well()
        return min(waits, default=True)

    def _publish(self, key: ObjectKey, decision: Decision) -> Outcome:
        """Status, then Events; what could not be written stays queued, the rest is not repeated."""
        outcome = self._write_status(decision) if self._leading() else Outcome.FINAL
        if outcome is Outcome.DONE:
            decision = self._narrow(decision, decision.events)
            outcome = self._record_events(decision)
        elif outcome is Outcome.CONFLICT:
            if self._decisions.give_up(key, decision):
                self._unrecorded[key] = decision
                if len(self._unrecorded) > _REMEMBERED:  # Services that went away meanwhile
                    self._unrecorded.popitem(last=False)
            self._conflict(key)
        elif outcome is Outcome.FINAL:
            self._decisions.finish(key, decision)
        if outcome is Outcome.RETRY:
            self._decisions.retry(key)
        return outcome

    def _write_status(self, decision: Decision) -> Outcome:
        service, status = decision.service, decision.status
        if status is None:
            return Outcome.DONE
        outcome = self._try(service.key, lambda: write_status(self._api, service, status))
        if outcome is Outcome.DONE:
            self.counts.statuses += 1
            shown = " ".join(ip for ip, _ in status.ingress) or "none"
            log.info(
                "status written", extra={"fields": {"service": service.key, "addresses": shown}}
            )
        return outcome

    def _record_events(self, decision: Decision) -> Outcome:
        """Events of a decision, unless the same were recorded about the same version before."""
        service = decision.service
        recorded = (service.uid, service.resource_version, decision.events)
        if decision.events and self._recorded.get(service.key) != recorded:
            while decision.events:
                event, *rest = decision.events
                outcome = self._record(service, event)
                if outcome in (Outcome.RETRY, Outcome.UNAVAILABLE):
                    return outcome
                decision = self._narrow(decision, tuple(rest))
            self._recorded[service.key] = recorded
            self._recorded.move_to_end(service.key)
            if len(self._recorded) > _REMEMBERED:
                self._recorded.popitem(last=False)
        self._decisions.finish(service.key, decision)
        return Outcome.DONE

    def _narrow(self, decision: Decision, events: tuple[PlanEvent, ...]) -> Decision:
        """The status is written, and Events but these."""
        rest = Decision(decision.service, None, events)
        self._decisions.replace(decision.service.key, decision, rest)
        return rest

    def _record_notice(self, key: _NoticeKey, notice: Notice) -> Outcome:
        outcome = self._record(notice.service, notice.event, key[2])
        if outcome is Outcome.RETRY:
            self._notices.retry(key)
        elif outcome is not Outcome.UNAVAILABLE:
            self._notices.finish(key, notice)
        return outcome

    def _record(
        self, service: ServiceRef, event: PlanEvent, namespace: str | None = None
    ) -> Outcome:
        def record() -> None:
            self._recorder.record(service, event, namespace=namespace)

        outcome = self._try(service.key, record)
        if outcome is Outcome.DONE:
            self.counts.events += 1
        # One that changed meanwhile is an Event that somebody else counts: it is recorded.
        return Outcome.FINAL if outcome is Outcome.CONFLICT else outcome

    def _try(self, key: ObjectKey, action: Callable[[], None]) -> Outcome:
        outcome = self._attempts.outcome(action)
        if outcome is Outcome.DONE:
            self.counts.last_error = ""
            self._failed.clear()
        elif outcome in (Outcome.RETRY, Outcome.UNAVAILABLE):
            self.counts.errors += 1
            self.counts.last_error = self._attempts.error
            self._failed.add(key)
        else:
            self.counts.refused += 1
        return outcome


def _notice_keys(service: ObjectKey, message: str, mirror: str | None) -> list[_NoticeKey]:
    """The Event in the namespace of its Service, and the one in the mirror."""
    mirrored = mirror not in (None, service.namespace)
    return [(service, message, namespace) for namespace in (None, *([mirror] if mirrored else ()))]


def _joined(older: Decision | None, newer: Decision) -> Decision:
    """The newer decision, with Events of the older that are not recorded if both come to the same.

    A Service that changes between decision and write is decided anew; to the planner what it gave
    before is no news then, but nobody has heard of it.
    """
    if (
        older is None
        or newer.status is None
        or (older.service.uid, older.status) != (newer.service.uid, newer.status)
    ):
        return newer
    rest = tuple(event for event in newer.events if event not in older.events)
    return Decision(newer.service, newer.status, older.events + rest)
