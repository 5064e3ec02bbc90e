# SPDX-License-Identifier: Apache-2.0
"""loadBalancerSourceRanges: the edges let in whom the Service lets in, and follow a change."""

import json

import pytest

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab


def _ranges(lab: Lab, *sources: str) -> None:
    patch = json.dumps({"spec": {"loadBalancerSourceRanges": [f"{one}/32" for one in sources]}})
    lab.kubectl("patch", "service", "fenced", "-n", "shapes", "-p", patch)


def _let_in(lab: Lab, edge: str, vip: str) -> set[str]:
    """Sources that an edge's packet filter lets in to a VIP's port 80."""
    rules = lab.ssh(edge, "iptables-legacy -t raw -S FAIRLEAD-SOURCES", check=False)
    rows = (line.split() for line in rules.splitlines() if f"-d {vip}/32" in line)
    found = [row for row in rows if row[row.index("--dport") + 1] == "80"]
    assert not found or found[-1][-1] == "DROP"
    return {row[row.index("-s") + 1].removesuffix("/32") for row in found if "-s" in row}


def test_only_named_sources_are_let_in(lab: Lab) -> None:
    text = lab.manifest("two-tcp-local").replace("web-local", "fenced")
    client = lab.cfg.client_address
    lab.apply(text)
    try:
        lab.ready_pods("fenced", 3)
        vip = lab.vip("fenced")
        lab.answers("TCP", vip, 80)
        with lab.client_addresses(1) as (stranger,):
            assert lab.tcp(vip, 80, source=stranger).client == stranger
            _ranges(lab, client)
            for edge in lab.edges:
                wait_for(f"{edge} fences it", lambda edge=edge: _let_in(lab, edge, vip) == {client})
            with pytest.raises(OSError, match="timed out"):
                lab.tcp(vip, 80, source=stranger, timeout=1.0)
            assert lab.tcp(vip, 80, source=client).client == client
            _ranges(lab, client, stranger)
            wait_for(
                "the stranger is let in", lambda: lab.tcp(vip, 80, source=stranger, timeout=1.0)
            )
            _ranges(lab)
            for edge in lab.edges:
                wait_for(f"{edge} is open", lambda edge=edge: not _let_in(lab, edge, vip))
    finally:
        lab.delete(text)
