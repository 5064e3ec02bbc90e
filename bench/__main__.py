# SPDX-License-Identifier: Apache-2.0
"""`make bench`: every benchmark in turn, their tables on screen, one JSON with the machine's facts.

    python -m bench [NAME ...] [--out FILE]

Each benchmark is a script of its own with `--json FILE`; this runs them in turn, so that
none disturbs another, and collects what they wrote.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).parent
BENCHMARKS = ("planner", "codec", "readiness")


def machine() -> dict[str, object]:
    """What a reader needs to place the figures."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return {
        "cpus": os.cpu_count(),
        "model": ", ".join(sorted(models)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def run(name: str, scratch: Path) -> object:
    """Run one benchmark with its output on screen; returns what it wrote, None if it failed."""
    print(f"\n==> {name}", flush=True)
    target = scratch / f"{name}.json"
    script = FOLDER / f"{name}_bench.py"
    done = subprocess.run(
        [sys.executable, str(script), "--json", str(target)], check=False, cwd=FOLDER.parent
    )
    if done.returncode or not target.exists():
        print(f"bench: {name} failed with exit status {done.returncode}", file=sys.stderr)
        return None
    return json.loads(target.read_text())


def main() -> int:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=FOLDER / "results" / "figures.json")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    with tempfile.TemporaryDirectory() as scratch:
        figures = {n: run(n, Path(scratch)) for n in options.names or BENCHMARKS}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": facts, **figures}, indent=2) + "\n")
    print(f"\nfigures: {options.out}")
    return 1 if None in figures.values() else 0


if __name__ == "__main__":
    sys.exit(main())
