# SPDX-License-Identifier: Apache-2.0
"""No run switches conntrack off for IPVS: the role's sysctls, rendered by Ansible itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/edge_ipvs"


def declared(tmp_path, **variables):
    """The role's sysctl file under these variables: name -> value."""
    dest = tmp_path / "60-fairlead.conf"
    subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible"),
            *("localhost", "-m", "ansible.builtin.template"),
            *("-a", f"src={ROLE}/templates/sysctl.d.j2 dest={dest}"),
            *(f"-e@{ROLE}/{kind}/main.yml" for kind in ("defaults", "vars")),
            *("-e", json.dumps({"ansible_python_interpreter": sys.executable, **variables})),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.partition(" = ") for line in dest.read_text().splitlines() if " = " in line)
    return {name: value for name, _, value in rows}


def test_conntrack_is_switched_on_where_the_inventory_prepares_masquerade(tmp_path):
    assert declared(tmp_path, edge_ipvs_conntrack=True)["net.ipv4.vs.conntrack"] == "1"


@pytest.mark.parametrize("asked", [False, None])
def test_conntrack_is_never_switched_off(tmp_path, asked):
    # A single Service may be masqueraded; the agent has switched it on for that one.
    variables = {} if asked is None else {"edge_ipvs_conntrack": asked}
    found = declared(tmp_path, **variables)
    assert "net.ipv4.vs.conntrack" not in found
    assert found["net.ipv4.vs.sloppy_tcp"] == "1"


def test_the_operators_value_wins(tmp_path):
    given = {"net.ipv4.vs.conntrack": 0, "net.core.somaxconn": 512}
    found = declared(tmp_path, edge_ipvs_conntrack=True, edge_ipvs_sysctls=given)
    assert found["net.ipv4.vs.conntrack"] == "0"
    assert found["net.core.somaxconn"] == "512"
