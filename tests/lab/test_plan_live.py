# SPDX-License-Identifier: Apache-2.0
"""`fairlead plan --kubeconfig` with the right to list and nothing else says what edges hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab
FAIRLEAD = str(Path(sys.executable).with_name("fairlead"))
DIFFERENT = 1

ACCOUNT = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer, namespace: shapes}
"""
RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: shapes-viewer}
rules:
  - {apiGroups: [""], resources: [namespaces, nodes, services], verbs: [list]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list]}
  - {apiGroups: [metallb.io], resources: ["*"], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: shapes-viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shapes-viewer}
subjects: [{kind: ServiceAccount, name: viewer, namespace: shapes}]
"""


@pytest.fixture
def viewer(lab: Lab, tmp_path: Path):
    """A kubeconfig of an account that may list what a plan reads."""
    lab.apply(ACCOUNT)
    config = yaml.safe_load(lab.cfg.admin_kubeconfig.read_text())
    token = lab.kubectl("create", "token", "viewer", "-n", "shapes").strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    for cluster in config["clusters"]:
        authority = cluster["cluster"].get("certificate-authority")
        if authority:
            path = lab.cfg.admin_kubeconfig.parent / authority
            cluster["cluster"]["certificate-authority"] = str(path)
    path = tmp_path / "viewer.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    yield path
    lab.delete(RIGHTS)
    lab.delete(ACCOUNT)


@pytest.fixture
def edges(lab: Lab, tmp_path: Path) -> Path:
    """The inventory document, as the edges have it."""
    path = tmp_path / "edges.yaml"
    path.write_text(lab.ssh("edge1", "cat /etc/fairlead/edges.yaml"))
    return path


@pytest.fixture
def shapes(lab: Lab):
    """A Service of policy Local and one of UDP."""
    text = "---\n".join((lab.manifest("two-tcp-local"), lab.manifest("three-udp")))
    lab.apply(text)
    lab.ready_pods("web-local", 3)
    yield
    lab.delete(text)


def plan(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FAIRLEAD, "plan", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def planned(config: Path, edges: Path, edge: str) -> dict[str, dict[str, int]]:
    """The edge's virtual servers as `Lab.ipvs` shows them."""
    done = plan("--kubeconfig", config, "--edges", edges, "--format", "json")
    assert done.returncode == 0, done.stderr
    return {
        f"{server['protocol']} {server['address']}:{server['port']}": {
            f"{real['address']}:{real['port']}": real["weight"] for real in server["real_servers"]
        }
        for server in json.loads(done.stdout)["edges"][edge]["virtual_servers"]
    }


@pytest.mark.usefixtures("shapes")
def test_a_plan_of_the_live_cluster_is_what_the_edges_hold(
    lab: Lab, viewer: Path, edges: Path
) -> None:
    denied = plan("--kubeconfig", viewer, "--edges", edges)
    assert denied.returncode == 1
    assert "this account may not list namespaces, nodes, services" in denied.stderr
    lab.apply(RIGHTS)
    vip = lab.vip("web-local")

    def alike(edge: str) -> dict[str, dict[str, int]]:
        table = planned(viewer, edges, edge)
        return table if table == lab.ipvs(edge) else {}

    for edge in lab.edges:
        table = wait_for(f"plan and kernel of {edge} to agree", lambda edge=edge: alike(edge))
        assert sum(table[f"TCP {vip}:80"].values()) == 3
    why = plan("--kubeconfig", viewer, "--edges", edges, "--explain", "shapes/web-local")
    assert f"keeps {vip} of pool lan-pool" in why.stdout
    assert "the gate is open, shapes/web-local can answer" in why.stdout
    less = yaml.safe_load(edges.read_text())
    less["edges"] = [edge for edge in less["edges"] if edge["name"] == "edge1"]
    changed = edges.with_name("less.yaml")
    changed.write_text(yaml.safe_dump(less))
    diff = plan("--kubeconfig", viewer, "--edges", edges, "--diff-edges", changed)
    assert diff.returncode == DIFFERENT, diff.stderr
    assert "Edge edge2 (gone)" in diff.stdout
