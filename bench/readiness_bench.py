# SPDX-License-Identifier: Apache-2.0
"""Readiness flip, measured: PATCH at the API server -> event on the socket -> weight in the kernel.

    python bench/readiness_bench.py [--json FILE] [--sizes 10x10,100x100,1000x100] [--flips 300]

As root. A real API server with etcd, the real agent and a real IPVS kernel (a User-Mode Linux
guest); at each size the floor program (floor_watcher.py) does the same flips in the same run.

Clocks: PATCHes are timed here, the rest by the guest's kernel (packet time stamps on its card and
on an nlmon link); the offset between the clocks is measured by round trips before and after each
series, and half the best round trip is printed as its error. In a User-Mode Linux guest a system
call costs 12 us instead of 0.2, and more on a busy machine (the report has the measured cost), so
CPU per event and latency are pessimistic; both programs pay.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from fairlead.adapters.kube_client import MERGE_PATCH, KubeApi
from fairlead.adapters.netns import entered
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import SoloEdge, solo_edge

NAMESPACE = "default"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
FIRST_VIP = ip_address("10.200.0.1")
PACE = 0.025
PYTHON = sys.executable
LEGS = ("patch_to_socket", "socket_to_kernel", "patch_to_kernel")


@dataclass(frozen=True)
class Size:
    """So many Services of so many endpoints; the first node has two of them, the others one."""

    services: int
    endpoints: int

    def __str__(self) -> str:
        return f"{self.services} x {self.endpoints}"


class Cluster:
    """Objects at the API server; grows from size to size."""

    def __init__(self, api: KubeApi) -> None:
        self.api = api
        self._nodes = 0

    def nodes(self, count: int) -> None:
        """Make nodes up to a number."""
        for number in range(self._nodes, count):
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number:03}"}}
            self.api.request("POST", "/api/v1/nodes", body=body)
            status = {
                "addresses": [{"type": "InternalIP", "address": f"10.201.0.{number + 1}"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            path = f"/api/v1/nodes/n{number:03}/status"
            self.api.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)
        self._nodes = max(self._nodes, count)

    def fill(self, size: Size) -> None:
        """Make the Services of one size, with status and slices."""
        self.nodes(size.endpoints - 1)
        for number in range(size.services):
            self._service(number)
            self.api.request("POST", SLICES, body=self._slice(number, size.endpoints))

    def clear(self, size: Size) -> None:
        """Remove them."""
        for number in range(size.services):
            self.api.request("DELETE", f"{SLICES}/s{number}")
            self.api.request("DELETE", f"{SERVICES}/s{number}")

    def flip(self, *, ready: bool) -> None:
        """Set the readiness of one endpoint of the first Service's first node."""
        path = f"{SLICES}/s0"
        patch = [{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready}]
        self.api.request("PATCH", path, body=patch, content_type="application/json-patch+json")

    def _service(self, number: int) -> None:
        spec = {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "ports": [{"port": 80, "targetPort": 8080}],
        }
        meta = {
            "name": f"s{number}",
            "annotations": {"metallb.io/ip-allocated-from-pool": "bench"},
        }
        self.api.request("POST", SERVICES, body={"metadata": meta, "spec": spec})
        ingress = [{"ip": str(FIRST_VIP + number), "ipMode": "VIP"}]
        self.api.request(
            "PATCH",
            f"{SERVICES}/s{number}/status",
            body={"status": {"loadBalancer": {"ingress": ingress}}},
            content_type=MERGE_PATCH,
        )

    @staticmethod
    def _slice(number: int, endpoints: int) -> dict[str, Any]:
        pods = [
            {
                "addresses": [f"10.{210 + number // 250}.{number % 250}.{pod + 1}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"n{max(0, pod - 1):03}",
                "targetRef": {
                    "kind": "Pod",
                    "namespace": NAMESPACE,
                    "name": f"s{number}-6c4b9d7f8-{pod:05}",
                    "uid": f"6f1c0e5a-0000-4000-8000-{number:06}{pod:06}",
                },
            }
            for pod in range(endpoints)
        ]
        return {
            "metadata": {
                "name": f"s{number}",
                "labels": {"kubernetes.io/service-name": f"s{number}"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": pods,
        }


class Bench:
    """One run over all sizes."""

    def __init__(self, lab: SoloEdge, cluster: Cluster, flips: int) -> None:
        self.lab, self.guest, self.cluster, self.flips = lab, lab.guest, cluster, flips

    def size(self, size: Size) -> dict[str, Any]:
        """Agent and floor at one size."""
        print(f"{size}: filling the cluster ...", flush=True)
        self.cluster.fill(size)
        result: dict[str, Any] = {"services": size.services, "endpoints": size.endpoints}
        begun = time.monotonic()
        self._start_agent()
        self._wait_ready(size)
        result["guest_system_call_us"] = self.guest("system_call_us")
        result["cold_start_s"] = round(time.monotonic() - begun, 2)
        print(f"{size}: agent ...", flush=True)
        result["agent"] = self._series("agent")
        result["agent"]["metrics_ms"] = self._own_histogram()
        self.guest("stop", "agent")
        print(f"{size}: floor ...", flush=True)
        argv = [PYTHON, str(Path(__file__).with_name("floor_watcher.py")), "/out/kubeconfig",
                NAMESPACE, "s0", "n000", str(FIRST_VIP), "10.201.0.1", "80"]  # fmt: skip
        self.guest("start", "floor", argv)
        time.sleep(3)
        result["floor"] = self._series("floor")
        self.guest("stop", "floor")
        self.guest("run", ["ipvsadm", "-C"])
        self.cluster.clear(size)
        return result

    def _start_agent(self) -> None:
        document = {
            "edges": [{"name": "edge1", "address": self.lab.cfg.address("edge1"),
                       "interface": "vec0"}],
            "pools": [{"name": "bench", "addresses": ["10.200.0.0/16"]}],
            "vrrp": {"advertised_address": f"{self.lab.cfg.address('cp')}/24"},
        }  # fmt: skip
        config = {
            "edge": "edge1",
            "kubeconfig": "/out/kubeconfig",
            "inventory": "/out/edges.yaml",
            "namespace": NAMESPACE,
            "announce": False,
            # A full comparison costs CPU in proportion to the table: not while one event is timed.
            "resync_seconds": 3600,
        }
        (self.lab.shared / "edges.yaml").write_text(yaml.safe_dump(document))
        (self.lab.shared / "agent.yaml").write_text(yaml.safe_dump(config))
        self.guest("run", ["mkdir", "-p", "/run/fairlead"])
        argv = [PYTHON, "-m", "fairlead", "agent", "--config", "/out/agent.yaml"]
        self.guest("start", "agent", argv)

    def _metrics(self) -> dict[str, float]:
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9120/metrics').read()"
        text = self.guest("run", [PYTHON, "-c", f"{code}.decode())"])
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in rows}

    def _wait_ready(self, size: Size) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                status = json.loads(self.guest("read", "/run/fairlead/status.json"))
            except Exception:  # noqa: BLE001 - not written yet
                status = {}
            wanted = size.services * (size.endpoints - 1)
            if status.get("synced") and status.get("real_servers") == wanted:
                return
            time.sleep(0.3)
        raise SystemExit(f"the agent did not come in step; see {self.lab.shared}/agent.log")

    def _series(self, name: str) -> dict[str, Any]:
        """Flip, wait, read; then percentiles of each leg."""
        for _ in range(10):  # caches, first allocations
            self._flip(ready=False)
            self._flip(ready=True)
        offset, error = self.guest.clock_offset()
        idle = self._idle_cpu(name)
        before = self.guest("stat", name)
        rows, lost, begun = [], 0, time.monotonic()
        for number in range(self.flips):
            row = self._flip(ready=bool(number % 2))
            if row is None:
                lost += 1
            else:
                rows.append(row)
        spent = time.monotonic() - begun
        after = self.guest("stat", name)
        again, _ = self.guest.clock_offset()
        drift = again - offset
        cpu = (after["cpu"] - before["cpu"] - idle * spent) / self.flips
        legs = {
            "patch_to_socket": [r["packet"] - r["sent"] - offset for r in rows],
            "socket_to_kernel": [r["done"] - r["packet"] for r in rows],
            "patch_to_kernel": [r["done"] - r["sent"] - offset for r in rows],
            "patch_answer": [r["answered"] - r["sent"] for r in rows],
        }
        return {
            **{leg: _percentiles(values) for leg, values in legs.items()},
            "cpu_ms_per_event": round(cpu * 1e3, 3),
            "rss_mb": round(after["rss_mb"], 1),
            "peak_mb": round(after["peak_mb"], 1),
            "flips": len(rows),
            "lost": lost,
            "clock_error_ms": round(error * 1e3, 3),
            "clock_drift_ms": round(drift * 1e3, 3),
        }

    def _idle_cpu(self, name: str) -> float:
        """CPU share without events."""
        before, begun = self.guest("stat", name), time.monotonic()
        time.sleep(5)
        after = self.guest("stat", name)
        return float(after["cpu"] - before["cpu"]) / (time.monotonic() - begun)

    def _flip(self, *, ready: bool) -> dict[str, float] | None:
        """One flip; the moment of each leg, None when the weight did not come."""
        self.guest("take")
        sent = time.time()
        self.cluster.flip(ready=ready)
        answered = time.time()
        time.sleep(PACE)
        seen = self.guest("take")
        if not seen["done"]:
            time.sleep(0.5)
            seen = {key: seen[key] + value for key, value in self.guest("take").items()}
        if not seen["done"] or not seen["asked"]:
            return None
        # The event is the last data of the API server before the program's first request.
        packets = [at for at in seen["packets"] if at <= seen["asked"][0]]
        if not packets:
            return None
        return {"sent": sent, "answered": answered, "packet": packets[-1], "done": seen["done"][-1]}

    def _own_histogram(self) -> dict[str, float]:
        """The agent's own view: mean of event -> kernel."""
        metrics = self._metrics()
        count = metrics["fairlead_event_to_kernel_seconds_count"]
        total = metrics["fairlead_event_to_kernel_seconds_sum"]
        return {"mean": round(total / count * 1e3, 3), "count": count}


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered) * 1e3, 3),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 3),
    }


def machine() -> dict[str, Any]:
    """Facts without which the figures mean nothing."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), "unknown")  # fmt: skip
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def show(report: dict[str, Any]) -> None:
    """The table."""
    table = Table(title="Readiness flip, milliseconds")
    columns = ("size", "program", "PATCH -> socket", "socket -> kernel", "PATCH -> kernel",
               "x floor", "CPU/event", "RSS MB")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    for size in report["sizes"]:
        floor = size["floor"]["patch_to_kernel"]["p50"]
        for name in ("agent", "floor"):
            row = size[name]
            legs = [f"{row[leg]['p50']:.2f} / {row[leg]['p99']:.2f}" for leg in LEGS]
            ratio = row["patch_to_kernel"]["p50"] / floor
            table.add_row(f"{size['services']} x {size['endpoints']}", name, *legs, f"{ratio:.2f}",
                          f"{row['cpu_ms_per_event']:.2f}", f"{row['rss_mb']:.0f}")  # fmt: skip
    console = Console(width=120)
    console.print(table)
    calls = ", ".join(f"{size['guest_system_call_us']:.0f}" for size in report["sizes"])
    console.print(f"p50 / p99; a system call in the guest took {calls} us (12 when it is alone)")
    console.print(json.dumps(report["machine"]))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", default="10x10,100x100,1000x100")
    parser.add_argument("--flips", type=int, default=300)
    options = parser.parse_args()
    sizes = [Size(*map(int, text.split("x"))) for text in options.sizes.split(",")]
    report: dict[str, Any] = {"machine": machine(), "sizes": []}
    cfg = LabConfig(name="flbench", index=77)
    verbs = Path(__file__).with_name("readiness_guest.py")
    with solo_edge(cfg, verbs=verbs) as lab, entered(cfg.netns("cp")):
        bench = Bench(lab, Cluster(KubeApi(cfg.admin_kubeconfig)), options.flips)
        report["sizes"] = [bench.size(size) for size in sizes]
    show(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
