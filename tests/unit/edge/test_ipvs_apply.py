# SPDX-License-Identifier: Apache-2.0
"""A large reconciliation goes out in portions: the same changes, the same order, every refusal."""

import errno
from collections.abc import Sequence
from ipaddress import ip_address

from fairlead.diff.changes import AddDest, IpvsChange
from fairlead.diff.ipvs import diff
from fairlead.edge.ipvs import reconcile_ipvs, reconcile_virtual_server
from fairlead.edge.ipvs.fake import FakeIpvsTable
from fairlead.edge.ipvs.table import ChangeResult
from fairlead.model.ipvs import (
    ForwardMethod,
    IpProtocol,
    IpvsDest,
    IpvsEntry,
    IpvsService,
    ServiceKey,
)

KEY = ServiceKey.of(IpProtocol.TCP, ip_address("192.0.2.1"), 80)
FIRST = int(ip_address("10.0.0.0"))


def _entry(count: int) -> IpvsEntry:
    dests = [
        IpvsDest(ip_address(FIRST + one).packed, 80, 1, ForwardMethod.DIRECT)
        for one in range(count)
    ]
    return IpvsEntry(IpvsService(key=KEY, scheduler="mh", flags=0, timeout=0), tuple(dests))


class PickyTable(FakeIpvsTable):
    """Refuses some real servers; notes how many changes came at once."""

    def __init__(self, refused: Sequence[bytes] = ()) -> None:
        super().__init__()
        self.refused = refused
        self.portions: list[int] = []

    def apply(self, changes: Sequence[IpvsChange]) -> list[ChangeResult]:
        self.portions.append(len(changes))
        return super().apply(changes)

    def _apply(self, change: IpvsChange) -> int:
        if isinstance(change, AddDest) and change.dest.address in self.refused:
            return errno.EINVAL
        return super()._apply(change)


def test_portions_are_the_whole_list_in_its_order() -> None:
    desired = {KEY: _entry(5000)}
    table = PickyTable()
    done = reconcile_ipvs(table, desired, lambda _: True)
    expected = diff(desired, {}, lambda _: True)
    assert list(done.changes) == table.log == expected
    assert len(table.portions) > 1
    assert sum(table.portions) == len(expected)
    assert max(table.portions) <= 2000
    assert table.dump() == desired


def test_refusals_of_every_portion_are_told() -> None:
    entry = _entry(5000)
    refused = [entry.dests[at].address for at in (0, 2500, 4999)]
    for done in (
        reconcile_ipvs(PickyTable(refused), {KEY: entry}, lambda _: True),
        reconcile_virtual_server(PickyTable(refused), KEY, entry),
    ):
        assert [one.change.dest.address for one in done.failed] == refused  # type: ignore[union-attr]
        assert {one.code for one in done.failed} == {errno.EINVAL}
