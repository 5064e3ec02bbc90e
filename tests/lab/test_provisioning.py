# SPDX-License-Identifier: Apache-2.0
"""The playbooks on edges that are finished: nothing to change, nothing pretended."""

import re

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
