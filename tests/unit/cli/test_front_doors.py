# SPDX-License-Identifier: Apache-2.0
"""What an edge can't have is refused by whoever reads the inventory first, in the same words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairlead.agent.config import load_config
from fairlead.agent.daemon import Agent
from fairlead.cli.main import cli
from fairlead.model.errors import FairleadError

EDGES = [{"name": "edge1", "address": "192.0.2.11"}, {"name": "edge2", "address": "192.0.2.12"}]
GOOD = {
    "edges": EDGES,
    "pools": [{"name": "lan", "addresses": ["192.0.2.160-192.0.2.191"]}],
    "vrrp": {"advertised_address": "192.0.2.9/24"},
}


def by_plan(folder: Path, inventory: dict[str, Any]) -> str:
    """What `fairlead plan` says, "" where it plans."""
    edges, manifests = folder / "edges.yaml", folder / "manifests"
    edges.write_text(json.dumps(inventory))
    manifests.mkdir()
    done = CliRunner().invoke(cli, ["plan", "--edges", str(edges), "--manifests", str(manifests)])
    assert "Traceback" not in done.output
    return done.stderr if done.exit_code else ""


def by_agent(folder: Path, inventory: dict[str, Any]) -> str:
    """What the agent says at its start, "" where nothing is missing but the way to the cluster."""
    edges, config = folder / "edges.yaml", folder / "agent.yaml"
    edges.write_text(json.dumps(inventory))
    kubeconfig = folder / "absent"
    config.write_text(f"edge: edge1\ninventory: {edges}\nkubeconfig: {kubeconfig}\n")
    with pytest.raises(FairleadError) as caught:
        Agent(load_config(config))
    said = str(caught.value)
    return "" if str(kubeconfig) in said else said


DOORS = [by_plan, by_agent]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "service_sync": (
        {"service_sync": "playbook"},
        "service_sync: 'playbook' is not offered: nothing would write addresses or follow",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_edges_can_have_passes(door: Callable[..., str], tmp_path: Path) -> None:
    assert door(tmp_path, {**GOOD, "service_sync": "live"}) == ""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("row", BAD)
def test_what_edges_can_t_have_is_refused(
    door: Callable[..., str], row: str, tmp_path: Path
) -> None:
    change, said = BAD[row]
    assert said in door(tmp_path, {**GOOD, **change})
