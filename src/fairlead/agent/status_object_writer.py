# SPDX-License-Identifier: Apache-2.0
"""The thread that keeps ServiceL2Status and ServiceBGPStatus objects true.

Level-triggered: at every change and at every resync it lists its own objects and mends what
differs from what this edge announces; so what people edit or delete by hand is repaired, too.
Each edge writes its own objects only; the leader also deletes those of edges that left the
inventory or fell silent. Without the definitions (or the right) it stays quiet and looks again at
the next resync.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_network

from fairlead.agent.attempts import Attempts, Outcome
from fairlead.agent.heartbeat import BEAT_SECONDS, Heartbeat, Liveness
from fairlead.agent.worker import Worker
from fairlead.cluster.status_objects import StatusKind, StatusObjectStore, StatusRow
from fairlead.edge.vips import StandingVips
from fairlead.model.names import IPAddress, IPNetwork, ObjectKey
from fairlead.model.plan import BgpAnnouncement, VirtualServer

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.1  # a failover moves many addresses one after the other
_PAUSE_SECONDS = 0.005  # between writes: thousands of them must not crowd out anything


Rows = dict[tuple[StatusKind, ObjectKey], StatusRow]


def status_rows(
    edge: str,
    servers: Iterable[VirtualServer],
    vips: StandingVips,
    interfaces: Mapping[IPAddress, Iterable[str]],
    routes: Iterable[BgpAnnouncement],
) -> Rows:
    """What this edge announces, a row for each Service and way.

    Args:
        edge: Name of this edge.
        servers: Virtual servers, with the Services that they are of.
        vips: VIPs that stand here.
        interfaces: Where each VIP of the LAN answers.
        routes: Exported prefixes; one may cover many VIPs.
    """
    peers = _Peers(routes)
    found: dict[tuple[StatusKind, ObjectKey], set[str]] = {}
    for server in servers:
        if server.address in vips.lan:
            found.setdefault((StatusKind.L2, server.service), set()).update(
                interfaces.get(server.address, ())
            )
        if server.address in vips.link:
            names = found.setdefault((StatusKind.BGP, server.service), set())
            names.update(peers.of(server.address))
    return {
        (kind, service): StatusRow(kind, edge, service, tuple(sorted(names)))
        for (kind, service), names in found.items()
    }


class _Peers:
    """Peers by address: most prefixes are single addresses, and found at once."""

    def __init__(self, routes: Iterable[BgpAnnouncement]) -> None:
        self._single: dict[IPAddress, set[str]] = {}
        self._wide: list[tuple[IPNetwork, tuple[str, ...]]] = []
        for route in routes:
            network = ip_network(route.prefix)
            if network.prefixlen == network.max_prefixlen:
                self._single.setdefault(network.network_address, set()).update(route.peers)
            else:
                self._wide.append((network, route.peers))

    def of(self, address: IPAddress) -> set[str]:
        """Peers that are told about an address."""
        covering = {name for net, names in self._wide if address in net for name in names}
        return self._single.get(address, set()) | covering


class StatusObjectWriter:
    """Makes status objects true; `look` may be called from any thread, the rest runs in its own.

    Args:
        rows: What should be told now; asked in the writer's thread, since it walks all VIPs.
    """

    def __init__(
        self,
        store: StatusObjectStore,
        heartbeat: Heartbeat,
        liveness: Liveness,
        *,
        rows: Callable[[], Rows],
        edge: str,
        edges: Sequence[str],
        leading: Callable[[], bool],
    ) -> None:
        self._store, self._heartbeat, self._liveness = store, heartbeat, liveness
        self._edge, self._edges, self._leading = edge, edges, leading
        self._rows = rows
        self._attempts = Attempts(log, "status objects")
        self._beats = Attempts(log, "sign of life")
        self._worker = Worker(
            "status-objects",
            lambda: self._attempts.whole_pass(self._pass),
            gather=_GATHER_SECONDS,
            idle_seconds=BEAT_SECONDS / 2,
            meanwhile=self._beat,
        )

    def start(self) -> None:
        """Begin to write."""
        self._worker.start()

    def stop(self) -> None:
        """End after the pass under way; the objects stay, as the announcements do."""
        self._worker.stop()

    def look(self) -> None:
        """Compare soon."""
        self._worker.look()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return self._worker.idle

    def _beat(self) -> None:
        if self._beats.outcome(self._heartbeat.beat) is Outcome.DONE:
            self._beats.all_well()

    def _pass(self) -> bool:
        """Compare and write; False where an object changed meanwhile."""
        self._beat()
        wanted = self._rows()
        done = [
            self._make_true(kind, {key: row for (of, key), row in wanted.items() if of is kind})
            for kind in StatusKind
        ]
        return all(done) and (not self._leading() or self._clean())

    def _make_true(self, kind: StatusKind, wanted: dict[ObjectKey, StatusRow]) -> bool:
        found = self._store.own(kind, self._edge)
        if found is None:
            return True  # no such definition: nobody wants to know
        writes: list[Callable[[], None]] = []
        missing = dict(wanted)
        for one in found:
            row = missing.get(one.service)
            if row is None or not one.is_about(row):
                writes.append(partial(self._store.delete, kind, one))
                continue
            del missing[one.service]  # a second one about the same Service is deleted
            if not one.tells(row):
                writes.append(partial(self._store.mend, one, row))
        writes += (partial(self._store.create, row) for row in missing.values())
        return self._write(writes)

    def _clean(self) -> bool:
        """Delete objects of edges that left the inventory or fell silent."""
        others = [edge for edge in self._edges if edge != self._edge]
        alive = [self._edge, *self._liveness.alive(others)]
        absent = [(kind, one) for kind in StatusKind for one in self._store.of_others(kind, alive)]
        for _, one in absent:
            log.info(
                "status object of an absent edge is deleted",
                extra={"fields": {"object": one.metadata.name, "service": one.service}},
            )
        return self._write([partial(self._store.delete, kind, one) for kind, one in absent])

    def _write(self, writes: Iterable[Callable[[], None]]) -> bool:
        """Write objects one after the other; False where one must be written again."""
        complete = True
        for write in writes:
            complete &= self._attempts.one_of_many(write)
            self._beat()  # a long pass must not look like death
            time.sleep(_PAUSE_SECONDS)
        return complete
