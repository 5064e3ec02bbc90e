# SPDX-License-Identifier: Apache-2.0
"""Puts the agent together: configuration in, threads running, main loop until SIGTERM."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from types import FrameType
from typing import Any, Protocol

from fairlead import __version__
from fairlead.agent.announcer import Announcer, Tools
from fairlead.agent.config import AgentConfig, AgentConfigError
from fairlead.agent.configuration_state import Findings, findings
from fairlead.agent.configuration_state_writer import ConfigStateWriter
from fairlead.agent.edgelock import SharedEdgeLock
from fairlead.agent.elector import Elector
from fairlead.agent.heartbeat import Heartbeat, Liveness
from fairlead.agent.kernel import KernelTable
from fairlead.agent.loop import Loop
from fairlead.agent.messages import (
    AnnouncementDone,
    DumpState,
    LeadershipChanged,
    Stop,
    VipsChanged,
    WriteConflict,
)
from fairlead.agent.metrics import Metrics
from fairlead.agent.planning import EdgePlanning
from fairlead.agent.pool_writer import PoolState, PoolWriter, pool_states
from fairlead.agent.ports import Ports
from fairlead.agent.publisher import Publisher
from fairlead.agent.service_events import (
    AssignmentNotices,
    FailureNotices,
    missing_failures,
    planned_failures,
)
from fairlead.agent.sessions import SessionWatch
from fairlead.agent.status_object_writer import Rows, StatusObjectWriter, status_rows
from fairlead.agent.status_writer import StatusWriter
from fairlead.agent.view import AgentView, Surroundings
from fairlead.cluster.client import KubeApi
from fairlead.cluster.configuration_states import ConfigStateStore
from fairlead.cluster.feed import ClusterFeed
from fairlead.cluster.lease import Election, KubeLeaseStore
from fairlead.cluster.manifests import load_inventory
from fairlead.cluster.status_objects import StatusObjectStore
from fairlead.cluster.writes import EventRecorder
from fairlead.edge.ipvs import IpvsTable
from fairlead.edge.links import Links
from fairlead.edge.ownership import OwnedVips
from fairlead.edge.parts import BirdPaths, EdgePaths, VrrpPaths, edge_parts
from fairlead.edge.process import DaemonWatch
from fairlead.edge.systemd import Notifier
from fairlead.edge.vips import LinkVipReader, StandingVips
from fairlead.model.errors import FairleadError
from fairlead.model.groups import named
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import Announce, ObjectKey

log = logging.getLogger(__name__)


class _Thread(Protocol):
    """What runs beside the loop."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End soon."""


class Agent:
    """One edge's agent; `run` returns after SIGTERM and leaves everything in place."""

    def __init__(self, config: AgentConfig) -> None:
        """Read inventory and kubeconfig; nothing runs yet.

        Raises:
            FairleadError: Inventory or kubeconfig can't be used.
        """
        self._config = config
        self._inventory = load_inventory(str(config.inventory))
        self._edge = _own_edge(self._inventory, config)
        self._view = AgentView(edge=self._edge.name)
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._notifier = Notifier()
        self._died: str | None = None
        self._api = KubeApi(config.kubeconfig)
        self._lock = SharedEdgeLock(config.runtime_dir / "edge.lock")
        self._metrics = Metrics()
        self._planning = EdgePlanning(self._inventory, self._edge)
        self._bgp = Announce.BGP in self._inventory.announce
        self._feed = ClusterFeed(
            self._api, self._inventory.pool_namespace, self._queue, secrets=self._bgp
        )
        self._sessions = SessionWatch(lambda: self._view.peers, config.bird_control)
        self._elector = self._make_elector()
        self._publisher = Publisher(
            self._api,
            EventRecorder(self._api, self._edge.name),
            leading=self._elector.is_leader,
            conflict=lambda key: self._queue.put(WriteConflict(key)),
            mirror_namespace=self._mirror_namespace,
        )
        self._pool_writer = PoolWriter(
            self._api,
            EventRecorder(self._api, self._edge.name),
            leading=self._elector.is_leader,
            states=self._pool_states,
        )
        self._announcer = self._make_announcer()
        self._notices = AssignmentNotices(self._edge.name, self._planning.service_ref)
        self._failures = FailureNotices(self._planning.service_ref)
        self._status_objects = self._make_status_object_writer()
        self._states = self._make_state_writer()
        self._status = StatusWriter(config.status_file, lambda: self._view)
        self._loop = self._make_loop()

    # -- parts ------------------------------------------------------------------------------

    def _make_elector(self) -> Elector:
        config = self._config
        store = KubeLeaseStore(
            self._api, config.namespace, named(config.lease, self._inventory.group)
        )
        election = Election(store, self._edge.name)
        return Elector(election, lambda leading: self._queue.put(LeadershipChanged(leading)))

    def _make_announcer(self) -> Announcer:
        config = self._config
        paths = EdgePaths(
            vrrp=VrrpPaths(
                config.vrrp_conf, config.keepalived_pid, config.runtime_dir / "vrrp.loaded"
            ),
            bird=BirdPaths(
                config.bird_conf, config.bird_control, config.runtime_dir / "bird.loaded"
            ),
        )

        @contextmanager
        def tools() -> Iterator[Tools]:
            with Links() as links:
                yield Tools(edge_parts(links, paths), LinkVipReader(links, paths.link))

        return Announcer(
            tools,
            self._lock,
            DaemonWatch(config.keepalived_pid, "keepalived"),
            done=lambda generation, complete: self._queue.put(
                AnnouncementDone(generation, complete)
            ),
            vips=lambda vips: self._queue.put(VipsChanged(vips)),
            bgp_up=lambda: any(session.up for session in self._sessions.reports),
            resync=config.resync_seconds,
        )

    def _lease_of(self, edge: str) -> KubeLeaseStore:
        base = named("fairlead-edge", self._inventory.group)
        return KubeLeaseStore(self._api, self._config.namespace, f"{base}-{edge}")

    def _make_status_object_writer(self) -> StatusObjectWriter:
        return StatusObjectWriter(
            StatusObjectStore(self._api, self._inventory.pool_namespace, self._inventory.group),
            Heartbeat(self._lease_of(self._edge.name), self._edge.name),
            Liveness(self._lease_of),
            rows=self._status_rows,
            edge=self._edge.name,
            edges=[edge.name for edge in self._inventory.edges],
            leading=self._elector.is_leader,
        )

    def _make_state_writer(self) -> ConfigStateWriter:
        return ConfigStateWriter(
            ConfigStateStore(
                self._api, self._inventory.pool_namespace, group=self._inventory.group
            ),
            Liveness(self._lease_of),
            findings=self._findings,
            edge=self._edge.name,
            edges=[edge.name for edge in self._inventory.edges],
            leading=self._elector.is_leader,
            group=self._inventory.group,
        )

    def _make_loop(self) -> Loop:
        config = self._config
        ports = Ports(
            kernel=KernelTable(IpvsTable, self._lock),
            planning=self._planning,
            owned=OwnedVips.of(self._inventory),
            announce=self._announcer.announce,
            decide=self._decide,
            conflict=self._decide_again,
            latency=self._metrics.latency.observe,
            around=self._around,
            publish=self._publish,
            notifier=self._notifier,
        )
        return Loop(
            self._queue,
            self._feed.kinds,
            ports,
            announces=config.announce,
            resync=config.resync_seconds,
        )

    # -- what the loop calls ----------------------------------------------------------------

    def _decide(self) -> None:
        if decisions := self._planning.take_decisions():
            self._publisher.offer(decisions)

    def _decide_again(self, key: ObjectKey) -> None:
        if (decision := self._planning.decision(key)) is not None:
            self._publisher.offer([decision])

    def _around(self) -> Surroundings:
        counts = self._publisher.counts
        return Surroundings(
            watches=tuple(replace(state) for state in self._feed.states),
            announce=self._announcer.state,
            sessions=self._sessions.reports,
            bird=self._sessions.bird,
            writes={
                "status": counts.statuses,
                "event": counts.events,
                "refused": counts.refused,
                "error": counts.errors,
            },
            write_error=counts.last_error,
            backlog=self._publisher.backlog,
            lease_holder=self._elector.holder,
            kubeconfig_error=self._api.kubeconfig_error,
        )

    def _publish(self, view: AgentView) -> None:
        """Swap the view, then wake the writers that may have something to say about it."""
        before, self._view = self._view, view
        if (touched := self._planning.take_pool_news()) is not None:
            self._pool_writer.look(touched)
        if view.synced and view.vips is not None:
            self._tell_services(before, view, view.vips)
        self._states.look(view.resyncs)
        self._status.look()

    def _tell_services(self, before: AgentView, view: AgentView, vips: StandingVips) -> None:
        """Events and status objects about what this edge announces, or can't."""
        told = (before.synced, before.vips, before.failed, before.resyncs)
        if told == (view.synced, view.vips, view.failed, view.resyncs):
            return
        servers = view.virtual_servers
        self._publisher.notify(self._notices.changes(servers, vips))
        lost = missing_failures(self._edge.name, view.vrrp, servers, vips.missing)
        self._publisher.notify(self._failures.changes((*planned_failures(view.failed), *lost)))
        self._status_objects.look()

    # -- what writers ask in their threads: the view, and nothing else ------------------------

    def _pool_states(self) -> list[PoolState]:
        view = self._view
        namespace = self._inventory.pool_namespace
        return pool_states(view.pools, namespace, view.usage, view.errors)

    def _status_rows(self) -> Rows:
        view = self._view
        return status_rows(
            view.edge, view.virtual_servers, view.standing, view.interfaces(), view.routes
        )

    def _findings(self) -> Findings | None:
        view = self._view
        return findings(view.all_errors, view.around.watches, synced=view.synced)

    def _mirror_namespace(self) -> str | None:
        """`metallb-system` (or what pools are read from), when the cluster has it."""
        return self._inventory.pool_namespace if self._view.has_pool_namespace else None

    # -- life -------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        # A thread that computes gives way within 0.5 ms instead of 5, for the loop's sake.
        sys.setswitchinterval(0.0005)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_dump)
        log.info(
            "agent starts",
            extra={"fields": {"version": __version__, "edge": self._edge.name}},
        )
        # A thread that died of a defect must not be missed quietly: the whole agent ends, leaving
        # everything in place, and systemd starts it anew.
        threading.excepthook = self._on_thread_death
        self._feed.start()
        for thread in self._threads():
            thread.start()
        if (listen := self._config.metrics_address) is not None:
            self._metrics.serve(listen, lambda: self._view)
        # Ready means "at work", not "in step": after a boot without API server traffic must not
        # wait for a unit that waits for it. `synced` in status.json tells the rest.
        self._notifier.ready()
        self._loop.run()
        self._stop()
        self._metrics.close()
        self._notifier.close()
        if self._died is not None:
            raise FairleadError(f"thread {self._died} died of a defect")

    def _stop(self) -> None:
        self._notifier.stopping()
        log.info("agent stops; kernel and announcements stay as they are")
        self._feed.stop()
        for thread in self._threads():
            thread.stop()

    def _threads(self) -> tuple[_Thread, ...]:
        """Everything beside watches and loop, in the order of starting and stopping."""
        config = self._config
        return (
            *((self._announcer, self._status_objects, self._states) if config.announce else ()),
            *((self._sessions,) if self._bgp else ()),
            self._publisher,
            self._pool_writer,
            self._status,
            self._elector,
        )

    def _on_thread_death(self, args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        error = args.exc_value
        log.critical("thread %s died", name, exc_info=error or False)
        self._died = name
        self._queue.put(Stop())

    # SimpleQueue.put is reentrant, so a signal handler may use it.

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._queue.put(Stop())

    def _on_dump(self, _number: int, _frame: FrameType | None) -> None:
        self._queue.put(DumpState())


def _own_edge(inventory: Inventory, config: AgentConfig) -> Edge:
    for edge in inventory.edges:
        if edge.name == config.edge:
            return edge
    names = ", ".join(edge.name for edge in inventory.edges) or "none"
    raise AgentConfigError(
        f"edge: {config.edge!r} is not among the edges of {config.inventory}: {names}"
    )
