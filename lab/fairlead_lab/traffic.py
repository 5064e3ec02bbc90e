# SPDX-License-Identifier: Apache-2.0
"""Traffic with a count of what it met: `python -m fairlead_lab.traffic`, and for tests a call.

It runs where it is started; `start_traffic` starts it on a host of the lab. The last line on
stdout is the summary as JSON, also after SIGINT or SIGTERM. While it runs, a line with
``{"progress": ...}`` comes five times a second when it is asked for.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairlead_lab import process
from fairlead_lab.config import LabConfig
from fairlead_lab.traffic_engine import Engine, Mode, Tally, TrafficSpec

PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Summary:
    """What a run met. Times in milliseconds, ``seconds`` apart."""

    target: str
    mode: str
    seconds: float
    requests: int
    answered: int
    lost: int
    """Requests without an answer, for whatever reason."""
    errors: dict[str, int]
    """Why: "timeout", "refused", "reset", "closed", ..."""
    connections: int
    """TCP connections that were established."""
    broken: int
    """Held connections that ended by RST or EOF."""
    stalled: int
    """Held connections that once waited longer than the stall time for an answer."""
    longest_gap_ms: float
    """Longest time between two successive answers (held: on one connection)."""
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_max_ms: float | None
    per_pod: dict[str, int]
    """Answers by pod."""
    per_node: dict[str, int]
    clients: dict[str, int]
    """Client addresses as the pods saw them."""


def summarize(spec: TrafficSpec, tally: Tally, seconds: float) -> Summary:
    """The tally of a finished run as a summary."""
    latencies = sorted(tally.latencies)

    def at(share: float) -> float | None:
        if not latencies:
            return None
        return round(latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1000, 3)

    def table(counter: Counter[str]) -> dict[str, int]:
        return dict(sorted(counter.items()))

    host = f"[{spec.address}]" if ":" in spec.address else spec.address
    return Summary(
        target=f"{host}:{spec.port}/{'udp' if spec.mode == 'udp' else 'tcp'}",
        mode=spec.mode,
        seconds=round(seconds, 3),
        requests=tally.sent,
        answered=tally.answered,
        lost=tally.sent - tally.answered,
        errors=table(tally.errors),
        connections=tally.opened,
        broken=tally.broken,
        stalled=tally.stalled,
        longest_gap_ms=round(tally.longest_gap * 1000, 3),
        latency_p50_ms=at(0.50),
        latency_p99_ms=at(0.99),
        latency_max_ms=at(1.0),
        per_pod=table(tally.pods),
        per_node=table(tally.nodes),
        clients=table(tally.clients),
    )


def parse_target(text: str) -> tuple[str, int, str]:
    """``ADDRESS:PORT[/tcp|/udp]`` (IPv6 in brackets) as address, port, protocol.

    Raises:
        ValueError: it is not of that form.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})(?:/(tcp|udp))?", text)
    if found is None or not 0 < int(found[3]) < 65536:
        raise ValueError(f"{text!r} is not ADDRESS:PORT/tcp or /udp (IPv6 in brackets)")
    return found[1] or found[2], int(found[3]), found[4] or "tcp"


def arguments(spec: TrafficSpec) -> list[str]:
    """The command line that means ``spec``."""
    host = f"[{spec.address}]" if ":" in spec.address else spec.address
    protocol = "udp" if spec.mode == "udp" else "tcp"
    argv = ["--target", f"{host}:{spec.port}/{protocol}"]
    if spec.mode != "udp":
        argv += ["--mode", spec.mode]
    for name in ("rate", "duration", "connections", "interval", "timeout", "stall"):
        argv += [f"--{name}", str(getattr(spec, name))]
    if spec.count is not None:
        argv += ["--count", str(spec.count)]
    for source in spec.sources:
        argv += ["--source", source]
    return argv


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = TrafficSpec("", 0)
    cli = argparse.ArgumentParser(prog="traffic", description="sends traffic and counts answers")
    cli.add_argument("--target", required=True, help="ADDRESS:PORT/tcp or ADDRESS:PORT/udp")
    cli.add_argument("--mode", choices=("short", "held"), default="short", help="TCP only")
    cli.add_argument("--rate", type=float, default=defaults.rate, help="requests per second")
    cli.add_argument("--duration", type=float, default=defaults.duration, help="seconds")
    cli.add_argument("--count", type=int, help="at most so many requests (held: per connection)")
    cli.add_argument("--connections", type=int, default=0, help="held: how many; udp: flows")
    cli.add_argument("--interval", type=float, default=defaults.interval, help="held: seconds")
    cli.add_argument("--timeout", type=float, default=defaults.timeout, help="seconds")
    cli.add_argument("--stall", type=float, default=defaults.stall, help="held: seconds")
    cli.add_argument("--source", action="append", default=[], help="send from; repeat for more")
    cli.add_argument("--progress", action="store_true", help="print counts while it runs")
    return cli


def spec_of(options: argparse.Namespace) -> TrafficSpec:
    """The spec that a command line means.

    Raises:
        ValueError: an option makes no sense.
    """
    address, port, protocol = parse_target(options.target)
    mode: Mode = "udp" if protocol == "udp" else options.mode
    if options.rate <= 0 or options.duration <= 0 or options.interval <= 0:
        raise ValueError("--rate, --duration and --interval have to be above 0")
    return TrafficSpec(
        address=address,
        port=port,
        mode=mode,
        rate=options.rate,
        duration=options.duration,
        count=options.count,
        connections=options.connections,
        interval=options.interval,
        timeout=options.timeout,
        stall=options.stall,
        sources=tuple(options.source),
    )


async def _run(spec: TrafficSpec, *, progress: bool) -> Summary:
    engine = Engine(spec)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, engine.stop)
    reporter = asyncio.create_task(_report(engine.tally)) if progress else None
    await engine.run()
    if reporter is not None:
        reporter.cancel()
    return summarize(spec, engine.tally, engine.finished - engine.started)


async def _report(tally: Tally) -> None:
    while True:
        counts = {"sent": tally.sent, "answered": tally.answered, "opened": tally.opened}
        print(json.dumps({"progress": counts}), flush=True)
        await asyncio.sleep(PROGRESS_SECONDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit status 0 when nothing was lost, broken or stalled, else 1."""
    cli = parser()
    options = cli.parse_args(argv)
    try:
        spec = spec_of(options)
    except ValueError as error:
        cli.error(str(error))
    summary = asyncio.run(_run(spec, progress=options.progress))
    print(json.dumps(asdict(summary)), flush=True)
    return 1 if summary.lost or summary.broken or summary.stalled else 0


class Handle:
    """Traffic that runs on a host of the lab; made by `start_traffic`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._last: dict[str, Any] = {}
        self._progress: dict[str, int] = {}
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stdout = self._process.stdout
        for line in stdout or ():
            document = json.loads(line)
            with self._changed:
                self._last = document
                self._progress = document.get("progress", self._progress)
                self._changed.notify_all()

    def wait_answers(self, count: int, timeout: float = 10.0) -> None:
        """Return when so many answers have come.

        Raises:
            TimeoutError: they did not.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._progress.get("answered", 0) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise TimeoutError(f"{self._progress} instead of {count} answers")
                self._changed.wait(min(left, PROGRESS_SECONDS))

    def wait(self, timeout: float | None = None) -> Summary:
        """Let it end by itself and return what it met.

        Raises:
            RuntimeError: it ended without a summary.
            subprocess.TimeoutExpired: it did not end in time.
        """
        self._process.wait(timeout)
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if "target" not in self._last:
            raise RuntimeError(f"traffic ended with status {self._process.returncode}")
        return Summary(**self._last)

    def stop(self) -> Summary:
        """End it now and return what it met; requests under way may still be answered."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout=30)


def make_spec(target: str, *, mode: Mode | None = None, **options: Any) -> TrafficSpec:
    """A spec for ``ADDRESS:PORT/tcp`` or ``/udp``; ``options`` are fields of `TrafficSpec`.

    Raises:
        ValueError: the target is not of that form.
    """
    address, port, protocol = parse_target(target)
    if (mode == "udp") != (protocol == "udp") and mode is not None:
        raise ValueError(f"mode {mode} does not fit {target}")
    mode = mode or ("udp" if protocol == "udp" else "short")
    return TrafficSpec(address=address, port=port, mode=mode, **options)


def start_traffic(
    cfg: LabConfig, host: str, target: str, *, mode: Mode | None = None, **options: Any
) -> Handle:
    """Start traffic on a host of the lab ("client", "rclient", ...).

    Args:
        cfg: the lab.
        host: whose namespace it starts in.
        target: ``ADDRESS:PORT/tcp`` or ``/udp``, IPv6 addresses in brackets.
        mode: "short" (default for TCP), "held" or "udp" (default for UDP).
        options: fields of `TrafficSpec`.
    """
    spec = make_spec(target, mode=mode, **options)
    folder = Path(__file__).resolve().parent.parent
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from fairlead_lab.traffic import main"
    argv = [
        "nsenter", f"--net=/run/netns/{cfg.netns(host)}", "--",
        sys.executable, "-I", "-c", f"{code}; sys.exit(main())", *arguments(spec), "--progress",
    ]  # fmt: skip
    environment = {**os.environ, process.MARK: process.mark(cfg)}  # `lab down` ends it too
    return Handle(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment))


def run_traffic(
    cfg: LabConfig, host: str, target: str, *, mode: Mode | None = None, **options: Any
) -> Summary:
    """Run traffic on a host of the lab to its end; arguments as for `start_traffic`."""
    return start_traffic(cfg, host, target, mode=mode, **options).wait(timeout=300)


if __name__ == "__main__":
    sys.exit(main())
