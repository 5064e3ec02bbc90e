# SPDX-License-Identifier: Apache-2.0
"""One lab for the whole session: brought up, provisioned by the playbook, taken down again.

`FAIRLEAD_LAB_KEEP=1` leaves it up, and edges that are provisioned already are taken as they are.
"""

import os

import pytest

from fairlead_lab.config import LabConfig
from support.provisioned import ProvisionedLab

SECONDS = 900
"""Limit of one test with its fixtures: the first brings up a lab and provisions two machines."""
_BY_BOTH = ("test_advertisements", "test_bgp", "test_secrets")
_SWITCH, _LAST = "test_switch_announce", "test_removal"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give lab tests more time than the others have, and a run of site.yml to few of them.

    Edges begin by announcing both ways; the test of the switch leaves them with VRRP alone, and
    what takes them away comes last. Any other order works as well, and takes longer.
    """
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.timeout(SECONDS))
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if not item.get_closest_marker("lab"):
        return 0
    name = item.path.stem
    return 0 if name in _BY_BOTH else 1 if name == _SWITCH else 3 if name == _LAST else 2


@pytest.fixture(scope="session")
def bare_lab():
    """The lab, up, its edges bare or as a kept lab has them."""
    running = ProvisionedLab(LabConfig.from_env())
    running.tool("up", timeout=1800)
    try:
        running.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        running.kubectl("create", "namespace", "shapes", check=False)
        yield running
    finally:
        if not os.environ.get("FAIRLEAD_LAB_KEEP"):
            running.tool("down")


@pytest.fixture(scope="module")
def lab(bare_lab: ProvisionedLab):
    """The lab with edges that announce by VRRP. To change that costs a minute: per module."""
    bare_lab.announce_by(["vrrp"])
    return bare_lab


@pytest.fixture(scope="module")
def bgp_lab(bare_lab: ProvisionedLab):
    """The lab with edges that announce by VRRP and BGP."""
    bare_lab.announce_by(["vrrp", "bgp"])
    return bare_lab
