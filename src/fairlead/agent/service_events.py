# SPDX-License-Identifier: Apache-2.0
"""nodeAssigned, announceFailed: Events of a Service about what this edge does (MetalLB's words)."""

from collections.abc import Callable, Iterable

from fairlead.agent.publisher import Notice, NoticeChanges
from fairlead.cluster.writes import ServiceRef
from fairlead.edge.parts import interfaces_of
from fairlead.edge.vips import StandingVips
from fairlead.model.names import ObjectKey
from fairlead.model.plan import NotAnnounced, PlanEvent, VirtualServer, VrrpInstance

Row = tuple[ObjectKey, str]


class AssignmentNotices:
    """Turns "these addresses stand here" into Events, only where that is news.

    What stood here when the agent started is no news: a restart records nothing.
    """

    def __init__(self, edge: str, find: Callable[[ObjectKey], ServiceRef | None]) -> None:
        self._edge, self._find = edge, find
        self._announced: set[Row] | None = None

    def changes(self, servers: Iterable[VirtualServer], vips: StandingVips) -> NoticeChanges:
        """What this edge announces now and did not at the last call, and the other way round."""
        rows: set[Row] = set()
        for server in servers:
            if server.address in vips.lan:
                rows.add((server.service, "layer2"))
            if server.address in vips.link:
                rows.add((server.service, "bgp"))
        before, self._announced = self._announced, rows
        if before is None:
            return NoticeChanges()
        texts = {way: self._text(way) for way in ("layer2", "bgp")}
        return NoticeChanges(
            new=tuple(
                Notice(ref, PlanEvent("Normal", "nodeAssigned", texts[way]))
                for key, way in sorted(rows - before)
                if (ref := self._find(key)) is not None
            ),
            over=tuple((key, texts[way]) for key, way in sorted(before - rows)),
        )

    def _text(self, way: str) -> str:
        return f'announcing from node "{self._edge}" with protocol "{way}"'


class FailureNotices:
    """Turns "this edge should announce it and can't" into Events, once for each failure.

    Unlike an assignment, a failure that is there at the start is recorded: somebody has to act.
    """

    def __init__(self, find: Callable[[ObjectKey], ServiceRef | None]) -> None:
        self._find = find
        self._failures: set[Row] = set()

    def changes(self, failures: Iterable[Row]) -> NoticeChanges:
        """Failures, by Service and sentence, that the last call did not have, and those it had."""
        rows = set(failures)
        before, self._failures = self._failures, rows
        return NoticeChanges(
            new=tuple(
                Notice(ref, PlanEvent("Warning", "announceFailed", text))
                for key, text in sorted(rows - before)
                if (ref := self._find(key)) is not None
            ),
            over=tuple(sorted(before - rows)),
        )


def planned_failures(failed: Iterable[NotAnnounced]) -> list[Row]:
    """Failures that the planner knows of: the inventory names no such interface."""
    return [(one.service, one.message) for one in failed]


def missing_failures(
    edge: str,
    instances: Iterable[VrrpInstance],
    wanted: Iterable[VirtualServer],
    missing: frozenset[str],
) -> list[Row]:
    """Failures of this machine: the inventory names an interface that is not there."""
    reasons = {}
    for one in instances:
        lost = sorted(missing & {one.interface, *interfaces_of(one)})
        if lost:
            text = f"edge {edge} has no interface {', '.join(lost)}"
            reasons.update(dict.fromkeys(one.addresses, text))
    if not reasons:
        return []
    return [
        (server.service, reasons[server.address]) for server in wanted if server.address in reasons
    ]
