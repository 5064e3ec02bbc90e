# SPDX-License-Identifier: Apache-2.0
"""One lab for the whole session: brought up, provisioned by the playbook, taken down again.

`FAIRLEAD_LAB_KEEP=1` leaves it up, and uses edges that are provisioned already as they are.
"""

import os

import pytest

from fairlead_lab.config import LabConfig
from support.provisioned import ProvisionedLab

SECONDS = 900
"""Limit of one test with its fixtures: the first brings up a lab and provisions two machines."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give lab tests more time than the others have."""
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def lab():
    """The provisioned lab."""
    running = ProvisionedLab(LabConfig.from_env())
    keep = bool(os.environ.get("FAIRLEAD_LAB_KEEP"))
    running.tool("up", timeout=1800)
    try:
        running.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        running.kubectl("create", "namespace", "shapes", check=False)
        if not (keep and all(running.in_step(edge) for edge in running.edges)):
            running.provision(announce=["vrrp"])
        yield running
    finally:
        if not keep:
            running.tool("down")
