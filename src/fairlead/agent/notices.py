# SPDX-License-Identifier: Apache-2.0
"""nodeAssigned: telling on a Service that this edge announces it now (MetalLB's words)."""

from collections.abc import Callable, Iterable

from fairlead.adapters.kube_write import ServiceRef
from fairlead.agent.announcer import Held
from fairlead.agent.publisher import Notice
from fairlead.model.names import ObjectKey
from fairlead.model.plan import PlanEvent, VirtualServer

Row = tuple[ObjectKey, str]


class AssignmentNotices:
    """Turns "these addresses stand here" into Events, only where that is news.

    What stood here when the agent started is no news: a restart tells nothing.
    """

    def __init__(self, edge: str, find: Callable[[ObjectKey], ServiceRef | None]) -> None:
        self._edge, self._find = edge, find
        self._told: set[Row] | None = None

    def news(self, wanted: Iterable[VirtualServer], held: Held) -> list[Notice]:
        """Notices for what this edge announces now and did not at the last call."""
        rows: set[Row] = set()
        for server in wanted:
            if server.address in held.lan:
                rows.add((server.service, "layer2"))
            if server.address in held.bgp:
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
