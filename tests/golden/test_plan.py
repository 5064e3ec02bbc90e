# SPDX-License-Identifier: Apache-2.0
"""Plans of whole sets of manifests equal their golden twins, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "plan"
ROOT = Path(__file__).parents[2]
FAIRLEAD = str(Path(sys.executable).with_name("fairlead"))

CASES = {
    # twin -> (arguments, exit status)
    "example": (["examples/cluster.yaml", "--edges", "examples/edges.yaml"], 0),
    "advertisements": (
        ["examples/cluster.yaml", "examples/advertisements.yaml", "--edges", "examples/edges.yaml"],
        0,
    ),
    "example-without-edges": (["examples/cluster.yaml"], 0),
    "metallb": (["tests/golden/plan/metallb.yaml", "--edges", "tests/golden/plan/edges.yaml"], 2),
}


@pytest.mark.parametrize("twin", sorted(CASES))
def test_plan_equals_its_twin(twin: str, update_golden: bool) -> None:
    arguments, status = CASES[twin]
    done = subprocess.run(
        [FAIRLEAD, "plan", "--format", "json", "--manifests", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "random"},
    )
    assert done.returncode == status, done.stderr
    path = HERE / f"{twin}.json"
    if update_golden:
        path.write_text(done.stdout)
    assert done.stdout == path.read_text()


def test_no_twin_is_orphaned() -> None:
    assert {path.stem for path in HERE.glob("*.json")} == set(CASES)
