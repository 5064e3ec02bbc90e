# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the kernel tier; everything here runs as root under a kernel with IPVS:

python -m fairlead_lab.uml run --mem 768M -- .venv/bin/python -m pytest tests/kernel -m kernel
"""

import itertools
import subprocess

import pytest

from fairlead.edge.ipvs import IpvsTable
from kernel.network import Network

_NUMBERS = itertools.count(1)


@pytest.fixture
def netns():
    """Name of a fresh network namespace with its own IPVS table."""
    name = f"flk-{next(_NUMBERS)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    # Without a local route table the kernel takes every real server for a broadcast address.
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def table(netns):
    """An empty IPVS table."""
    with IpvsTable(netns) as opened:
        yield opened


@pytest.fixture
def network():
    """A client, two edges and real servers on one LAN."""
    made = Network(f"fln{next(_NUMBERS)}")
    made.build()
    yield made
    made.destroy()
