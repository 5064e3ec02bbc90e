# SPDX-License-Identifier: Apache-2.0
"""`cluster_info`: reads, page by page, what a plan needs."""

import json
import socket

import pytest

from modules.object_api import serving
from support.modules import fail_module, run_module

PAGES = 1100


def _named(name, **fields):
    meta = {"name": name, "managedFields": [{"manager": "kubectl"}], "labels": {"a": "b"}}
    return {"metadata": meta, **fields}


@pytest.fixture
def api():
    collections = {
        "/api/v1/namespaces": [_named("database")],
        "/api/v1/nodes": [_named("node1"), _named("node2")],
        "/api/v1/services": [_named(f"s{number}") for number in range(PAGES)],
        "/apis/discovery.k8s.io/v1/endpointslices": [],
    }
    with serving(collections) as server:
        yield server


@pytest.mark.parametrize("check", [True, False])
def test_reads_everything_and_changes_nothing(api, tmp_path, check):
    result = run_module("cluster_info", {"kubeconfig": api.kubeconfig(tmp_path)}, check=check)
    assert not result["changed"]
    # A cluster without the definition of IPAddressPool is fine.
    assert result["counts"] == {"Namespace": 1, "Node": 2, "Service": PAGES}
    first = result["objects"][0]
    assert first == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "database", "labels": {"a": "b"}},
    }
    assert len({item["metadata"]["name"] for item in result["objects"]}) == PAGES + 3
    assert api.writes() == []


def test_pools_are_read_where_their_definition_is_installed(api, tmp_path):
    api.lists["/apis/metallb.io/v1beta1/ipaddresspools"] = [_named("lan")]
    counts = run_module("cluster_info", {"kubeconfig": api.kubeconfig(tmp_path)})["counts"]
    assert counts["IPAddressPool"] == 1


def test_a_peers_password_stays_in_the_cluster(api, tmp_path):
    peer = _named("tor", spec={"myASN": 1, "password": "sesame"})
    copy = {"kubectl.kubernetes.io/last-applied-configuration": '{"password": "sesame"}', "a": "b"}
    peer["metadata"]["annotations"] = copy
    api.lists["/apis/metallb.io/v1beta2/bgppeers"] = [peer]
    result = run_module("cluster_info", {"kubeconfig": api.kubeconfig(tmp_path)})
    (found,) = (item for item in result["objects"] if item["kind"] == "BGPPeer")
    assert "sesame" not in str(result)
    assert found["spec"] == {"myASN": 1, "password": "(hidden)"}
    assert found["metadata"]["annotations"] == {"a": "b"}


def test_dest_holds_what_plan_reads(api, tmp_path):
    dest = tmp_path / "cluster.json"
    params = {"kubeconfig": api.kubeconfig(tmp_path), "dest": str(dest)}
    assert "objects" not in run_module("cluster_info", params)
    assert len(json.loads(dest.read_text())["items"]) == PAGES + 3
    planned = run_module("plan", {"inventory": {}, "manifests": [str(dest)]})
    assert planned["plan"]["edges"] == {}


def test_a_right_that_is_missing_is_named(api, tmp_path):
    api.forbidden.add("/api/v1/nodes")
    said = fail_module("cluster_info", {"kubeconfig": api.kubeconfig(tmp_path)})
    assert said.startswith("API server: this account may not list nodes; bind a ClusterRole")


def test_nobody_there_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [cluster],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    said = fail_module("cluster_info", {"kubeconfig": str(kubeconfig)})
    assert said.startswith("API server: ")
    assert str(port) in said
    assert "onnection refused" in said


@pytest.mark.parametrize("content", [None, "nonsense", "{}"])
def test_a_bad_kubeconfig_is_named(tmp_path, content):
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    said = fail_module("cluster_info", {"kubeconfig": str(path)})
    assert str(path) in said
    assert "check the path that is configured" in said
