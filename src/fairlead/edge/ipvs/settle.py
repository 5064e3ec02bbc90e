# SPDX-License-Identifier: Apache-2.0
"""Bringing real servers into the order of insertion that every edge agrees on.

Under `mh` two edges that hold the same real servers in another order send a few connections in a
thousand to different ones (docs/decisions/0010 has the figures). Additions alone cannot mend that,
so a table that has come to rest may be settled: real servers are removed and added again while
their connections are kept. Meant for a full pass that found nothing else to do, never for the way
of an event.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairlead.diff.changes import IpvsChange
from fairlead.diff.ipvs import reorder
from fairlead.edge.ipvs.table import IpvsPort
from fairlead.edge.netns import entered
from fairlead.model.errors import ApplyError
from fairlead.model.ipvs import IpvsEntries
from fairlead.model.schedulers import HASHING

_EXPIRE = Path("/proc/sys/net/ipv4/vs/expire_nodest_conn")


def settle_order(
    table: IpvsPort, desired: IpvsEntries, *, netns: str | None = None
) -> list[IpvsChange]:
    """Put real servers of hashing schedulers into canonical order; returns what was sent.

    Connections of a real server survive, since the kernel takes the very same destination out of
    its trash again; packets that arrive in the microseconds between are dropped and sent again by
    their sender, not answered with a reset.

    Args:
        table: The kernel's, or a fake.
        desired: What the table should hold. Virtual servers that differ in more than order are
            left for the next reconciliation.
        netns: The namespace of `table`.

    Raises:
        ApplyError: The kernel refused, or the sysctl cannot be written: then nothing was sent.
    """
    actual = table.dump()
    changes: list[IpvsChange] = []
    for key in sorted(desired):
        entry, present = desired[key], actual.get(key)
        if present is not None and entry.service.scheduler in HASHING:
            changes += reorder(entry, present)
    if changes:
        with orphans_kept(netns):
            failed = [result for result in table.apply(changes) if result.code]
        if failed:
            raise ApplyError(f"IPVS: order of real servers: {failed[0]}")
    return changes


@contextmanager
def orphans_kept(netns: str | None = None) -> Iterator[None]:
    """Keep connections whose real server is gone, for the length of the body.

    With `expire_nodest_conn=1`, the rule on an edge, a packet of such a connection would end it.
    """
    before = _exchange("0", netns)
    try:
        yield
    finally:
        _exchange(before, netns)


def _exchange(value: str, netns: str | None) -> str:
    with entered(netns):
        try:
            before = _EXPIRE.read_text().strip()
            if before != value:
                _EXPIRE.write_text(value)
        except OSError as error:
            raise ApplyError(
                f"{_EXPIRE}: {error.strerror}; settling the order of real servers needs "
                "CAP_NET_ADMIN and a writable /proc/sys (systemd: ProtectKernelTunables=no)"
            ) from error
    return before
