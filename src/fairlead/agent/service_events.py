# SPDX-License-Identifier: Apache-2.0
"""nodeAssigned, announceFailed: telling on a Service what this edge does (MetalLB's words)."""

from collections.abc import Callable, Iterable

from fairlead.agent.publisher import Notice
from fairlead.cluster.writes import ServiceRef
from fairlead.edge.parts import interfaces_of
from fairlead.edge.vips import StandingVips
from fairlead.model.names import ObjectKey
from fairlead.model.plan import NotAnnounced, PlanEvent, VirtualServer, VrrpInstance

Row = tuple[ObjectKey, str]


class AssignmentNotices:
    """Turns "these addresses stand here" into Events, only where that is news.

    What stood here when the agent started is no news: a restart tells nothing.
    """

    def __init__(self, edge: str, find: Callable[[ObjectKey], ServiceRef | None]) -> None:
        self._edge, self._find = edge, find
        self._told: set[Row] | None = None

    def news(self, servers: Iterable[VirtualServer], vips: StandingVips) -> list[Notice]:
        """Notices for what this edge announces now and did not at the last call."""
        rows: set[Row] = set()
        for server in servers:
            if server.address in vips.lan:
                rows.add((server.service, "layer2"))
            if server.address in vips.link:
                rows.add((server.service, "bgp"))
        told, self._told = self._told, rows
        if told is None:
            return []
        return [
            Notice(ref, self._event(protocol))
            for key, protocol in sorted(rows - told)
            if (ref := self._find(key)) is not None
        ]

    def _event(self, protocol: str) -> PlanEvent:
        text = f'announcing from node "{self._edge}" with protocol "{protocol}"'
        return PlanEvent("Normal", "nodeAssigned", text)


class FailureNotices:
    """Turns "this edge should announce it and can't" into Events, once for each failure.

    Unlike an assignment, a failure that is there at the start is told: somebody has to act.
    """

    def __init__(self, find: Callable[[ObjectKey], ServiceRef | None]) -> None:
        self._find = find
        self._told: set[Row] = set()

    def news(self, failures: Iterable[Row]) -> list[Notice]:
        """Notices for failures, by Service and sentence, that the last call did not have."""
        rows = set(failures)
        new, self._told = rows - self._told, rows
        return [
            Notice(ref, PlanEvent("Warning", "announceFailed", text))
            for key, text in sorted(new)
            if (ref := self._find(key)) is not None
        ]


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
