# SPDX-License-Identifier: Apache-2.0
"""Modules for edges on a machine that nobody has prepared yet."""

import pytest

from support.modules import SYSTEM_PYTHON, fail_module, run_module

NOTHING = {"virtual_servers": [], "addresses": [], "vrrp": [], "bgp": [], "bgp_peers": []}
INVENTORY = {"edges": [{"name": "edge1", "address": "192.0.2.11"}]}
CHANGING = {
    "addresses": {"plan": NOTHING, "pools": []},
    "bgp": {"inventory": INVENTORY, "edge": "edge1", "plan": NOTHING},
    "firewall": {"plan": NOTHING},
    "ipvs": {"plan": NOTHING, "pools": []},
    "vrrp": {"plan": NOTHING},
}


@pytest.mark.parametrize("name", CHANGING)
def test_check_mode_says_that_there_would_be_a_change(name, bare):
    result = run_module(name, CHANGING[name], place=bare, python=SYSTEM_PYTHON, check=True)
    assert result["changed"]
    assert result["installed"] is False
    assert bare.files() == {}


@pytest.mark.parametrize("name", CHANGING)
def test_without_check_mode_it_fails_with_the_remedy(name, bare):
    said = fail_module(name, CHANGING[name], place=bare, python=SYSTEM_PYTHON)
    assert "run the role fairlead.edge.edge_base" in said
    assert bare.files() == {}


@pytest.mark.parametrize("check", [True, False])
def test_info_says_that_there_is_nothing(bare, check):
    result = run_module(
        "edge_info", {"interface": "eth0"}, place=bare, python=SYSTEM_PYTHON, check=check
    )
    assert not result["changed"]
    assert result["installed"] is False
