# SPDX-License-Identifier: Apache-2.0
"""The Prometheus endpoint.

What the loop counts anyway is read at scrape time by a collector, so that an event pays for one
histogram observation and nothing else. Names `metallb_*` are those that dashboards of MetalLB know.
"""

import logging
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from fairlead import __version__
from fairlead.agent.configuration_state import CONFIGURATION
from fairlead.agent.view import AgentView
from fairlead.cluster.freshness import stale
from fairlead.cluster.watch import WatchState
from fairlead.edge.status_file import SessionReport
from fairlead.planner.usage import PoolUsage

log = logging.getLogger(__name__)

_BUCKETS = (
    *(0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)


class Metrics:
    """Registry of one agent, and the histogram that the loop feeds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._server: WSGIServer | None = None
        ProcessCollector(registry=self.registry)
        self.latency = Histogram(
            "fairlead_event_to_kernel_seconds",
            "From the watch event on the socket until the change stood in the kernel.",
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def close(self) -> None:
        """Close the endpoint."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def serve(self, address: tuple[str, int], read: Callable[[], AgentView]) -> None:
        """Open the endpoint; one that is taken is logged and does not stop the agent."""
        self.registry.register(AgentCollector(read))
        try:
            server, _ = start_http_server(address[1], address[0], registry=self.registry)
            self._server = server
        except OSError as error:
            log.error("metrics endpoint %s:%d: %s", *address, error.strerror)  # noqa: TRY400


class AgentCollector(Collector):
    """Turns readings into metric families."""

    def __init__(self, read: Callable[[], AgentView]) -> None:
        """Use `read` for the present view at each scrape."""
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        view = self._read()
        info = {"version": __version__, "edge": view.edge, "python": platform.python_version()}
        yield InfoMetricFamily("fairlead_build", "Version of the agent.", value=info)
        yield from _kernel(view)
        yield from _cluster(view)
        yield from _announcements(view)
        yield from _metallb(view)
        yield from _sessions(view)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _kernel(v: AgentView) -> Iterator[Metric]:
    yield _gauge("fairlead_virtual_servers", "Wanted virtual servers.", len(v.virtual_servers))
    yield _gauge("fairlead_real_servers", "Real servers of all of them.", _real_servers(v))
    yield _counters("fairlead_ipvs_syncs", "Reconciliations.", "outcome", v.outcomes)
    yield _counters("fairlead_ipvs_changes", "Changes sent to the kernel.", "change", v.changes)
    yield _gauge(
        "fairlead_ipvs_failing", "Virtual servers that the kernel refuses.", len(v.failures)
    )
    yield CounterMetricFamily("fairlead_resyncs", "Full comparisons.", value=v.resyncs)
    yield _gauge("fairlead_last_sync_timestamp_seconds", "Last full comparison.", v.last_sync)


def _cluster(v: AgentView) -> Iterator[Metric]:
    yield _gauge("fairlead_synced", "1 once complete lists were applied.", v.synced)
    now = time.monotonic()
    yield _gauge("fairlead_in_step", "1 while every kind is known.", not v.out_of_step(now))
    error = bool(v.around.kubeconfig_error)
    yield _gauge("fairlead_kubeconfig_error", "1 while the file can't be used.", error)
    old = GaugeMetricFamily("fairlead_stale_seconds", "Since a kind is not known.", labels=["kind"])
    for one in stale(v.around.watches, now):
        old.add_metric([one.kind], one.seconds)
    yield old
    yield _gauge("fairlead_leader", "1 on the edge that writes Service status.", v.leading)
    yield _gauge("fairlead_services", "Services of ours.", _services(v))
    yield _counters("fairlead_cluster_writes", "Writes to the cluster.", "kind", v.around.writes)
    yield _gauge("fairlead_cluster_write_backlog", "Writes that wait.", v.around.backlog)
    errors = GaugeMetricFamily(
        "fairlead_object_errors", "Objects that could not be used.", labels=["kind"]
    )
    for kind, count in sorted(_errors_by_kind(v).items()):
        errors.add_metric([kind], count)
    yield errors
    rows: tuple[tuple[str, str, type[Metric], Callable[[WatchState], float]], ...] = (
        ("connected", "1 while the watch stands.", GaugeMetricFamily, lambda w: w.following),
        ("events", "Events received.", CounterMetricFamily, lambda w: w.events),
        ("relists", "Lists after an expired version.", CounterMetricFamily, lambda w: w.relists),
        ("reconnects", "Watches that ended.", CounterMetricFamily, lambda w: w.reconnects),
        ("errors", "Failed requests.", CounterMetricFamily, lambda w: w.errors),
        (
            "silence_seconds",
            "Since the last event or bookmark.",
            GaugeMetricFamily,
            lambda w: now - w.last_word if w.last_word else 0.0,
        ),
    )
    for name, text, family, value in rows:
        metric = family(f"fairlead_watch_{name}", text, labels=["kind"])  # type: ignore[call-arg]
        for watch in v.around.watches:
            metric.add_metric([watch.kind], value(watch))  # type: ignore[attr-defined]
        yield metric


def _announcements(v: AgentView) -> Iterator[Metric]:
    announce = v.around.announce
    yield CounterMetricFamily(
        "fairlead_announcement_changes", "Passes that changed an announcement.",
        value=announce.changes,
    )  # fmt: skip
    yield _gauge(
        "fairlead_announcement_error", "1 while announcing fails.", bool(announce.failures)
    )
    if announce.keepalived is not None:
        yield _gauge("fairlead_keepalived_up", "1 while keepalived runs.", announce.keepalived)
    if v.around.bird is not None:
        yield _gauge("fairlead_bird_up", "1 while BIRD answers.", v.around.bird)


_FAMILIES: tuple[tuple[str, str, Callable[[PoolUsage], tuple[int, int]]], ...] = (
    ("", "", lambda pool: (pool.total, pool.assigned)),
    ("ipv4_", " IPv4", lambda pool: (pool.total_ipv4, pool.assigned_ipv4)),
    ("ipv6_", " IPv6", lambda pool: (pool.total_ipv6, pool.assigned_ipv6)),
)


def _pools(v: AgentView) -> Iterator[Metric]:
    """Per pool as MetalLB's allocator counts; a pool that is gone has no series."""
    for prefix, words, numbers in _FAMILIES:
        name = f"metallb_allocator_{prefix}addresses"
        total = GaugeMetricFamily(
            f"{name}_total", f"Usable{words} addresses per pool.", labels=["pool"]
        )
        used = GaugeMetricFamily(
            f"{name}_in_use_total", f"Addresses{words} in use per pool.", labels=["pool"]
        )
        for pool in v.usage:
            of_all, in_use = numbers(pool)
            total.add_metric([pool.name], of_all)
            used.add_metric([pool.name], in_use)
        yield total
        yield used


def _metallb(v: AgentView) -> Iterator[Metric]:
    yield from _pools(v)
    announced = GaugeMetricFamily(
        "metallb_speaker_announced",
        "Services that this edge announces.",
        labels=["service", "protocol", "node", "ip"],
    )
    for service, protocol, ip in _announced(v):
        announced.add_metric([service, protocol, v.edge, ip], 1)
    yield announced
    yield _gauge("metallb_k8s_client_config_loaded_bool", "1 once it was read.", v.synced)
    stale = any(kind in CONFIGURATION for kind in _errors_by_kind(v))
    yield _gauge("metallb_k8s_client_config_stale_bool", "1 while an object is unusable.", stale)
    yield CounterMetricFamily(
        "metallb_k8s_client_updates", "Objects that came, changed or went.",
        value=sum(watch.updates for watch in v.around.watches),
    )  # fmt: skip
    yield CounterMetricFamily(
        "metallb_k8s_client_update_errors", "Objects not usable, writes that failed.",
        value=sum(watch.unusable for watch in v.around.watches) + v.around.writes.get("error", 0),
    )  # fmt: skip


def _sessions(v: AgentView) -> Iterator[Metric]:
    rows: tuple[tuple[str, str, type[Metric], Callable[[SessionReport], float | None]], ...] = (
        ("bgp_session_up", "1 while the session is up.", GaugeMetricFamily, lambda s: s.up),
        (
            "bgp_announced_prefixes_total",
            "Prefixes that the peer has from this edge.",
            GaugeMetricFamily,
            lambda s: s.exported,
        ),
        ("bgp_updates", "Announcements sent.", CounterMetricFamily, lambda s: s.updates),
        (
            "bfd_session_up",
            "1 while the BFD session is up.",
            GaugeMetricFamily,
            lambda s: None if s.bfd is None else s.bfd == "Up",
        ),
    )
    for name, text, family, value in rows:
        metric = family(f"metallb_{name}", text, labels=["peer"])  # type: ignore[call-arg]
        for session in v.around.sessions:
            if (number := value(session)) is not None:
                metric.add_metric([session.address], number)  # type: ignore[attr-defined]
        yield metric


def _real_servers(v: AgentView) -> int:
    return sum(len(server.real_servers) for server in v.virtual_servers)


def _services(v: AgentView) -> int:
    return len({server.service for server in v.virtual_servers})


def _errors_by_kind(v: AgentView) -> dict[str, int]:
    return dict(Counter(error.kind for error in v.all_errors))


def _announced(v: AgentView) -> list[tuple[str, str, str]]:
    """Service, protocol (layer2 or bgp) and address of what this edge announces."""
    rows = set()
    for server in v.virtual_servers:
        for protocol, addresses in (("layer2", v.standing.lan), ("bgp", v.standing.link)):
            if server.address in addresses:
                rows.add((str(server.service), protocol, str(server.address)))
    return sorted(rows)
