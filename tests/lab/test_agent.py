# SPDX-License-Identifier: Apache-2.0
"""The agent alone against a real API server, with the rights of its account, on a real kernel.

One guest with a card, a control plane, keepalived where announcements are the subject; no playbook.
What traffic sees is the subject of the other tests here, on provisioned edges.
"""

import json
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from fairlead.cluster.client import MERGE_PATCH, ApiError, KubeApi
from fairlead.edge.netns import entered
from fairlead_lab import controlplane, kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import solo_edge
from support.agent_edge import LEASE, SERVICES, AgentEdge, prepare
from support.harness import wait_for

pytestmark = pytest.mark.lab

DOCUMENT = {
    "pools": [{"name": "lan", "addresses": ["10.222.91.160-10.222.91.191"]}],
    "announce": ["vrrp", "bgp"],
    "vrrp": {"advertised_address": "10.222.91.9/24"},
    "bgp": {"peers": [{"name": "router", "address": "10.222.91.1", "asn": 64500}]},
}


@pytest.fixture(scope="module")
def edge() -> Iterator[AgentEdge]:
    cfg = LabConfig(name="flsolo", index=91)
    with solo_edge(cfg, mem="768M") as solo, entered(cfg.netns("cp")):
        api = KubeApi(cfg.admin_kubeconfig)
        prepare(cfg, solo, api, DOCUMENT, {"resync_seconds": 2})
        made = AgentEdge(solo, api)
        made.guest(
            "start", "keepalived", ["keepalived", "-n", "-P", "-l", "-f", "/run/fl/keepalived.conf"]
        )
        made.start()
        yield made


def test_service_gets_address_status_events_and_virtual_server(edge: AgentEdge) -> None:
    edge.service("web")
    edge.endpoints("web", True, True, False)
    vip = edge.vip("web")
    assert ip_address("10.222.91.160") <= ip_address(vip) <= ip_address("10.222.91.191")
    wait_for("weight 2", edge.rule(vip, 2))
    wait_for("the VIP stands on both links", lambda: edge.shell("ip -br a").count(f"{vip}/32") == 2)
    found = edge.get(f"{SERVICES}/web")
    assert found["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "lan"
    texts = wait_for(
        "nodeAssigned", lambda: len(edge.events("web")) >= 3 and edge.events("web"), 10
    )
    assert ("Normal", "IPAllocated", f'Assigned IP ["{vip}"]') in texts
    for protocol in ("layer2", "bgp"):
        said = f'announcing from node "edge1" with protocol "{protocol}"'
        assert ("Normal", "nodeAssigned", said) in texts


def test_readiness_moves_the_weight_and_the_last_one_withdraws(edge: AgentEdge) -> None:
    edge.service("ready")
    edge.endpoints("ready", True, True)
    vip = edge.vip("ready")
    wait_for("weight 2", edge.rule(vip, 2))
    edge.endpoints("ready", True, False)
    wait_for("weight 1", edge.rule(vip, 1))
    edge.endpoints("ready", False, False)
    wait_for("withdrawn", lambda: f"{vip}/" not in edge.shell("ip -br a"))
    edge.endpoints("ready", True, True)
    wait_for("back", lambda: edge.shell("ip -br a").count(f"{vip}/32") == 2)
    wait_for("weight 2 again", edge.rule(vip, 2))
    edge.remove("ready", vip)


def test_refusal_is_told_once(edge: AgentEdge) -> None:
    edge.service("outside", loadBalancerIP="203.0.113.77")
    (event,) = wait_for("a Warning", lambda: edge.events("outside"), 10)
    assert event[:2] == ("Warning", "AllocationFailed")
    assert "203.0.113.77" in event[2]
    resyncs = edge.status()["resyncs"]
    wait_for("two resyncs", lambda: edge.status()["resyncs"] >= resyncs + 2, 15)
    items = edge.get("/api/v1/namespaces/default/events")["items"]
    mine = [item for item in items if item["involvedObject"]["name"] == "outside"]
    assert [item["count"] for item in mine] == [1]
    edge.delete("outside")


def test_type_changed_away_clears_everything(edge: AgentEdge) -> None:
    edge.service("typed")
    edge.endpoints("typed", True)
    vip = edge.vip("typed")
    wait_for("served", edge.rule(vip, 1))
    body = {"spec": {"type": "ClusterIP", "externalTrafficPolicy": None}}
    edge.api.request("PATCH", f"{SERVICES}/typed", body=body, content_type=MERGE_PATCH)
    wait_for("removed", lambda: vip not in edge.table())
    wait_for("status is empty", lambda: not edge.get(f"{SERVICES}/typed")["status"]["loadBalancer"])
    assert "annotations" not in edge.get(f"{SERVICES}/typed")["metadata"]
    edge.delete("typed")


def test_drift_is_repaired_and_foreign_virtual_servers_are_not_touched(edge: AgentEdge) -> None:
    edge.service("drift")
    edge.endpoints("drift", True)
    vip = edge.vip("drift")
    wait_for("served", edge.rule(vip, 1))
    edge.shell("ipvsadm -A -t 198.51.100.1:80 -s rr")
    edge.shell(f"ipvsadm -e -t {vip}:80 -r 10.201.0.1:80 -g -w 9")
    edge.shell("ipvsadm -A -t 10.222.91.190:80 -s rr")
    wait_for("weight repaired", edge.rule(vip, 1))
    wait_for("stray removed", lambda: "10.222.91.190" not in edge.table())
    assert "198.51.100.1:80" in edge.table()
    edge.shell("ipvsadm -D -t 198.51.100.1:80")
    edge.remove("drift", vip)


@pytest.mark.parametrize("number", [9, 15])
def test_restart_adopts_everything_unchanged(edge: AgentEdge, number: int) -> None:
    edge.vip("web")
    before, addresses = edge.table(), edge.shell("ip -br addr")
    assert "10.201.0.1" in before
    edge.guest("stop", "agent", number)
    assert edge.table() == before
    assert edge.shell("ip -br addr") == addresses
    edge.start()
    assert edge.changes() == 0
    assert edge.table() == before
    assert edge.shell("ip -br addr") == addresses


def test_api_server_gone_for_a_while(edge: AgentEdge) -> None:
    vip = edge.vip("web")
    before = edge.table()
    cfg = edge.solo.cfg
    controlplane.stop_apiserver(cfg)
    try:
        wait_for(
            "the agent notices",
            lambda: not all(w["connected"] for w in edge.status()["watches"].values()),
            20,
        )
        assert edge.table() == before
        assert f"{vip}/32" in edge.shell("ip -br a")
    finally:
        controlplane.start_apiserver(cfg, kubebuild.ensure(cfg))
        controlplane.wait_ready(cfg)
    edge.endpoints("web", True)
    wait_for("it follows again", edge.rule(vip, 1), 30)
    edge.endpoints("web", True, True)
    wait_for("and again", edge.rule(vip, 2))


def test_killed_keepalived_leaves_no_vip_on_the_lan(edge: AgentEdge) -> None:
    vip = edge.vip("web")
    wait_for("the VIP stands", lambda: f"{vip}/32" in edge.shell("ip -br a show vec0"))
    edge.shell("kill -9 $(pgrep -x keepalived)")
    edge.guest("stop", "keepalived")
    wait_for(
        "VIPs are gone",
        lambda: not {vip, "10.222.91.9"} & set(_addresses(edge)),
        3,
    )
    assert edge.solo.address in _addresses(edge)
    edge.guest(
        "start", "keepalived", ["keepalived", "-n", "-P", "-l", "-f", "/run/fl/keepalived.conf"]
    )
    wait_for("and back", lambda: f"{vip}/32" in edge.shell("ip -br a show vec0"))


def _addresses(edge: AgentEdge) -> list[str]:
    words = edge.shell("ip -br addr show vec0").split()
    return [word.partition("/")[0] for word in words if "/" in word]


def test_seat_passes_on_when_given_back_and_when_its_holder_is_silent(edge: AgentEdge) -> None:
    assert edge.get(LEASE)["spec"]["holderIdentity"] == "edge1"
    edge.guest("stop", "agent")
    assert edge.get(LEASE)["spec"]["holderIdentity"] == ""
    spec = {"holderIdentity": "edge2", "leaseDurationSeconds": 5}
    edge.api.request("PATCH", LEASE, body={"spec": spec}, content_type=MERGE_PATCH)
    edge.start()
    assert edge.status()["leader"] is False
    edge.service("orphan")
    wait_for("edge1 takes the silent holder's seat", lambda: edge.status()["leader"], 12)
    edge.vip("orphan")
    edge.delete("orphan")


def test_status_command_tells_role_and_table(edge: AgentEdge) -> None:
    vip = edge.vip("web")
    argv = [sys.executable, "-m", "fairlead", "status", "--json", "--inventory", "/out/edges.yaml"]
    wait_for("master", lambda: "10.222.91.9" in edge.shell("ip -br a show vec0"))
    shown = json.loads(edge.guest("run", argv, False))
    assert shown["edge"] == "edge1"
    refused, daemon = shown["problems"]  # the account has no right here, and there is no BIRD
    assert refused.startswith("Secret may not be read and counts as empty: ")
    assert daemon == "BIRD is not running"
    assert shown["vrrp"][0]["role"] == "master"
    assert vip in shown["vips"]["fairlead0"]
    servers = {server["address"]: server for server in shown["virtual_servers"]}
    assert servers[vip]["real_servers"][0]["weight"] == 2
    edge.guest("stop", "agent", 9)
    people = [word for word in argv if word != "--json"]
    degraded = edge.guest("run", people, False)
    assert "the agent is not running" in degraded
    assert vip in degraded
    edge.shell("rm /run/fairlead/status.json")
    assert "the agent never ran here" in edge.guest("run", people, False)
    edge.start()


def test_crd_that_appears_later_brings_its_pools(edge: AgentEdge) -> None:
    assert edge.status()["watches"]["IPAddressPool"]["served"] is False
    cfg = edge.solo.cfg
    programs = kubebuild.ensure(cfg)
    crds = str(kubebuild.metallb_crds(cfg))
    controlplane.kubectl(cfg, programs, "apply", "--server-side", "-f", crds)
    edge.api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "metallb-system"}})
    pool = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "more"},
        "spec": {"addresses": ["10.222.92.0/28"]},
    }
    path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools"
    wait_for("the CRD is served", lambda: _posted(edge, path, pool), 20)
    edge.service("pooled", loadBalancerIP="10.222.92.7")
    assert edge.vip("pooled", timeout=60) == "10.222.92.7"
    mirrored = "/api/v1/namespaces/metallb-system/events"
    edge.endpoints("pooled", True)
    wait_for(
        "nodeAssigned is mirrored",
        lambda: "nodeAssigned" in [item["reason"] for item in edge.get(mirrored)["items"]],
        20,
    )
    edge.delete("pooled")


def _posted(edge: AgentEdge, path: str, body: Any) -> bool:
    try:
        edge.api.request("POST", path, body=body)
    except ApiError:
        return False
    return True
