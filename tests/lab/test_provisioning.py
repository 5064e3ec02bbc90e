# SPDX-License-Identifier: Apache-2.0
"""The playbooks on edges that are finished: nothing to change, nothing pretended."""

import re
from pathlib import Path

import pytest

from support.provisioned import ProvisionedLab

pytestmark = pytest.mark.lab


def _changed(output: str) -> dict[str, int]:
    return {
        host: int(changed)
        for host, changed in re.findall(r"(?m)^(\S+)\s+: ok=\d+\s+changed=(\d+)", output)
    }


def test_second_run_changes_nothing(lab: ProvisionedLab) -> None:
    changed = _changed(lab.playbook("site", announce=["vrrp"]))
    assert changed
    assert set(changed.values()) == {0}, changed


def test_check_and_diff_on_finished_edges(lab: ProvisionedLab) -> None:
    changed = _changed(lab.playbook("site", "--check", "--diff", announce=["vrrp"]))
    assert changed
    assert set(changed.values()) == {0}, changed


def test_verify_passes(lab: ProvisionedLab) -> None:
    lab.playbook("verify", announce=["vrrp"])


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("fairlead_edge_interface=nosuch0", "there is no interface nosuch0; set fairlead"),
        (
            "fairlead_edge_address={{ '192.0.2.' ~ inventory_hostname[-1] }}",
            "192.0.2.1 is not an address of this machine; set fairlead_edge_address",
        ),
        ("fairlead_kubeconfig=/nonexistent/config", "kubeconfig /nonexistent/config: "),
        ('{"fairlead_vrrp": {}}', "vrrp.advertised_address: edge edge1: is missing"),
        ("fairlead_forwarding=teleport", "inventory: forwarding: Invalid enum value 'teleport'"),
    ],
)
def test_preflight_says_no_in_a_sentence(lab: ProvisionedLab, extra: str, sentence: str) -> None:
    output = lab.playbook("preflight", "-e", extra, announce=["vrrp"], check=False)
    assert sentence in output
    assert "Traceback" not in output
    assert set(_changed(output).values()) <= {0}


def test_preflight_names_an_api_server_that_does_not_answer(
    lab: ProvisionedLab, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    text = lab.cfg.admin_kubeconfig.read_text()
    kubeconfig.write_text(text.replace(":6443", ":6444"))
    output = lab.playbook(
        "preflight", "-e", f"fairlead_kubeconfig={kubeconfig}", announce=["vrrp"], check=False
    )
    assert "API server: GET /api/v1/namespaces: " in output
    assert ":6444" in output or "port=6444" in output
    assert "Traceback" not in output
