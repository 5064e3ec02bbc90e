# SPDX-License-Identifier: Apache-2.0
"""Configuration, log lines, sd_notify, the edge lock, metrics and status.json."""

import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fairlead.agent.announcer import AnnounceState
from fairlead.agent.config import AgentConfigError, LogFormat, load_config
from fairlead.agent.edgelock import SharedEdgeLock
from fairlead.agent.logs import JsonFormatter, TextFormatter
from fairlead.agent.messages import VipsChanged
from fairlead.agent.metrics import AgentCollector, Metrics
from fairlead.agent.status_writer import StatusWriter, status_document
from fairlead.agent.view import AgentView, Surroundings
from fairlead.cli.status import agent_problems
from fairlead.cluster.watch import Changed, Failed, WatchState
from fairlead.edge.lock import LockTimeoutError, edge_lock
from fairlead.edge.ownership import OwnedVips
from fairlead.edge.status_file import read_status_file
from fairlead.edge.systemd import Notifier
from fairlead.edge.vips import StandingVips
from fairlead.model.errors import FairleadError
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.planner.usage import UNBOUNDED, PoolUsage
from support.build import pool as a_pool
from unit.agent.test_loop import INVENTORY, VIP, Edge

# -- configuration -------------------------------------------------------------------------------


def config(folder: Path, text: str) -> Any:
    path = folder / "agent.yaml"
    path.write_text(text)
    return load_config(path)


def test_config_defaults_suit_an_edge(tmp_path: Path) -> None:
    read = config(tmp_path, "edge: edge1\nkubeconfig: /etc/fairlead/kubeconfig\n")
    assert read.metrics_address == ("127.0.0.1", 9120)
    assert read.inventory == Path("/etc/fairlead/edges.yaml")
    assert read.status_file == Path("/run/fairlead/status.json")
    assert config(tmp_path, "edge: e\nmetrics_listen: ''\n").metrics_address is None
    assert config(tmp_path, "edge: e\nmetrics_listen: '[::1]:1'\n").metrics_address == ("::1", 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kubeconfig: /x\n", "edge"),
        ("edge: ''\n", "edge: must name"),
        ("edge: e\nmetrics: 1\n", "metrics"),
        ("edge: e\nbgp_link: other0\n", "bgp_link"),
        ("edge: e\nmetrics_listen: 9120\n", "metrics_listen"),
        ("edge: e\nmetrics_listen: localhost:9120\n", "expected ADDRESS:PORT"),
        ("edge: e\nmetrics_listen: 127.0.0.1:99999\n", "expected ADDRESS:PORT"),
        ("edge: e\nresync_seconds: 0\n", "resync_seconds: at least 1"),
        ("edge: e\nlog_level: loud\n", "loud"),
        ("edge: [\n", "agent.yaml"),
        ("- edge\n", "agent.yaml"),
    ],
)
def test_config_errors_name_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(AgentConfigError, match=r"agent\.yaml") as caught:
        config(tmp_path, text)
    assert says in str(caught.value)


def test_agent_without_its_edge_in_the_inventory_says_so(tmp_path: Path) -> None:
    inventory = tmp_path / "edges.yaml"
    inventory.write_text("edges: [{name: edge1, address: 192.0.2.1}]\nannounce: []\n")
    path = tmp_path / "agent.yaml"
    path.write_text(f"edge: edge9\ninventory: {inventory}\nkubeconfig: /nonexistent\n")
    argv = [sys.executable, "-m", "fairlead", "agent", "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'edge9' is not among the edges" in done.stderr
    assert "edge1" in done.stderr
    assert "Traceback" not in done.stderr


# -- log lines -----------------------------------------------------------------------------------


def record(message: str, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("fairlead.agent", logging.ERROR, "", 0, message, (), None)
    made.fields = fields
    return made


def test_log_line_is_one_line_whatever_the_cluster_says() -> None:
    line = TextFormatter().format(record("refused\nforged", error='a "b"\n<0>x', service="a/b"))
    assert line == '<3>refused forged error="a \\"b\\"\\n<0>x" service=a/b'


def test_json_log_line_holds_the_fields() -> None:
    line = json.loads(JsonFormatter().format(record("refused", service=ObjectKey("a", "b"))))
    assert (line["msg"], line["level"]) == ("refused", "error")
    assert LogFormat("json") is LogFormat.JSON


# -- sd_notify -----------------------------------------------------------------------------------


def test_notifier_speaks_to_systemd(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(2)
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}
        notifier = Notifier(environment)
        assert notifier.watchdog_interval == 5.0
        notifier.ready()
        notifier.keep_alive()
        notifier.status("in step")
        notifier.status("in step")
        notifier.stopping()
        notifier.close()
        heard = [listener.recv(100).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1", "STATUS=in step", "STOPPING=1"]


def test_notifier_without_systemd_is_silent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"})
    notifier.ready()
    assert notifier.watchdog_interval is None


# -- the edge lock -------------------------------------------------------------------------------


def held_elsewhere(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_lock_is_shared_by_threads_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "edge.lock"
    lock = SharedEdgeLock(path, timeout=0.05)
    for _ in range(3):  # the first way and the quick way
        with lock():
            inside = threading.Event()

            def other(inside: threading.Event = inside) -> None:
                with lock():
                    inside.set()

            threading.Thread(target=other).start()
            assert inside.wait(2)
            assert held_elsewhere(path)
        assert not held_elsewhere(path)


def test_lock_waits_for_a_playbook_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "edge.lock"
    lock = SharedEdgeLock(path, timeout=0.05)
    with lock():
        pass
    with edge_lock(path, 1.0), pytest.raises(LockTimeoutError, match=str(os.getpid())), lock():
        pass
    with lock():
        assert held_elsewhere(path)
    assert not held_elsewhere(path)


def test_lock_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "edge.lock"
    lock = SharedEdgeLock(path)
    with lock():
        pass
    path.unlink()
    with lock():
        assert held_elsewhere(path)


# -- what is ours --------------------------------------------------------------------------------


def test_own_addresses_are_never_vips() -> None:
    owned = OwnedVips.of(INVENTORY)
    assert owned(VIP)
    assert not owned(ip_address("192.0.2.201"))
    assert not owned(ip_address("192.0.2.9"))
    assert not owned(ip_address("2001:db8::1"))
    put_up = owned.with_announced([ip_address("203.0.113.5")])
    assert put_up(ip_address("203.0.113.5"))
    assert not owned(ip_address("203.0.113.5"))
    assert put_up.with_pools(INVENTORY, ())(ip_address("203.0.113.5"))
    assert not owned.with_announced([], [VIP])(VIP), "a stable address of an instance"


@pytest.mark.parametrize(
    ("pool", "texts"),
    [
        ("192.0.2.0/28", ["192.0.2.0-192.0.2.8", "192.0.2.10-192.0.2.15"]),
        ("192.0.2.9-192.0.2.9", []),
        ("192.0.2.200-192.0.2.203", ["192.0.2.200-192.0.2.200", "192.0.2.203-192.0.2.203"]),
        ("2001:db8::/126", ["2001:db8::-2001:db8::3"]),
    ],
)
def test_ranges_are_handed_on_without_the_machines_in_them(pool: str, texts: list[str]) -> None:
    """So that edge modules, which know ranges alone, have the agent's rule."""
    owned = replace(OwnedVips.of(INVENTORY), ranges=a_pool("p", pool).ranges)
    assert owned.range_texts() == texts


# -- metrics and status --------------------------------------------------------------------------


POOL = a_pool("p", "198.51.100.0/28")


AROUND = Surroundings(
    announce=AnnounceState(keepalived=True), writes={"status": 3}, lease_holder="edge2"
)
USAGE = (PoolUsage("lan", 10, 0, 1, 0), PoolUsage("six", 4, UNBOUNDED, 4, 2))


def scraped(view: AgentView) -> str:
    registry = CollectorRegistry()
    registry.register(AgentCollector(lambda: view))
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[(sample.name, labels)] = sample.value
    return found


def test_metrics_endpoint_tells_the_state() -> None:
    edge = Edge()
    edge.list_all()
    edge.turn(VipsChanged(StandingVips(frozenset({VIP}))))
    bad = ObjectError(kind="IPAddressPool", name="lan", message="overlaps")
    view = replace(edge.view, around=AROUND, usage=USAGE, errors=(bad,))
    metrics = Metrics()
    metrics.latency.observe(0.0015)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    metrics.serve(("127.0.0.1", port), lambda: view)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        seen = samples(answer.read().decode())
    metrics.close()
    assert seen[("fairlead_virtual_servers", "")] == 1
    assert seen[("fairlead_real_servers", "")] == 2
    assert seen[("fairlead_synced", "")] == 1
    assert seen[("fairlead_keepalived_up", "")] == 1
    assert seen[("fairlead_ipvs_changes_total", "change=AddDest")] == 2
    assert seen[("fairlead_event_to_kernel_seconds_bucket", "le=0.001")] == 0
    assert seen[("fairlead_event_to_kernel_seconds_bucket", "le=0.002")] == 1
    assert seen[("metallb_allocator_addresses_total", "pool=lan")] == 10
    assert seen[("metallb_allocator_addresses_in_use_total", "pool=lan")] == 1
    assert seen[("metallb_allocator_ipv4_addresses_total", "pool=six")] == 4
    assert seen[("metallb_allocator_ipv4_addresses_in_use_total", "pool=six")] == 4
    assert seen[("metallb_allocator_ipv6_addresses_total", "pool=six")] == float(UNBOUNDED)
    assert seen[("metallb_allocator_ipv6_addresses_in_use_total", "pool=six")] == 2
    announced = "ip=192.0.2.10,node=edge1,protocol=layer2,service=shop/web"
    assert seen[("metallb_speaker_announced", announced)] == 1
    assert seen[("metallb_k8s_client_config_stale_bool", "")] == 1
    assert seen[("metallb_k8s_client_config_loaded_bool", "")] == 1


def test_updates_and_those_that_failed_are_counted_over_all_kinds() -> None:
    watches = (
        WatchState("Service", updates=5, unusable=1, events=90),
        WatchState("IPAddressPool", updates=2, unusable=1),
    )
    around = Surroundings(watches=watches, writes={"error": 3, "refused": 7})
    seen = samples(scraped(AgentView(edge="edge1", around=around)))
    assert seen[("metallb_k8s_client_updates_total", "")] == 7
    assert seen[("metallb_k8s_client_update_errors_total", "")] == 5


def test_stale_mark_and_series_of_a_pool_go_with_their_cause() -> None:
    edge = Edge()
    pool = ObjectError(kind="IPAddressPool", namespace="metallb-system", name="p", message="bad")

    assert "metallb_k8s_client_config_loaded_bool 0.0" in scraped(edge.view)
    edge.list_all()
    edge.turn(Failed("IPAddressPool", pool, 1))
    assert "metallb_k8s_client_config_stale_bool 1.0" in scraped(edge.view)
    edge.turn(Changed("IPAddressPool", ObjectKey("metallb-system", "p"), POOL, 1))
    repaired = scraped(edge.view)
    assert "metallb_k8s_client_config_stale_bool 0.0" in repaired
    assert 'pool="p"' in repaired
    assert 'pool="p"' not in scraped(replace(edge.view, usage=()))


def followed(kind: str, **fields: Any) -> WatchState:
    """A watch that was heard of at 100 s of the monotonic clock."""
    return WatchState(kind, **({"connected": True, "listed": True, "last_word": 100.0} | fields))


@pytest.mark.parametrize(
    ("watch", "now", "says"),
    [
        (followed("Service"), 100.0, None),
        (followed("Service"), 249.0, None),
        (followed("Service"), 251.0, "Service has not been known for 151 s: the API server has"),
        (
            followed("Service", failing_since=110.0, last_error="HTTP 403 Forbidden"),
            150.0,
            "Service has not been known for 40 s: HTTP 403 Forbidden",
        ),
        (followed("Community", served=False, refused=True), 120.0, None),
        (followed("Node", listed=False, started=90.0), 100.0, "Node has not been known for 10 s"),
    ],
)
def test_in_step_is_said_only_while_every_kind_is_known(
    watch: WatchState, now: float, says: str | None
) -> None:
    around = Surroundings(watches=(followed("Node", last_word=now), watch))
    view = AgentView(edge="edge1", synced=True, published=now, around=around)
    told = status_document(view, 0.0, now).out_of_step
    assert (told == ()) is (says is None)
    if says is not None:
        assert told[0].startswith(says)
        assert agent_problems(status_document(view, 0.0, now))[0] == f"not in step: {told[0]}"


def test_a_loop_that_does_not_turn_is_not_in_step() -> None:
    view = AgentView(edge="edge1", synced=True, published=100.0)
    assert view.out_of_step(110.0) == ()
    assert view.out_of_step(120.0) == ("the main loop has not turned for 20 s",)
    assert "fairlead_in_step 0.0" in scraped(view)
    assert "fairlead_in_step 1.0" in scraped(replace(view, published=time.monotonic()))


def test_a_bad_kubeconfig_is_a_problem_and_a_metric() -> None:
    around = Surroundings(kubeconfig_error="kubeconfig /k: not YAML")
    view = AgentView(edge="edge1", synced=True, published=time.monotonic(), around=around)
    problems = agent_problems(status_document(view, 0.0, view.published))
    assert problems == ["kubeconfig /k: not YAML; the settings read before stay in force"]
    assert "fairlead_kubeconfig_error 1.0" in scraped(view)


def test_taken_metrics_port_does_not_stop_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        Metrics().serve(("127.0.0.1", port), lambda: AgentView(edge="edge1"))
    assert f"127.0.0.1:{port}" in caplog.text


def test_status_file_round_trip_and_only_when_changed(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    edge = Edge()
    view = replace(edge.view, around=AROUND)
    now = 100.0
    writer = StatusWriter(path, lambda: view, clock=lambda: now)
    writer.write()
    first = path.stat().st_mtime_ns
    document = read_status_file(path)
    assert document is not None
    assert not document.synced
    assert document.lease_holder == "edge2"
    writer.write()
    assert path.stat().st_mtime_ns == first
    edge.list_all()
    view = replace(edge.view, around=AROUND)
    writer.write()
    document = read_status_file(path)
    assert document is not None
    assert (document.synced, document.virtual_servers) == (True, 1)
    second = path.stat().st_mtime_ns
    now += 10.0
    writer.write()
    assert path.stat().st_mtime_ns > second
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_status_file_of_nobody_and_of_another_version(tmp_path: Path) -> None:
    assert read_status_file(tmp_path / "none") is None
    path = tmp_path / "status.json"
    path.write_text("{}")
    with pytest.raises(FairleadError, match="another version"):
        read_status_file(path)


def test_loop_feeds_the_watchdog_only_while_it_turns(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(0)
        edge = Edge()
        notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "4000000"})
        edge.loop._ports = type(edge.loop._ports)(
            **(vars(edge.loop._ports) | {"notifier": notifier})
        )
        for _ in range(5):
            edge.turn()
        assert listener.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        edge.now += 1.5
        edge.turn()
        assert listener.recv(100) == b"WATCHDOG=1"
        notifier.close()
