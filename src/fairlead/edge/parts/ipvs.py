# SPDX-License-Identifier: Apache-2.0
"""The IPVS table as a part: virtual servers and their real servers.

The agent makes single virtual servers true as events come (`agent.kernel`), with the same
difference and the same rule of ownership.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from fairlead.diff.changes import rules
from fairlead.diff.ipvs import desired_from, diff, is_ours
from fairlead.diff.slow_start import left_rising
from fairlead.edge.ipvs import IpvsPort, reconcile_ipvs
from fairlead.edge.parts.part import Difference, Owned, Part, Target
from fairlead.model.ipvs import IpvsEntries, ServiceKey


@dataclass(frozen=True)
class IpvsDifference(Difference):
    """What the table lacks.

    Attributes:
        desired: Virtual servers of the plan.
        owned: Whether an address is ours; None where nothing is to be removed.
        prunable: Virtual servers of ours that the plan does not have.
    """

    desired: IpvsEntries = field(default_factory=dict)
    owned: Owned | None = None
    prunable: tuple[ServiceKey, ...] = ()


class IpvsPart(Part[IpvsEntries, IpvsEntries, IpvsDifference]):
    """The whole table of this network namespace.

    Args:
        open_table: Opens it, when it is first needed: asking a kernel loads the module.
        prune: Whether virtual servers go that the plan does not have; False on the way up, while
            their addresses may still be announced.
    """

    name = "IPVS"

    def __init__(self, open_table: Callable[[], IpvsPort], *, prune: bool = True) -> None:
        self._open, self._prune = open_table, prune
        self._table: IpvsPort | None = None

    def desired(self, target: Target) -> IpvsEntries:
        """Virtual servers of the plan; weights that rise are left to the agent that raises them."""
        servers = target.plan.virtual_servers
        desired = desired_from(servers)
        for server in servers:
            if server.slow_start_seconds:
                (key,) = desired_from((server,))
                desired[key] = left_rising(desired[key], self._opened().dump_service(key))
        return desired

    def actual(self) -> IpvsEntries:
        """The kernel's table, foreign virtual servers included."""
        return self._opened().dump()

    def difference(self, desired: IpvsEntries, actual: IpvsEntries, owned: Owned) -> IpvsDifference:
        """Commands of ipvsadm that are missing."""
        changes = diff(desired, actual, owned if self._prune else None)
        touched = {change.key for change in changes}
        extra = [key for key in actual if key not in desired and is_ours(key, owned)]
        return IpvsDifference(
            bool(changes),
            _lines(rules({key: actual[key] for key in touched if key in actual})),
            _lines(rules({key: desired[key] for key in touched if key in desired})),
            tuple(map(str, changes)),
            desired=desired,
            owned=owned if self._prune else None,
            prunable=tuple(sorted(extra, key=str)),
        )

    def apply(self, change: IpvsDifference, *, check: bool = False) -> None:
        """Send them; another program may be at the table, so it is read once more."""
        if not check:
            reconcile_ipvs(self._opened(), change.desired, change.owned).raise_for_failures()

    def _opened(self) -> IpvsPort:
        if self._table is None:
            self._table = self._open()
        return self._table


def _lines(texts: list[str]) -> str:
    return "".join(f"{text}\n" for text in texts)
