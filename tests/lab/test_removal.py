# SPDX-License-Identifier: Apache-2.0
"""What goes away leaves nothing behind, and what is not ours stays."""

import json

import pytest

from support.harness import Lab, wait_for
from support.provisioned import ProvisionedLab

pytestmark = pytest.mark.lab
FOREIGN = "TCP 192.0.2.99:8000"


@pytest.fixture
def foreign(lab: Lab):
    """A virtual server made by hand on both edges; it must survive everything."""
    for edge in lab.edges:
        lab.ssh(
            edge,
            "ipvsadm -A -t 192.0.2.99:8000 -s wlc && "
            "ipvsadm -a -t 192.0.2.99:8000 -r 192.0.2.1:8000 -m -w 7",
        )
    yield
    for edge in lab.edges:
        assert lab.ipvs(edge)[FOREIGN] == {"192.0.2.1:8000": 7}
        lab.ssh(edge, "ipvsadm -D -t 192.0.2.99:8000")


def _gone(lab: Lab, vip: str) -> bool:
    return all(
        vip not in lab.addresses(edge) and not any(f" {vip}:" in name for name in lab.ipvs(edge))
        for edge in lab.edges
    )


def _up(lab: Lab, name: str) -> tuple[str, str]:
    text = lab.manifest("single-tcp").replace("single-tcp", name)
    lab.apply(text)
    lab.ready_pods(name, 3)
    vip = lab.vip(name)
    lab.answers("TCP", vip, 80)
    return text, vip


@pytest.mark.usefixtures("foreign")
def test_deleted_service_leaves_nothing(lab: Lab) -> None:
    text, vip = _up(lab, "leaving")
    lab.delete(text)
    wait_for("address and virtual servers gone", lambda: _gone(lab, vip))


@pytest.mark.usefixtures("foreign")
def test_changed_type_leaves_nothing_and_changing_back_works(lab: Lab) -> None:
    text, vip = _up(lab, "detyped")
    lab.kubectl(
        "patch",
        "service",
        "-n",
        "shapes",
        "detyped",
        "-p",
        json.dumps({"spec": {"type": "ClusterIP"}}),
    )
    wait_for("address and virtual servers gone", lambda: _gone(lab, vip))
    wait_for("status cleared", lambda: not lab.get("service", "detyped")["status"]["loadBalancer"])
    lab.kubectl(
        "patch",
        "service",
        "-n",
        "shapes",
        "detyped",
        "-p",
        json.dumps({"spec": {"type": "LoadBalancer"}}),
    )
    lab.answers("TCP", lab.vip("detyped"), 80)
    lab.delete(text)


@pytest.mark.usefixtures("foreign")
def test_foreign_virtual_server_survives_an_agent_restart(lab: Lab) -> None:
    for edge in lab.edges:
        lab.ssh(edge, "systemctl restart fairlead-agent")
        wait_for(
            "agent is back",
            lambda edge=edge: lab.ssh(edge, "systemctl is-active fairlead-agent") == "active\n",
        )


def test_edges_are_removed_without_the_cluster_when_that_is_asked_for(lab: ProvisionedLab) -> None:
    """A cluster that is gone for good keeps no edge in service, and a typo ends none."""
    text, vip = _up(lab, "orphaned")
    lab.tool("api", "down")
    try:
        refused = lab.playbook("remove", announce=["vrrp"], check=False)
        assert "-e fairlead_without_cluster=true" in refused
        assert len(lab.holders(vip)) == 1
        lab.playbook("remove", "-e", "fairlead_without_cluster=true", announce=["vrrp"])
    finally:
        lab.tool("api", "up")
    lab.delete(text)
    assert _gone(lab, vip)
    units = "systemctl is-active keepalived fairlead-agent"
    for edge in lab.edges:
        assert lab.ssh(edge, units, check=False).split() == ["inactive", "inactive"]
        assert lab.announces(edge) == []
