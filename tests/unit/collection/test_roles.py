# SPDX-License-Identifier: Apache-2.0
"""Inputs of roles: what is specified is what is defaulted, nothing drifts apart."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
# Values that one role registers or sets for the playbooks.
SHARED = {"cluster_access_result"}


def read(role, file):
    return yaml.safe_load((ROOT / "roles" / role / file).read_text()) or {}


def options(role):
    return read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("role", ROLES)
def test_specified_defaults_are_the_defaults(role):
    specified = {
        name: option["default"]
        for name, option in options(role).items()
        if not option.get("required")
    }
    assert read(role, "defaults/main.yml") == specified


@pytest.mark.parametrize("role", ROLES)
def test_required_inputs_are_named_in_the_defaults_as_comments(role):
    text = (ROOT / "roles" / role / "defaults/main.yml").read_text()
    for name, option in options(role).items():
        if option.get("required"):
            assert f"# {name}:" in text


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_typed_described_and_bears_the_roles_name(role):
    for name, option in options(role).items():
        assert name.startswith(f"{role}_"), name
        assert {"type", "description"} <= set(option), name
        assert option["type"] != "list" or "elements" in option, name


def test_what_the_playbooks_wire_is_an_input():
    wired = set(yaml.safe_load((ROOT / "playbooks/vars/wiring.yml").read_text()))
    inputs = {name for role in ROLES for name in options(role)}
    assert {name for name in wired if not name.startswith("__")} <= inputs | SHARED


def test_readmes_are_what_the_argument_specs_say():
    argv = [sys.executable, str(ROOT / "tools/role_readmes.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
