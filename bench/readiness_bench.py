# SPDX-License-Identifier: Apache-2.0
"""Readiness flip, measured: PATCH at the API server -> event on the socket -> weight in the kernel.

    python -m bench.readiness_bench [--json FILE] [--sizes 10x10,1000x100] [--flips 300]

As root. A real API server with etcd, the real agent and a real IPVS kernel (a User-Mode Linux
guest). At each size the floor program (floor_watcher.py) does the same flips: half of them before
the agent, half after it, so that a machine that becomes busier weighs on both alike.

Clocks: PATCHes are timed here, the rest by the guest's kernel (packet time stamps on its card and
on an nlmon link); the offset between the clocks is measured by round trips before and after each
series, and half the best round trip is reported as its error. In a User-Mode Linux guest a system
call costs 12 us instead of 0.2, and more on a busy machine (the report has the measured cost), so
CPU per event and latency are pessimistic; both programs pay.
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from bench.figures import Figure, spread
from bench.readiness_cluster import (
    FIRST_VIP,
    NAMESPACE,
    PORT,
    VIPS,
    Cluster,
    Etcd,
    Size,
    node_address,
)
from bench.running import Report, ends_cleanly, parser, write
from fairlead.cluster.client import KubeApi
from fairlead.edge.netns import entered
from fairlead_lab.config import LabConfig
from fairlead_lab.lifecycle import down, locked
from fairlead_lab.solo import GuestError, SoloEdge, solo_cluster, solo_guest

SIZES = "10x10,100x100,1000x100,10000x10"
PACE = 0.025
START_SECONDS = 120.0
PYTHON = sys.executable
LEGS = ("patch_to_socket", "socket_to_kernel", "patch_to_kernel")
Row = dict[str, float]


class Bench:
    """One guest, and the cluster that it watches."""

    def __init__(self, lab: SoloEdge, cluster: Cluster, flips: int) -> None:
        self.lab, self.guest, self.cluster, self.flips = lab, lab.guest, cluster, flips

    def size(self, size: Size) -> dict[str, Any]:
        """Floor, agent, floor at one size."""
        begun = time.monotonic()
        self.cluster.fill(size)
        say(f"{size}: cluster filled in {time.monotonic() - begun:.0f} s")
        weights = {node_address(number): 1 for number in range(size.nodes)}
        self.guest("build", str(FIRST_VIP), PORT, weights | {node_address(0): 2})
        floor = [self._floor()]
        result: dict[str, Any] = {"services": size.services, "endpoints": size.endpoints}
        begun = time.monotonic()
        self._start_agent()
        self._wait_ready(size)
        result["cold_start_s"] = round(time.monotonic() - begun, 2)
        result["guest_system_call_us"] = round(self.guest("system_call_us"), 1)
        result["agent"] = summary([self._series("agent", self.flips)])
        result["agent"]["metrics_ms"] = self._own_histogram()
        self.guest("stop", "agent")
        floor.append(self._floor())
        result["floor"] = summary(floor)
        say(f"{size}: measured in {time.monotonic() - begun:.0f} s")
        return result

    def _floor(self) -> dict[str, Any]:
        argv = [PYTHON, str(Path(__file__).with_name("floor_watcher.py")), "/out/kubeconfig",
                NAMESPACE, "s0", "n000", str(FIRST_VIP), node_address(0), str(PORT)]  # fmt: skip
        self.guest("start", "floor", argv)
        time.sleep(2)
        series = self._series("floor", self.flips // 2)
        self.guest("stop", "floor")
        return series

    def _start_agent(self) -> None:
        document = {
            "edges": [{"name": "edge1", "address": self.lab.address, "interface": "vec0"}],
            "pools": [{"name": "bench", "addresses": [VIPS]}],
            "vrrp": {"advertised_address": f"{self.lab.cfg.address('cp')}/24"},
        }
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
        self.guest("run", ["rm", "-f", "/run/fairlead/status.json"])  # that of the one before
        argv = [PYTHON, "-m", "fairlead", "agent", "--config", "/out/agent.yaml"]
        self.guest("start", "agent", argv)

    def _metrics(self) -> dict[str, float]:
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9120/metrics').read()"
        text = self.guest("run", [PYTHON, "-c", f"{code}.decode())"])
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in rows}

    def _wait_ready(self, size: Size) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            status: dict[str, Any] = {}
            with contextlib.suppress(GuestError):  # not written yet
                status = json.loads(self.guest("read", "/run/fairlead/status.json"))
            if status.get("synced") and status.get("real_servers") == size.services * size.nodes:
                return
            time.sleep(0.3)
        raise SystemExit(f"the agent did not come in step; see {self.lab.shared}/agent.log")

    def _series(self, name: str, flips: int) -> dict[str, Any]:
        """Flip, wait, read; what was seen, beside the program's CPU and memory."""
        for _ in range(10):  # caches, first allocations
            self._flip(ready=False)
            self._flip(ready=True)
        offset, error = self.guest.clock_offset()
        idle = self._idle_cpu(name)
        before, begun = self.guest("stat", name), time.monotonic()
        rows = [self._flip(ready=bool(number % 2)) for number in range(flips)]
        spent, after = time.monotonic() - begun, self.guest("stat", name)
        again, _ = self.guest.clock_offset()
        return {
            "rows": [legs(row, offset) for row in rows if row is not None],
            "flips": flips,
            "cpu": after["cpu"] - before["cpu"] - idle * spent,
            "rss_mb": after["rss_mb"],
            "peak_mb": after["peak_mb"],
            "clock_error": error,
            "clock_drift": again - offset,
        }

    def _idle_cpu(self, name: str) -> float:
        """CPU share without events."""
        before, begun = self.guest("stat", name), time.monotonic()
        time.sleep(4)
        after = self.guest("stat", name)
        return float(after["cpu"] - before["cpu"]) / (time.monotonic() - begun)

    def _flip(self, *, ready: bool) -> Row | None:
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


def legs(row: Row, offset: float) -> Row:
    """Seconds of each leg of one flip; `offset` is the guest's clock minus ours."""
    return {
        "patch_to_socket": row["packet"] - row["sent"] - offset,
        "socket_to_kernel": row["done"] - row["packet"],
        "patch_to_kernel": row["done"] - row["sent"] - offset,
        "patch_answer": row["answered"] - row["sent"],
    }


def summary(series: list[dict[str, Any]]) -> dict[str, Any]:
    """Percentiles over the flips of all series of one program.

    Raises:
        SystemExit: Not one weight arrived.
    """
    rows = [row for one in series for row in one["rows"]]
    flips = sum(one["flips"] for one in series)
    if not rows:
        raise SystemExit(f"none of {flips} flips reached the kernel")
    return {
        **{leg: spread([row[leg] for row in rows]) for leg in rows[0]},
        "cpu_ms_per_event": round(sum(one["cpu"] for one in series) / flips * 1e3, 3),
        "rss_mb": round(max(one["rss_mb"] for one in series), 1),
        "peak_mb": round(max(one["peak_mb"] for one in series), 1),
        "flips": flips,
        "lost": flips - len(rows),
        "clock_error_ms": round(max(one["clock_error"] for one in series) * 1e3, 3),
        "clock_drift_ms": round(max(abs(one["clock_drift"]) for one in series) * 1e3, 3),
    }


def say(text: str) -> None:
    """Progress."""
    print(f"  {text}", flush=True)


def show(sizes: list[dict[str, Any]]) -> None:
    """Every leg of both programs."""
    print(f"\n{'flip, ms: p50 / p99':24}{'PATCH -> socket':>17}{'socket -> kernel':>18}"
          f"{'PATCH -> kernel':>17}{'x floor':>9}{'CPU':>7}{'RSS MB':>8}{'lost':>6}")  # fmt: skip
    for size in sizes:
        for name in ("floor", "agent"):
            row = size[name]
            cells = [f"{row[leg]['p50']:.2f} / {row[leg]['p99']:.2f}" for leg in LEGS]
            times = f"{ratio(size):.2f}" if name == "agent" else ""
            print(f"{size['services']:>6} x {size['endpoints']:<5}{name:10}"
                  f"{cells[0]:>17}{cells[1]:>18}{cells[2]:>17}{times:>9}{row['cpu_ms_per_event']:>7.2f}"
                  f"{row['rss_mb']:>8.0f}{row['lost']:>6}")  # fmt: skip
    calls = ", ".join(f"{size['guest_system_call_us']:.0f}" for size in sizes)
    print(f"a system call in the guest took {calls} us (12 when it is alone)")


def ratio(size: dict[str, Any]) -> float:
    """PATCH -> kernel of the agent, in floors."""
    agent, floor = (size[name]["patch_to_kernel"]["p50"] for name in ("agent", "floor"))
    return float(agent / floor)


def figures(sizes: list[dict[str, Any]]) -> tuple[Figure, ...]:
    """The design's figures, as far as the sizes that they speak of were measured."""
    found: list[Figure] = []
    for size in sizes:
        name, agent = f"{size['services']:,} x {size['endpoints']}", size["agent"]
        goal = (size["services"], size["endpoints"]) == (1000, 100)
        how = f"of {agent['flips']} flips"
        leg = agent["socket_to_kernel"]
        found += [
            Figure(f"flip {name}: socket -> kernel, p50", leg["p50"], "ms", f"median {how}",
                   2.0 if goal else None),
            Figure(f"flip {name}: socket -> kernel, p99", leg["p99"], "ms", f"p99 {how}",
                   10.0 if goal else None),
            Figure(f"flip {name}: PATCH -> kernel / floor", ratio(size), "x",
                   f"medians {how} each", 1.5),
            Figure(f"flip {name}: agent CPU", agent["cpu_ms_per_event"], "ms", f"mean {how}", 1.0),
        ]  # fmt: skip
        if size["services"] * size["endpoints"] == 100_000:
            found.append(Figure(f"agent memory, {name} endpoints", agent["rss_mb"], "MB",
                                "resident after the flips", 150.0))  # fmt: skip
            found.append(Figure(f"agent cold start, {name}", size["cold_start_s"], "s", "1 run"))
    return (*found, *growth(sizes))


def growth(sizes: list[dict[str, Any]]) -> tuple[Figure, ...]:
    """CPU per event at the largest number of Services over that at the smallest, equal slices."""
    first = sizes[0]
    alike = [one for one in sizes if one["endpoints"] == first["endpoints"]]
    last = alike[-1]
    if last is first:
        return ()
    grown = last["agent"]["cpu_ms_per_event"] / first["agent"]["cpu_ms_per_event"]
    what = f"agent CPU, {first['services']:,} to {last['services']:,} Services"
    return (Figure(f"flip: {what}", grown, "x", "ratio of means", 1.5),)


def bench_lab() -> LabConfig:
    """A lab of our own beside the one that the environment names, whether that is up or not."""
    usual = LabConfig.from_env()
    return LabConfig(name=f"b{usual.name[:8]}", index=(usual.index + 128) % 256)


def main() -> None:
    """Measure and report; the guest's logs stay only where something failed."""
    ends_cleanly()
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", default=SIZES)
    arguments.add_argument("--flips", type=int, default=300)
    options = arguments.parse_args()
    sizes = sorted(Size.parse(text) for text in options.sizes.split(","))
    cfg = bench_lab()
    verbs = Path(__file__).with_name("readiness_guest.py")
    results = []
    with locked(cfg), solo_cluster(cfg):
        cluster = Cluster(KubeApi(cfg.admin_kubeconfig), Etcd())
        for size in sizes:
            # A kernel of its own for each: every addition walks what was removed before.
            with solo_guest(cfg, verbs=verbs) as lab, entered(cfg.netns("cp")):
                results.append(Bench(lab, cluster, options.flips).size(size))
    down(cfg)
    show(results)
    write(Report(figures(results), {"sizes": results}), options.json)


if __name__ == "__main__":
    main()
