# SPDX-License-Identifier: Apache-2.0
"""The agent alone against a real API server, with the rights of its account, on a real kernel.

One guest with a card, a control plane, keepalived where announcements are the subject; no playbook.
What traffic sees is the subject of the other tests here, on provisioned edges.
"""

import json
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
import yaml

from fairlead.adapters.cluster_access import edge_kubeconfig, ensure_access
from fairlead.adapters.kube_client import MERGE_PATCH, ApiError, KubeApi
from fairlead.adapters.netns import entered
from fairlead_lab import controlplane, kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import SoloEdge, solo_edge
from support.harness import wait_for

pytestmark = pytest.mark.lab

NAMESPACE = "fairlead-system"
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/fairlead-agent"


class AgentEdge:
    """The guest with an agent in it, and the cluster's administrator."""

    def __init__(self, solo: SoloEdge, api: KubeApi) -> None:
        self.solo, self.guest, self.api = solo, solo.guest, api
        self._names = 0

    def start(self) -> None:
        argv = [sys.executable, "-m", "fairlead", "agent", "--config", "/out/agent.yaml"]
        self.shell("rm -f /run/fairlead/status.json")  # that of the one before
        self.guest("start", "agent", argv)
        self.wait_synced()

    def wait_synced(self) -> None:
        wait_for("the agent is in step", lambda: self.status().get("synced"), 30)

    def status(self) -> dict[str, Any]:
        text = self.guest("run", ["cat", "/run/fairlead/status.json"], False)
        try:
            return dict(json.loads(text))
        except ValueError:
            return {}

    def shell(self, command: str) -> str:
        return str(self.guest("run", ["sh", "-c", command], False))

    def table(self) -> str:
        return str(self.guest("run", ["ipvsadm", "-Sn"]))

    def changes(self) -> int:
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9120/metrics').read()"
        text = self.guest("run", [sys.executable, "-c", f"{code}.decode())"])
        rows = [line for line in text.splitlines() if line.startswith("fairlead_ipvs_changes_")]
        return sum(int(float(row.rsplit(" ", 1)[1])) for row in rows if "_total{" in row)

    # -- objects ----------------------------------------------------------------------------

    def service(self, name: str, port: int = 80, **spec: Any) -> None:
        body = {
            "metadata": {"name": name},
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "ports": [{"port": port, "targetPort": 8080}],
                **spec,
            },
        }
        self.api.request("POST", SERVICES, body=body)

    def endpoints(self, name: str, *ready: bool) -> None:
        ends = [
            {
                "addresses": [f"10.244.1.{number + 1}"],
                "nodeName": "n0",
                "conditions": {"ready": flag},
            }
            for number, flag in enumerate(ready)
        ]
        body = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": ends,
        }
        known = [item["metadata"]["name"] for item in self.get(SLICES)["items"]]
        if name in known:
            change = {"endpoints": ends}
            self.api.request("PATCH", f"{SLICES}/{name}", body=change, content_type=MERGE_PATCH)
        else:
            self.api.request("POST", SLICES, body=body)

    def get(self, path: str) -> Any:
        return json.loads(self.api.request("GET", path))

    def delete(self, name: str) -> None:
        self.api.request("DELETE", f"{SERVICES}/{name}")

    def remove(self, name: str, vip: str) -> None:
        self.delete(name)
        wait_for("it is gone", lambda: vip not in self.table() + self.shell("ip -br addr"))

    def vip(self, name: str, timeout: float = 10) -> str:
        def ingress() -> str:
            status = self.get(f"{SERVICES}/{name}")["status"]["loadBalancer"]
            found = status.get("ingress", [])
            assert all(one["ipMode"] == "VIP" for one in found)
            return found[0]["ip"] if found else ""

        return wait_for(f"{name} has an address", ingress, timeout)

    def events(self, name: str) -> list[tuple[str, str, str]]:
        items = self.get("/api/v1/namespaces/default/events")["items"]
        mine = [item for item in items if item["involvedObject"]["name"] == name]
        return [(item["type"], item["reason"], item["message"]) for item in mine]

    def rule(self, vip: str, weight: int, port: int = 80) -> Callable[[], bool]:
        return lambda: f"-a -t {vip}:{port} -r 10.201.0.1:{port} -g -w {weight}" in self.table()


@pytest.fixture(scope="module")
def edge() -> Iterator[AgentEdge]:
    cfg = LabConfig(name="flsolo", index=91)
    with solo_edge(cfg, mem="768M") as solo, entered(cfg.netns("cp")):
        api = KubeApi(cfg.admin_kubeconfig)
        prepare(cfg, solo, api)
        made = AgentEdge(solo, api)
        made.guest(
            "start", "keepalived", ["keepalived", "-n", "-P", "-l", "-f", "/run/fl/keepalived.conf"]
        )
        made.start()
        yield made


def prepare(cfg: LabConfig, solo: SoloEdge, api: KubeApi) -> None:
    """A node, the account with its rights, and the files of an edge."""
    api.request("POST", "/api/v1/nodes", body={"metadata": {"name": "n0"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "10.201.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    api.request(
        "PATCH", "/api/v1/nodes/n0/status", body={"status": status}, content_type=MERGE_PATCH
    )
    controlplane.start_controllers(cfg, kubebuild.ensure(cfg))  # tokens of ServiceAccounts
    ensure_access(api, NAMESPACE)
    text = edge_kubeconfig(api, NAMESPACE, cfg.admin_kubeconfig)
    (solo.shared / "kubeconfig").write_text(text)
    document = {
        "edges": [
            {"name": "edge1", "address": solo.address, "interface": "vec0"},
            {"name": "edge2", "address": cfg.address("edge2"), "interface": "vec0"},
        ],
        "pools": [{"name": "lan", "addresses": ["10.222.91.160-10.222.91.191"]}],
        "announce": ["vrrp", "bgp"],
        "vrrp": {"advertised_address": "10.222.91.9/24"},
        "bgp": {"peers": [{"name": "router", "address": "10.222.91.1", "asn": 64500}]},
    }
    config = {
        "edge": "edge1",
        "kubeconfig": "/out/kubeconfig",
        "inventory": "/out/edges.yaml",
        "namespace": NAMESPACE,
        "vrrp_conf": "/run/fl/vrrp.conf",
        "resync_seconds": 2,
    }
    (solo.shared / "edges.yaml").write_text(yaml.safe_dump(document))
    (solo.shared / "agent.yaml").write_text(yaml.safe_dump(config))
    solo.guest("run", ["mkdir", "-p", "/run/fairlead", "/run/fl"])
    lines = "touch /run/fl/vrrp.conf; echo include /run/fl/vrrp.conf > /run/fl/keepalived.conf"
    solo.guest("run", ["sh", "-c", lines])
    solo.guest("run", ["modprobe", "dummy"])


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
    shown = json.loads(edge.guest("run", argv))
    assert shown["edge"] == "edge1"
    assert shown["problems"] == []
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
