# SPDX-License-Identifier: Apache-2.0
"""What the agent tells about itself: status.json for `fairlead status`, readings for Prometheus."""

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from fairlead import __version__
from fairlead.agent.announcer import AnnounceState
from fairlead.agent.loop import Loop
from fairlead.agent.metrics import Announced, Readings
from fairlead.agent.publisher import PublishCounts
from fairlead.agent.wanted import Held
from fairlead.cluster.watch import WatchState
from fairlead.edge.status_file import (
    SessionReport,
    StatusDocument,
    VrrpReport,
    WatchReport,
    write_status_file,
)
from fairlead.model.names import IPAddress
from fairlead.model.plan import ObjectError, VirtualServer, VrrpInstance
from fairlead.planner.usage import PoolUsage

_MAX_SECONDS = 10.0
_MOST_ERRORS = 200  # of errors listed one by one


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a report is read from; every callable is safe from any thread."""

    edge: str
    service_sync: str
    watches: Callable[[], tuple[WatchState, ...]]
    announce: AnnounceState
    writes: PublishCounts
    backlog: Callable[[], int]
    holder: Callable[[], str]
    usage: Callable[[], tuple[PoolUsage, ...]]
    pool_errors: Callable[[], tuple[ObjectError, ...]]
    vrrp: Callable[[], tuple[VrrpInstance, ...]] = tuple
    sessions: Callable[[], tuple[SessionReport, ...]] = tuple
    bird: Callable[[], bool | None] = lambda: None


class Reporter:
    """Writes status.json when something changed, and at the least every ten seconds."""

    def __init__(self, path: Path, sources: Sources) -> None:
        self._path, self._sources = path, sources
        self._started, self._last, self._shown = time.time(), 0.0, b""

    def __call__(self, loop: Loop) -> None:
        """Write it if something changed; called about once a second."""
        now = time.monotonic()
        overdue = now - self._last >= _MAX_SECONDS
        document = self.document(loop)
        shown = msgspec.json.encode(msgspec.structs.replace(document, written=0.0))
        if shown == self._shown and not overdue:
            return
        self._last, self._shown = now, shown
        with suppress(OSError):  # a full disk must not stop the traffic
            write_status_file(self._path, document)

    def document(self, loop: Loop) -> StatusDocument:
        """The present state."""
        src, state = self._sources, loop.state
        wanted = loop.wanted()
        return StatusDocument(
            version=__version__,
            edge=src.edge,
            pid=os.getpid(),
            started=self._started,
            written=time.time(),
            synced=state.synced,
            service_sync=src.service_sync,
            leader=state.leading,
            lease_holder=src.holder(),
            resyncs=state.resyncs,
            last_sync=state.last_sync,
            trouble=state.trouble,
            announce_error=src.announce.error,
            keepalived=src.announce.keepalived,
            vips_on_lan=_texts(state.held.lan),
            vips_on_link=_texts(state.held.bgp),
            virtual_servers=len(wanted),
            real_servers=sum(len(server.real_servers) for server in wanted),
            write_errors=src.writes.errors,
            write_error=src.writes.last_error,
            failures=loop.failures(),
            pools=src.usage(),
            errors=(
                *list(state.errors.values())[:_MOST_ERRORS],
                *src.pool_errors(),
                *src.announce.bird_errors,
            ),
            watches={watch.kind: _watch(watch) for watch in src.watches()},
            missing_interfaces=tuple(sorted(src.announce.missing)),
            vrrp=tuple(_instance(one) for one in src.vrrp()),
            bird=src.bird(),
            sessions=src.sessions(),
        )


def readings(loop: Loop, sources: Sources) -> Readings:
    """The present state as the metrics tell it."""
    state, wanted = loop.state, loop.wanted()
    counts = loop.counts()
    writes = sources.writes
    return Readings(
        edge=sources.edge,
        synced=state.synced,
        leader=state.leading,
        virtual_servers=len(wanted),
        real_servers=sum(len(server.real_servers) for server in wanted),
        services=len({server.service for server in wanted}),
        outcomes=dict(counts.outcomes),
        changes=dict(counts.changes),
        failures=len(loop.failures()),
        object_errors=dict(
            Counter(kind for kind, _ in list(state.errors))
            + Counter(error.kind for error in sources.pool_errors())
            + Counter(error.kind for error in sources.announce.bird_errors)
        ),
        announce_changes=sources.announce.changes,
        announce_error=bool(sources.announce.error),
        keepalived=sources.announce.keepalived,
        bird=sources.bird(),
        sessions=sources.sessions(),
        resyncs=state.resyncs,
        last_sync=state.last_sync,
        writes={
            "status": writes.statuses,
            "event": writes.events,
            "refused": writes.refused,
            "error": writes.errors,
        },
        backlog=sources.backlog(),
        watches=sources.watches(),
        pools=sources.usage(),
        announced=_announced(wanted, state.held),
    )


def _instance(one: VrrpInstance) -> VrrpReport:
    return VrrpReport(
        instance=one.instance,
        interface=one.interface,
        advertised_address=one.advertised_address,
    )


def _watch(state: WatchState) -> WatchReport:
    return WatchReport(
        connected=state.following,
        listed=state.listed,
        served=state.served,
        events=state.events,
        relists=state.relists,
        errors=state.errors,
        last_error=state.last_error,
    )


def _announced(wanted: list[VirtualServer], held: Held) -> tuple[Announced, ...]:
    rows = set()
    for server in wanted:
        for protocol, addresses in (("layer2", held.lan), ("bgp", held.bgp)):
            if server.address in addresses:
                rows.add((str(server.service), protocol, str(server.address)))
    return tuple(Announced(*row) for row in sorted(rows))


def _texts(addresses: frozenset[IPAddress]) -> tuple[str, ...]:
    ordered = sorted(addresses, key=lambda address: (address.version, int(address)))
    return tuple(str(address) for address in ordered)
