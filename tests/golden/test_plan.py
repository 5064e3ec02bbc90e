# SPDX-License-Identifier: Apache-2.0
"""What `fairlead plan` prints about sets of manifests equals its golden twins, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "plan"
ROOT = Path(__file__).parents[2]
FAIRLEAD = str(Path(sys.executable).with_name("fairlead"))

JSON = ["--format", "json"]
EXAMPLE = ["--manifests", "examples/cluster", "--edges", "examples/edges.yaml"]
METALLB = [
    "--manifests",
    "tests/golden/plan/metallb.yaml",
    "--edges",
    "tests/golden/plan/edges.yaml",
]
CHANGE = [*EXAMPLE, "--what-if", "examples/change"]

CASES = {
    # twin -> (arguments, exit status)
    "example.json": ([*EXAMPLE, *JSON], 0),
    "example.txt": (EXAMPLE, 0),
    "example-without-edges.json": (["--manifests", "examples/cluster", *JSON], 0),
    "metallb.json": ([*METALLB, *JSON], 2),
    "explain-local.txt": ([*EXAMPLE, "--explain", "database/postgresql-external"], 0),
    "explain-local.json": ([*EXAMPLE, "--explain", "database/postgresql-external", *JSON], 0),
    "explain-shared.txt": ([*EXAMPLE, "--explain", "voice/dns-tcp"], 0),
    "explain-cluster.txt": ([*EXAMPLE, "--explain", "voice/dns-udp"], 0),
    "explain-exhausted.txt": ([*EXAMPLE, "--explain", "batch/job-c"], 0),
    "explain-taken.txt": ([*EXAMPLE, "--explain", "voice/intruder"], 0),
    "explain-outside.txt": ([*EXAMPLE, "--explain", "shop/elsewhere"], 0),
    "explain-no-endpoints.txt": ([*EXAMPLE, "--explain", "shop/web"], 0),
    "explain-public.txt": ([*EXAMPLE, "--explain", "shop/public"], 0),
    "explain-not-ours.txt": ([*EXAMPLE, "--explain", "database/postgresql"], 0),
    "change.txt": (CHANGE, 1),
    "change.json": ([*CHANGE, *JSON], 1),
}


@pytest.mark.parametrize("twin", sorted(CASES))
def test_plan_equals_its_twin(twin: str, update_golden: bool) -> None:
    arguments, status = CASES[twin]
    done = subprocess.run(
        [FAIRLEAD, "plan", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "random"},
    )
    assert done.returncode == status, done.stderr
    path = HERE / twin
    if update_golden:
        path.write_text(done.stdout)
    assert done.stdout == path.read_text()


@pytest.mark.parametrize("twin", sorted(twin for twin in CASES if twin.endswith(".txt")))
def test_text_fits_a_terminal_of_80_columns(twin: str) -> None:
    lines = (HERE / twin).read_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_no_twin_is_orphaned() -> None:
    assert {path.name for path in HERE.iterdir() if path.suffix != ".yaml"} == set(CASES)
