# SPDX-License-Identifier: Apache-2.0
"""`lab status`: what stands, for people and as JSON. Looks only, changes nothing."""

import contextlib
from typing import Any

from rich.console import Console
from rich.table import Table

from fairlead_lab import cluster, edges, netns, network, process
from fairlead_lab.config import ConfigError, LabConfig


def collect(cfg: LabConfig) -> dict[str, Any]:
    """Everything that `status` knows, ready for JSON."""
    ports = network.ports(cfg)
    state = cluster.status(cfg)
    return {
        "name": cfg.name,
        "index": cfg.index,
        "up": netns.exists(cfg.netns("lan")),
        "hosts": {host: _host(cfg, host, ports) for host in _hosts(cfg)},
        "processes": {
            record.name: {
                "pid": record.pid,
                "alive": (alive := record.alive()),
                "age_seconds": round(record.age()) if alive else None,
            }
            for record in process.list_all(cfg)
        },
        "edges": {
            edge.name: {
                "address": edge.address,
                "running": edge.running,
                "frozen": edge.frozen,
                "ssh": edge.ssh,
                "cable": ports.get(edge.name, False),
            }
            for edge in edges.status(cfg)
        },
        "cluster": {
            "api": state.api,
            "nodes": state.nodes,
            "pods": state.pods,
            "healthy": state.healthy,
        },
    }


def _hosts(cfg: LabConfig) -> list[str]:
    prefix = f"{cfg.name}-"
    found = [name.removeprefix(prefix) for name in netns.names(prefix)]
    return [host for host in found if host != "lan" and not host.startswith("pod-")]


def _host(cfg: LabConfig, host: str, ports: dict[str, bool]) -> dict[str, Any]:
    address = cfg.rclient_address if host == "rclient" else ""
    with contextlib.suppress(ConfigError):
        address = cfg.address(host)
    return {"address": address, "cable": ports.get(host, host == "rclient")}


def show(found: dict[str, Any]) -> None:
    """Print tables on standard output."""
    console = Console()
    if not found["up"] and not found["processes"]:
        console.print(f"lab {found['name']} is down")
        return
    console.print(f"lab {found['name']}, index {found['index']}")
    hosts = Table("host", "address", "state", box=None)
    for name, edge in found["edges"].items():
        hosts.add_row(name, edge["address"], _edge_words(edge))
    for name, host in found["hosts"].items():
        hosts.add_row(name, host["address"], "" if host["cable"] else "[red]cable cut")
    console.print(hosts)
    running = Table("process", "pid", "state", box=None)
    for name, record in found["processes"].items():
        words = f"{record['age_seconds']} s" if record["alive"] else "[red]ended"
        running.add_row(name, str(record["pid"]), words)
    console.print(running)
    _show_cluster(console, found["cluster"])


def _show_cluster(console: Console, cluster_state: dict[str, Any]) -> None:
    ready = [name for name, state in cluster_state["nodes"].items() if state]
    api = "answers" if cluster_state["api"] else "[red]does not answer"
    console.print(f"API server {api}; nodes ready: {', '.join(ready) or 'none'}")
    for pod, words in cluster_state["pods"].items():
        console.print(f"  {pod}: {words}")


def _edge_words(edge: dict[str, Any]) -> str:
    if not edge["running"]:
        return "[red]off"
    words = "frozen" if edge["frozen"] else "answers on ssh" if edge["ssh"] else "no answer on ssh"
    return words if edge["cable"] else f"{words}, [red]cable cut"
