# SPDX-License-Identifier: Apache-2.0
"""Puts the agent together: configuration in, threads running, main loop until SIGTERM."""

import logging
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import yaml

from fairlead import __version__
from fairlead.agent.announcer import Announcer
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
    HeldChanged,
    LeadershipChanged,
    Stop,
    WriteConflict,
)
from fairlead.agent.metrics import Metrics
from fairlead.agent.owned import OwnedAddresses
from fairlead.agent.planning import EdgePlanning
from fairlead.agent.pool_writer import PoolReport, PoolWriter, pool_reports
from fairlead.agent.ports import Ports
from fairlead.agent.publisher import Publisher
from fairlead.agent.service_events import (
    AssignmentNotices,
    FailureNotices,
    missing_failures,
    planned_failures,
)
from fairlead.agent.sessions import SessionWatch
from fairlead.agent.status_object_writer import ReportWriter, Rows, report_rows
from fairlead.agent.status_report import Reporter, Sources, readings
from fairlead.agent.steps import EdgePaths, EdgeSteps
from fairlead.agent.wanted import Held, interfaces_of
from fairlead.cluster.client import KubeApi
from fairlead.cluster.configuration_states import ConfigStateStore
from fairlead.cluster.feed import ClusterFeed
from fairlead.cluster.lease import Election, KubeLeaseStore
from fairlead.cluster.status_objects import ReportStore
from fairlead.cluster.writes import EventRecorder
from fairlead.edge.ipvs import IpvsTable
from fairlead.edge.links import Links
from fairlead.edge.process import DaemonWatch
from fairlead.edge.systemd import Notifier
from fairlead.model.errors import FairleadError, InventoryError
from fairlead.model.inventory import Edge, Inventory, ServiceSync
from fairlead.model.names import Announce, ObjectKey
from fairlead.snapshot.inventory import inventory_from_dict

log = logging.getLogger(__name__)


class Agent:
    """One edge's agent; `run` returns after SIGTERM and leaves everything in place."""

    def __init__(self, config: AgentConfig) -> None:
        """Read inventory and kubeconfig; nothing runs yet.

        Raises:
            FairleadError: Inventory or kubeconfig can't be used.
        """
        self._config = config
        self._inventory = _read_inventory(config.inventory)
        self._edge = _own_edge(self._inventory, config)
        self._live = self._inventory.service_sync is ServiceSync.LIVE
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._notifier = Notifier()
        self._died: str | None = None
        self._api = KubeApi(config.kubeconfig)
        self._lock = SharedEdgeLock(config.runtime_dir / "edge.lock")
        self._metrics = Metrics()
        self._planning = EdgePlanning(self._inventory, self._edge)
        self._bgp = self._live and Announce.BGP in self._inventory.announce
        self._feed = ClusterFeed(
            self._api, self._inventory.pool_namespace, self._queue, secrets=self._bgp
        )
        self._sessions = SessionWatch(lambda: self._planning.ways.peers, config.bird_control)
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
            reports=self._pool_reports,
        )
        self._announcer = self._make_announcer()
        self._notices = AssignmentNotices(self._edge.name, self._planning.service_ref)
        self._failures = FailureNotices(self._planning.service_ref)
        self._reports = self._make_report_writer()
        self._states = self._make_state_writer()
        self._loop = self._make_loop()

    # -- parts ------------------------------------------------------------------------------

    def _make_elector(self) -> Elector:
        config = self._config
        store = KubeLeaseStore(self._api, config.namespace, config.lease)
        election = Election(store, self._edge.name)
        return Elector(election, lambda leading: self._queue.put(LeadershipChanged(leading)))

    def _make_announcer(self) -> Announcer:
        config = self._config

        def steps() -> EdgeSteps:
            paths = EdgePaths(
                link=config.bgp_link,
                vrrp_conf=config.vrrp_conf,
                keepalived_pid=config.keepalived_pid,
                vrrp_loaded=config.runtime_dir / "vrrp.loaded",
                bird_conf=config.bird_conf,
                bird_control=config.bird_control,
                bird_loaded=config.runtime_dir / "bird.loaded",
            )
            return EdgeSteps(Links(), paths)

        return Announcer(
            steps,
            self._lock,
            DaemonWatch(config.keepalived_pid, "keepalived"),
            done=lambda generation: self._queue.put(AnnouncementDone(generation)),
            held=lambda held: self._queue.put(HeldChanged(held)),
            resync=config.resync_seconds,
        )

    def _lease_of(self, edge: str) -> KubeLeaseStore:
        return KubeLeaseStore(self._api, self._config.namespace, f"fairlead-edge-{edge}")

    def _make_report_writer(self) -> ReportWriter:
        return ReportWriter(
            ReportStore(self._api, self._inventory.pool_namespace),
            Heartbeat(self._lease_of(self._edge.name), self._edge.name),
            Liveness(self._lease_of),
            rows=self._report_rows,
            edge=self._edge.name,
            edges=[edge.name for edge in self._inventory.edges],
            leading=self._elector.is_leader,
        )

    def _make_state_writer(self) -> ConfigStateWriter:
        return ConfigStateWriter(
            ConfigStateStore(self._api, self._inventory.pool_namespace),
            Liveness(self._lease_of),
            findings=self._findings,
            edge=self._edge.name,
            edges=[edge.name for edge in self._inventory.edges],
            leading=self._elector.is_leader,
        )

    def _make_loop(self) -> Loop:
        config = self._config
        kernel = KernelTable(IpvsTable, self._lock, members_only=not self._live)
        sources = Sources(
            edge=self._edge.name,
            service_sync=self._inventory.service_sync.value,
            watches=lambda: self._feed.states,
            announce=self._announcer.state,
            writes=self._publisher.counts,
            backlog=lambda: self._publisher.backlog,
            holder=lambda: self._elector.holder,
            usage=self._planning.usage,
            pool_errors=self._planning.pool_errors,
            vrrp=lambda: self._planning.ways.vrrp,
            sessions=lambda: self._sessions.reports,
            bird=lambda: self._sessions.bird,
        )
        reporter = Reporter(config.status_file, sources)

        def report(loop: Loop) -> None:
            reporter(loop)
            self._states.glance(loop.state.resyncs)

        ports = Ports(
            kernel=kernel,
            planning=self._planning,
            owned=OwnedAddresses(self._inventory),
            announce=self._announcer.want,
            decide=self._decide,
            conflict=self._decide_again,
            held=self._tell_held,
            latency=self._metrics.latency.observe,
            report=report,
            notifier=self._notifier,
        )
        live = self._live and config.announce
        loop = Loop(self._queue, self._feed.kinds, ports, live=live, resync=config.resync_seconds)
        if (listen := config.metrics_address) is not None:
            self._metrics.serve(listen, lambda: readings(loop, sources))
        return loop

    # -- what the loop calls ----------------------------------------------------------------

    def _decide(self, loop: Loop) -> None:
        if self._live and loop.state.leading:
            decisions = self._planning.take_decisions()
            if decisions:
                self._publisher.offer(decisions)
            touched = self._planning.take_pool_news()
            if touched is not None:
                self._pool_writer.look(touched)

    def _pool_reports(self) -> list[PoolReport]:
        planning = self._planning
        errors = (*list(self._loop.state.errors.values()), *planning.pool_errors())
        namespace = self._inventory.pool_namespace
        return pool_reports(planning.pool_index(), namespace, planning.usage(), errors)

    def _decide_again(self, key: ObjectKey) -> None:
        if (decision := self._planning.decision(key)) is not None:
            self._publisher.offer([decision])

    def _tell_held(self, loop: Loop, held: Held) -> None:
        if self._live and loop.state.synced:
            wanted, ways = loop.wanted(), self._planning.ways
            self._publisher.notify(self._notices.news(wanted, held))
            missing = missing_failures(self._edge.name, ways.vrrp, wanted, held.missing)
            failures = (*planned_failures(ways.failed), *missing)
            self._publisher.notify(self._failures.news(failures))
            self._reports.look()

    def _report_rows(self) -> Rows:
        loop, ways = self._loop, self._planning.ways
        interfaces = {vip: interfaces_of(one) for one in ways.vrrp for vip in one.addresses}
        return report_rows(self._edge.name, loop.wanted(), loop.state.held, interfaces, ways.routes)

    def _findings(self) -> Findings | None:
        state, announced = self._loop.state, self._announcer.state
        wrong = (
            *list(state.errors.values()),
            *self._planning.pool_errors(),
            *announced.bird_errors,
        )
        return findings(wrong, self._feed.states, synced=state.synced)

    def _mirror_namespace(self) -> str | None:
        """`metallb-system` (or what pools are read from), when the cluster has it."""
        name = self._inventory.pool_namespace
        return name if self._planning.has_namespace(name) else None

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
            extra={"fields": {"version": __version__, "edge": self._edge.name,
                              "service_sync": self._inventory.service_sync.value}},
        )  # fmt: skip
        # A thread that died of a defect must not be missed quietly: the whole agent ends, leaving
        # everything in place, and systemd starts it anew.
        threading.excepthook = self._on_thread_death
        self._feed.start()
        if self._live:
            self._elector.start()
            self._publisher.start()
            self._pool_writer.start()
            if self._config.announce:
                self._announcer.start()
                self._reports.start()
                self._states.start()
            if self._bgp:
                self._sessions.start()
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
        if self._live:
            self._publisher.stop()
            self._pool_writer.stop()
            self._announcer.stop()
            self._sessions.stop()
            self._reports.stop()
            self._states.stop()
            self._elector.stop()

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


def _read_inventory(path: Path) -> Inventory:
    try:
        return inventory_from_dict(yaml.safe_load(path.read_bytes()))
    except OSError as error:
        raise AgentConfigError(f"inventory {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise AgentConfigError(f"inventory {path}: not YAML: {error}") from error
    except InventoryError as error:
        raise AgentConfigError(f"{path}: {error}") from error


def _own_edge(inventory: Inventory, config: AgentConfig) -> Edge:
    for edge in inventory.edges:
        if edge.name == config.edge:
            return edge
    names = ", ".join(edge.name for edge in inventory.edges) or "none"
    raise AgentConfigError(
        f"edge: {config.edge!r} is not among the edges of {config.inventory}: {names}"
    )
