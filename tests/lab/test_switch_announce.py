# SPDX-License-Identifier: Apache-2.0
"""`fairlead_announce` changes under traffic: nothing lost, nothing left of what is off."""

import pytest

from support.harness import wait_for
from support.provisioned import ProvisionedLab

pytestmark = pytest.mark.lab

VRRP_LEFT = (
    "ls /etc/keepalived/keepalived.conf /etc/fairlead/keepalived/vrrp.conf"
    " /etc/systemd/system/keepalived.service.d/fairlead.conf 2>/dev/null;"
    " systemctl is-active keepalived; systemctl is-enabled keepalived; pgrep -x keepalived"
)
BGP_LEFT = (
    "ls /etc/bird/bird.conf /etc/fairlead/bird /etc/tmpfiles.d/fairlead-bird.conf 2>/dev/null;"
    " systemctl is-active bird; systemctl is-enabled bird; pgrep -x bird;"
    " ls -d /sys/class/net/fairlead0"
)


SWITCHES = {
    "bgp goes": ["vrrp"],
    "bgp comes, vrrp goes": ["bgp"],
    "vrrp comes, bgp goes": ["vrrp"],
}
"""One after the other, from both."""


@pytest.fixture(scope="module")
def web(bgp_lab: ProvisionedLab):
    """A Service behind the router, on edges that announce it by both ways."""
    lab = bgp_lab
    text = lab.manifest("two-tcp-local").replace("web-local", "switched")
    lab.apply(text)
    lab.ready_pods("switched", 3)
    vip = lab.vip("switched")
    wait_for("the router has both edges", lambda: len(lab.router_next_hops(vip)) == 2)
    yield vip
    lab.delete(text)


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_change_of_the_list_loses_nothing_and_leaves_nothing(
    bgp_lab: ProvisionedLab, web: str, switch: str
) -> None:
    """From both to VRRP alone, to BGP alone, and back: each way goes once and comes once.

    That a run with a way off changes nothing is seen in test_provisioning.py.
    """
    lab, ways = bgp_lab, SWITCHES[switch]
    with lab.traffic(f"{web}:80/tcp", rate=50, duration=400, host="rclient") as load:
        lab.playbook("site", announce=ways)
        load.wait_seconds(1)
        summary = load.stop()
    assert summary.lost == 0, summary
    assert summary.answered > 100, summary
    for edge in lab.edges:
        if "vrrp" not in ways:
            assert _left(lab, edge, VRRP_LEFT) == []
            assert web not in lab.ssh(edge, "ip -br address show vec0")
        if "bgp" not in ways:
            assert _left(lab, edge, BGP_LEFT) == []


def _left(lab: ProvisionedLab, edge: str, command: str) -> list[str]:
    gone = {"inactive", "disabled", "unknown", "not-found", "masked", ""}
    return [line for line in lab.ssh(edge, command, check=False).splitlines() if line not in gone]
