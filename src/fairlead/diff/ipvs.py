# SPDX-License-Identifier: Apache-2.0
"""Desired and actual IPVS table -> an ordered list of changes. Pure.

Order of the list: new virtual servers, changed ones, removed ones; each in the order of its key.
Within one virtual server: service, additions, changes, removals. What the order of real servers
means, and why it is kept, stands in docs/decisions/0010-mh-insertion-order.md.
"""

from collections.abc import Callable, Iterable

from fairlead.diff.changes import (
    AddDest,
    AddService,
    DelDest,
    DelService,
    IpvsChange,
    SetDest,
    SetService,
)
from fairlead.model.ipvs import (
    NO_SCHEDULER,
    AddressFamily,
    ForwardMethod,
    IpProtocol,
    IpvsDest,
    IpvsEntries,
    IpvsEntry,
    IpvsService,
    SchedulerFlagName,
    ServiceFlag,
    ServiceKey,
)
from fairlead.model.marks import is_own_mark
from fairlead.model.names import Forwarding, IPAddress, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from fairlead.model.schedulers import HASHING

Owned = Callable[[IPAddress], bool]
"""Whether an address belongs to the pools of this edge group; all others are foreign."""


_PROTOCOLS = {
    Protocol.TCP: IpProtocol.TCP,
    Protocol.UDP: IpProtocol.UDP,
    Protocol.SCTP: IpProtocol.SCTP,
}
_METHODS = {
    Forwarding.DSR: int(ForwardMethod.DIRECT),
    Forwarding.TUNNEL: int(ForwardMethod.TUNNEL),
    Forwarding.MASQUERADE: int(ForwardMethod.MASQUERADE),
    Forwarding.POD: int(ForwardMethod.MASQUERADE),
}
_SCHEDULER_FLAGS = {
    SchedulerFlagName.FALLBACK: int(ServiceFlag.SCHED1),
    SchedulerFlagName.PORT: int(ServiceFlag.SCHED2),
}


def service_key(server: VirtualServer) -> ServiceKey:
    """IPVS key of a virtual server of the plan: its mark where it is a range of ports."""
    if server.mark is not None:
        return ServiceKey.of_fwmark(AddressFamily.of(server.address), server.mark)
    return ServiceKey.of(_PROTOCOLS[server.protocol], server.address, server.port)


def desired_entry(server: VirtualServer) -> IpvsEntry:
    """One virtual server of the plan as the kernel should hold it.

    Real servers are brought into canonical order (address, then port) whatever their order in the
    plan, because every edge must insert them alike.
    """
    flags = sum(_SCHEDULER_FLAGS[SchedulerFlagName(name)] for name in server.flags)
    if server.persistence_seconds is not None:
        flags |= ServiceFlag.PERSISTENT
    if server.one_packet:
        flags |= ServiceFlag.ONE_PACKET
    service = IpvsService(
        key=service_key(server),
        scheduler=server.scheduler,
        flags=int(flags),
        timeout=server.persistence_seconds or 0,
        prefix=32 if server.address.version == 4 else 128,
    )
    method = _METHODS[server.forwarding]
    return IpvsEntry(service, _desired_dests(server.real_servers, method))


def desired_from(servers: Iterable[VirtualServer]) -> dict[ServiceKey, IpvsEntry]:
    """The virtual servers of an edge's plan as the table that the kernel should hold."""
    entries = map(desired_entry, servers)
    return {entry.service.key: entry for entry in entries}


def is_ours(key: ServiceKey, owned: Owned) -> bool:
    """Whether a virtual server is one of ours: by its address, or by a mark that is reserved."""
    address = key.ip
    return owned(address) if address is not None else is_own_mark(key.fwmark)


def diff(desired: IpvsEntries, actual: IpvsEntries, owned: Owned | None) -> list[IpvsChange]:
    """Changes that turn `actual` into `desired` and touch nothing foreign.

    Args:
        desired: Every virtual server that should stand; what it names is ours.
        actual: The kernel's table.
        owned: Decides which virtual servers outside of `desired` are removed (see `is_ours`); None
            removes none.

    Returns:
        [] exactly when there is nothing to do. Applying the list twice is never needed.
    """
    added: list[IpvsChange] = []
    changed: list[IpvsChange] = []
    for key in sorted(desired):
        present = actual.get(key)
        if present is None:
            added += _build(desired[key])
        elif present != desired[key]:
            changed += diff_entry(desired[key], present)
    removed = [
        DelService(actual[key].service)
        for key in sorted(actual)
        if owned is not None and key not in desired and is_ours(key, owned)
    ]
    return [*added, *changed, *removed]


def diff_entry(desired: IpvsEntry | None, actual: IpvsEntry | None) -> list[IpvsChange]:
    """Changes for one virtual server; None means that it should not, or does not, exist.

    The order of insertion is left alone here (see `reorder`): a difference in order alone is no
    change. A real server that leaves gets weight 0 before it is removed, so that nothing is
    scheduled to it any more; UDP has no connections to end and is removed at once.
    """
    if desired is None:
        return [] if actual is None else [DelService(actual.service)]
    if actual is None:
        return _build(desired)
    changes: list[IpvsChange] = []
    if desired.service != actual.service:
        changes.append(SetService(desired.service, actual.service))
    if desired.dests != actual.dests:
        changes += _dest_changes(desired, actual)
    return changes


def reorder(desired: IpvsEntry, actual: IpvsEntry) -> list[IpvsChange]:
    """Changes that bring the real servers of a settled entry into canonical order.

    The kernel appends only, so the longest run of the canonical order that already stands first
    stays, and every other real server is removed and added again. Only for entries without any
    other difference, and only by `fairlead.edge.ipvs.settle`, which keeps connections alive
    meanwhile.
    """
    if desired.service != actual.service or desired.dests == actual.dests:
        return []
    if sorted(desired.dests, key=dest_key) != sorted(actual.dests, key=dest_key):
        return []
    moving = desired.dests[_standing(desired.dests, actual.dests) :]
    key = desired.service.key
    changes: list[IpvsChange] = []
    for dest in moving:
        changes += [DelDest(key, dest), AddDest(key, dest)]
    return changes


def dest_key(dest: IpvsDest) -> tuple[int, bytes, int]:
    """Canonical order of real servers: family, address, port. Also their identity."""
    return (len(dest.address), dest.address, dest.port)


def _desired_dests(servers: tuple[RealServer, ...], method: int) -> tuple[IpvsDest, ...]:
    dests = [IpvsDest(real.address.packed, real.port, real.weight, method) for real in servers]
    dests.sort(key=dest_key)
    return tuple(dests)


def _build(entry: IpvsEntry) -> list[IpvsChange]:
    """A new virtual server, its hash table filled once instead of at every real server.

    It is built under the scheduler "none": going from there to the wanted one costs one fill.
    Under `rr` the switch would wait a whole RCU grace period for each service (`ip_vs_edit_service`
    synchronises when a scheduler is replaced), and spread connections round-robin meanwhile.
    """
    service = entry.service
    adds = [AddDest(service.key, dest) for dest in entry.dests]
    if service.scheduler not in HASHING or len(adds) < 2:
        return [AddService(service), *adds]
    bare = IpvsService(
        key=service.key,
        scheduler=NO_SCHEDULER,
        flags=service.flags,
        timeout=service.timeout,
        prefix=service.prefix,
        engine=service.engine,
    )
    return [AddService(bare), *adds, SetService(service)]


def _dest_changes(desired: IpvsEntry, actual: IpvsEntry) -> list[IpvsChange]:
    key = desired.service.key
    wanted = {(dest.address, dest.port): dest for dest in desired.dests}
    present = {(dest.address, dest.port): dest for dest in actual.dests}
    changes: list[IpvsChange] = [
        AddDest(key, dest) for name, dest in wanted.items() if name not in present
    ]
    for name, dest in wanted.items():
        before = present.get(name)
        if before is not None and before != dest:
            changes.append(SetDest(key, dest, before))
    for name, dest in present.items():
        if name not in wanted:
            changes += _removal(key, dest)
    return changes


def _removal(key: ServiceKey, dest: IpvsDest) -> list[IpvsChange]:
    if dest.weight == 0 or key.protocol == IpProtocol.UDP:
        return [DelDest(key, dest)]
    quiet = IpvsDest(
        dest.address,
        dest.port,
        0,
        dest.method,
        dest.upper,
        dest.lower,
        dest.tunnel_type,
        dest.tunnel_port,
        dest.tunnel_flags,
    )
    return [SetDest(key, quiet, dest), DelDest(key, dest)]


def _standing(canonical: tuple[IpvsDest, ...], actual: tuple[IpvsDest, ...]) -> int:
    """Length of the canonical prefix whose relative order in `actual` is already right."""
    position = {(dest.address, dest.port): index for index, dest in enumerate(actual)}
    length = 0
    last = -1
    for dest in canonical:
        index = position[(dest.address, dest.port)]
        if index < last:
            break
        last = index
        length += 1
    return length
