# SPDX-License-Identifier: Apache-2.0
"""Read actual -> diff -> apply, for the agent and the Ansible modules alike.

Callers hold the edge's lock (`fairlead.edge.lock.edge_lock`) around anything but `check=True`.
"""

from collections.abc import Sequence

import msgspec

from fairlead.diff.changes import IpvsChange, rules
from fairlead.diff.ipvs import Owned, diff, diff_entry
from fairlead.edge.ipvs.table import ChangeResult, IpvsPort
from fairlead.model.errors import ApplyError
from fairlead.model.ipvs import IpvsEntries, IpvsEntry, ServiceKey

_MOST_NAMED = 5
"""Failures that are told in one error; the rest are counted."""
_PORTION = 2000
"""Changes that stand as messages in memory at one time."""


class AppliedChanges(msgspec.Struct, frozen=True):
    """What a reconciliation did, or with `check` would do.

    Attributes:
        changes: In the order in which they were sent; `str()` of each is an ipvsadm command.
        failed: Those that the kernel refused, even on the second attempt.
        old, new: The virtual servers that the changes touch, as they were and as they should be.
    """

    changes: tuple[IpvsChange, ...] = ()
    failed: tuple[ChangeResult, ...] = ()
    old: IpvsEntries = {}
    new: IpvsEntries = {}

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, done."""
        return bool(self.changes)

    @property
    def before(self) -> tuple[str, ...]:
        """Rules of the touched virtual servers as they were, as `ipvsadm -Sn` prints them."""
        return tuple(rules(self.old))

    @property
    def after(self) -> tuple[str, ...]:
        """Rules of the touched virtual servers as they should be."""
        return tuple(rules(self.new))

    def raise_for_failures(self) -> None:
        """Raise an `ApplyError` that names the first failures, if there are any."""
        if not self.failed:
            return
        named = "; ".join(str(result) for result in self.failed[:_MOST_NAMED])
        more = len(self.failed) - _MOST_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        raise ApplyError(f"{len(self.failed)} IPVS changes were refused: {named}{rest}")


def reconcile_ipvs(
    table: IpvsPort, desired: IpvsEntries, owned: Owned | None, *, check: bool = False
) -> AppliedChanges:
    """Make the whole table what is desired, and leave foreign virtual servers alone.

    Args:
        table: The kernel's, or a fake.
        desired: From `fairlead.diff.ipvs.desired_from(edge_plan.virtual_servers)`.
        owned: Whether an address lies in a pool of ours: only there, and on marks of ours, are
            virtual servers removed; None removes none.
        check: Only tell what would be done.
    """
    actual = table.dump()
    changes = diff(desired, actual, owned)
    touched = {change.key for change in changes}
    old = {key: actual[key] for key in touched if key in actual}
    new = {key: desired[key] for key in touched if key in desired}
    if check or not changes:
        return AppliedChanges(tuple(changes), (), old, new)
    failed = _refused(table, changes)
    if failed:  # another program may have been at it: look again, once
        failed = _refused(table, diff(desired, table.dump(), owned))
    return AppliedChanges(tuple(changes), tuple(failed), old, new)


def reconcile_virtual_server(
    table: IpvsPort, key: ServiceKey, desired: IpvsEntry | None
) -> AppliedChanges:
    """The same for one virtual server: the agent's way from an event to the kernel.

    It reads that virtual server alone.

    Args:
        table: The kernel's, or a fake.
        key: From `fairlead.diff.ipvs.service_key(virtual_server)`.
        desired: From `fairlead.diff.ipvs.desired_entry(virtual_server)`; None to remove it.
    """
    changes = diff_entry(desired, table.dump_service(key))
    if not changes:
        return AppliedChanges()
    failed = _refused(table, changes)
    if failed:
        failed = _refused(table, diff_entry(desired, table.dump_service(key)))
    return AppliedChanges(tuple(changes), tuple(failed))


def _refused(table: IpvsPort, changes: Sequence[IpvsChange]) -> list[ChangeResult]:
    """Send changes in order, portion by portion; what the kernel refused.

    A cold table takes a hundred thousand: all of them as messages and results at once would touch
    30 MB that nobody needs afterwards, for as much time as the kernel itself takes.
    """
    return [
        result
        for first in range(0, len(changes), _PORTION)
        for result in table.apply(changes[first : first + _PORTION])
        if result.code
    ]
