# SPDX-License-Identifier: Apache-2.0
"""One lab for the whole session: brought up, provisioned by the playbook, taken down again.

`FAIRLEAD_LAB_KEEP=1` leaves it up for the next run; a lab that stands already is used as it is.
"""

import os

import pytest

from fairlead_lab.config import LabConfig
from support.provisioned import ProvisionedLab


@pytest.fixture(scope="session")
def lab():
    """The provisioned lab."""
    running = ProvisionedLab(LabConfig.from_env())
    running.tool("up", timeout=1800)
    try:
        running.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        running.kubectl("create", "namespace", "shapes", check=False)
        running.provision(announce=["vrrp"])
        yield running
    finally:
        if not os.environ.get("FAIRLEAD_LAB_KEEP"):
            running.tool("down")
