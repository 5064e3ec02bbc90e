# SPDX-License-Identifier: Apache-2.0
"""Molecule scenarios: no step lacks its playbook; Molecule would skip it and be content."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
BY_CONVERGE = {"check", "idempotence", "syntax"}


def test_there_are_scenarios():
    assert "default" in SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_step_has_its_playbook(name):
    folder = ROOT / "molecule" / name
    scenario = yaml.safe_load((folder / "molecule.yml").read_text())
    named = scenario["ansible"]["playbooks"]
    assert [path for path in named.values() if not (folder / path).is_file()] == []
    for step in scenario["scenario"]["test_sequence"]:
        action, *playbooks = step.split()
        assert action in named or action in BY_CONVERGE, step
        assert [path for path in playbooks if not (folder / path).is_file()] == [], step
