# SPDX-License-Identifier: Apache-2.0
"""`make bench`: every benchmark in turn, one small table of figures and goals, one JSON file.

    python -m bench [NAME ...] [--out FILE]

Each benchmark is a program of its own; this runs them in turn, so that none disturbs another, ends
those that take too long, and collects what they wrote. What is dear to build is built beforehand
and not counted. Exit status 1 when a benchmark failed; a missed goal is a finding, not a failure.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench import machine
from bench.figures import table
from bench.readiness_bench import bench_lab
from bench.running import Report, ends_cleanly, read, run_bounded
from fairlead_lab import kubebuild, preflight, process, uml

LIMITS: Mapping[str, float] = {"planner": 120, "codec": 60, "kernel": 160, "readiness": 420}
"""Benchmarks in their order, and after how many seconds each is ended: 12 minutes 40 in all."""
OUT = Path(__file__).parent / "results" / "figures.json"


def prepare(names: list[str]) -> None:
    """Build what the named benchmarks need and the cache lacks (minutes when cold).

    Raises:
        SystemExit: This machine can't; the message says what is missing.
    """
    try:
        if "kernel" in names:
            uml.module_tree()
        if "readiness" in names:
            preflight.check(bench_lab(), ("network", "cluster", "edges"))
            kubebuild.ensure(bench_lab())
    except (preflight.PreflightError, process.ProcessError, uml.UmlError) as error:
        raise SystemExit(f"bench: {error}") from error


def run(name: str, scratch: Path) -> Report | None:
    """Run one benchmark with its output on screen; None if it failed or took too long."""
    print(f"\n==> {name} (at most {LIMITS[name]:.0f} s)", flush=True)
    target, begun = scratch / f"{name}.json", time.monotonic()
    argv = [sys.executable, "-m", f"bench.{name}_bench", "--json", str(target)]
    status = run_bounded(argv, limit=LIMITS[name])
    print(f"    {name} took {time.monotonic() - begun:.0f} s", flush=True)
    try:
        if status == 0:
            return read(target)
        print(f"bench: {name} failed with exit status {status}", file=sys.stderr)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"bench: {name} left no figures: {error}", file=sys.stderr)
    return None


def collected(facts: dict[str, object], reports: Mapping[str, Report | None]) -> dict[str, Any]:
    """The JSON document: the machine, all figures with verdicts, and each benchmark's details."""
    figures = [
        {**msgspec.to_builtins(figure), "benchmark": name, "met": figure.met}
        for name, report in reports.items()
        if report
        for figure in report.figures
    ]
    details = {name: report.details if report else None for name, report in reports.items()}
    return {"machine": facts, "figures": figures, "details": details}


def main() -> int:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(LIMITS))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    names = options.names or list(LIMITS)
    if unknown := set(names) - set(LIMITS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(LIMITS)}")
    ends_cleanly()
    prepare(names)
    before = machine.facts()
    with tempfile.TemporaryDirectory() as scratch:
        reports = {name: run(name, Path(scratch)) for name in names}
    facts = {**before, "load_after": machine.facts()["load"]}
    done = [report for report in reports.values() if report]
    print(f"\n{table([figure for report in done for figure in report.figures])}")
    print(f"\n{machine.line(facts)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = msgspec.json.encode(collected(facts, reports))
    options.out.write_bytes(msgspec.json.format(document, indent=2) + b"\n")
    print(f"JSON: {options.out}")
    return 0 if len(done) == len(reports) else 1


if __name__ == "__main__":
    sys.exit(main())
