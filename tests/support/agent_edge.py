# SPDX-License-Identifier: Apache-2.0
"""One guest with an agent in it, and the cluster's administrator: for tests of the agent alone."""

import json
import sys
from collections.abc import Callable
from typing import Any

import yaml

from fairlead.cluster.access import EdgeAccount, edge_kubeconfig, ensure_access
from fairlead.cluster.client import MERGE_PATCH, KubeApi
from fairlead_lab import controlplane, kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import SoloEdge
from support.harness import wait_for

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


def prepare(
    cfg: LabConfig,
    solo: SoloEdge,
    api: KubeApi,
    inventory: dict[str, Any],
    settings: dict[str, Any] | None = None,
) -> None:
    """A node, the account with its rights, and the files of an edge.

    Args:
        inventory: Of the inventory document, beside the edges.
        settings: Of the agent's configuration, beside what every agent needs.
    """
    api.request("POST", "/api/v1/nodes", body={"metadata": {"name": "n0"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "10.201.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    api.request(
        "PATCH", "/api/v1/nodes/n0/status", body={"status": status}, content_type=MERGE_PATCH
    )
    controlplane.start_controllers(cfg, kubebuild.ensure(cfg))  # tokens of ServiceAccounts
    ensure_access(api, EdgeAccount(NAMESPACE))
    text = edge_kubeconfig(api, EdgeAccount(NAMESPACE), cfg.admin_kubeconfig)
    (solo.shared / "kubeconfig").write_text(text)
    document = {
        "edges": [
            {"name": "edge1", "address": solo.address, "interface": "vec0"},
            {"name": "edge2", "address": cfg.address("edge2"), "interface": "vec0"},
        ],
        **inventory,
    }
    config = {
        "edge": "edge1",
        "kubeconfig": "/out/kubeconfig",
        "inventory": "/out/edges.yaml",
        "namespace": NAMESPACE,
        "vrrp_conf": "/run/fl/vrrp.conf",
        "bird_conf": "/run/fl/bird.conf",
        **(settings or {}),
    }
    (solo.shared / "edges.yaml").write_text(yaml.safe_dump(document))
    (solo.shared / "agent.yaml").write_text(yaml.safe_dump(config))
    solo.guest("run", ["mkdir", "-p", "/run/fairlead", "/run/fl"])
    lines = "touch /run/fl/vrrp.conf; echo include /run/fl/vrrp.conf > /run/fl/keepalived.conf"
    solo.guest("run", ["sh", "-c", lines])
    solo.guest("run", ["modprobe", "dummy"])
