# SPDX-License-Identifier: Apache-2.0
"""Status objects and mirrored Events of a real agent, under our definitions."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fairlead.cluster.access import EdgeAccount, ensure_access
from fairlead.cluster.client import MERGE_PATCH, KubeApi
from fairlead.cluster.definitions import ensure_crds
from fairlead.edge.netns import entered
from fairlead_lab import controlplane, kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import solo_edge
from support.agent_edge import NAMESPACE, SERVICES, AgentEdge, prepare
from support.harness import wait_for

pytestmark = pytest.mark.lab

POOLS = "metallb-system"
BASE = f"/apis/metallb.io/v1beta1/namespaces/{POOLS}"
DOCUMENT = {
    "pools": [{"name": "lan", "addresses": ["10.222.94.160-10.222.94.191"]}],
    "announce": ["vrrp", "bgp"],
    "vrrp": {"advertised_address": "10.222.94.9/24"},
    "bgp": {"peers": [{"name": "router", "address": "10.222.94.1", "asn": 64500}]},
}
LABELS = {
    "metallb.io/node": "edge1",
    "metallb.io/service-namespace": "default",
    "app.kubernetes.io/managed-by": "fairlead",
}


@pytest.fixture(scope="module")
def edge() -> Iterator[AgentEdge]:
    cfg = LabConfig(name="flsts", index=94)
    with solo_edge(cfg, mem="768M") as solo, entered(cfg.netns("cp")):
        api = KubeApi(cfg.admin_kubeconfig)
        prepare(cfg, solo, api, DOCUMENT, {"resync_seconds": 2})
        ensure_access(api, EdgeAccount(NAMESPACE), pool_namespace=POOLS, peers=POOLS)
        ensure_crds(api)
        made = AgentEdge(solo, api)
        made.guest(
            "start", "keepalived", ["keepalived", "-n", "-P", "-l", "-f", "/run/fl/keepalived.conf"]
        )
        made.start()
        made.service("web")
        made.endpoints("web", True)
        made.vip("web")
        yield made


def objects(edge: AgentEdge, plural: str, service: str = "web") -> list[dict[str, Any]]:
    items = edge.get(f"{BASE}/{plural}")["items"]
    return [one for one in items if one.get("status", {}).get("serviceName") == service]


def one(edge: AgentEdge, plural: str) -> Callable[[], dict[str, Any] | None]:
    def found() -> dict[str, Any] | None:
        items = objects(edge, plural)
        return items[0] if len(items) == 1 else None

    return found


def test_announced_service_has_one_object_for_each_way(edge: AgentEdge) -> None:
    on_lan = wait_for("a ServiceL2Status", one(edge, "servicel2statuses"))
    routed = wait_for("a ServiceBGPStatus", one(edge, "servicebgpstatuses"))
    about = {"node": "edge1", "serviceName": "web", "serviceNamespace": "default"}
    assert on_lan["status"] == {**about, "interfaces": [{"name": "vec0"}]}
    assert routed["status"] == {**about, "peers": ["router"]}
    for found, prefix in ((on_lan, "l2-"), (routed, "bgp-")):
        assert found["metadata"]["labels"] == {**LABELS, "metallb.io/service-name": "web"}
        assert found["metadata"]["name"].startswith(prefix)
        assert len(found["metadata"]["name"]) == len(prefix) + 5


def test_columns_tell_edge_and_service(edge: AgentEdge) -> None:
    wait_for("a ServiceL2Status", one(edge, "servicel2statuses"))
    cfg = edge.solo.cfg
    programs = kubebuild.ensure(cfg)
    shown = controlplane.kubectl(cfg, programs, "-n", POOLS, "get", "servicel2statuses")
    head, row = shown.splitlines()
    assert head.split() == ["NAME", "ALLOCATED", "NODE", "SERVICE", "NAME", "SERVICE", "NAMESPACE"]
    assert row.split()[1:] == ["edge1", "web", "default"]


def test_what_people_edit_or_delete_comes_back(edge: AgentEdge) -> None:
    found = wait_for("a ServiceBGPStatus", one(edge, "servicebgpstatuses"))
    path = f"{BASE}/servicebgpstatuses/{found['metadata']['name']}"
    forged = {"status": {"peers": ["nobody"]}}
    edge.api.request("PATCH", f"{path}/status", body=forged, content_type=MERGE_PATCH)
    wait_for("mended", lambda: edge.get(path)["status"]["peers"] == ["router"], 10)
    edge.api.request("DELETE", path)
    again = wait_for("made anew", one(edge, "servicebgpstatuses"), 10)
    assert again["metadata"]["name"] != found["metadata"]["name"]


def test_withdrawn_service_loses_its_objects(edge: AgentEdge) -> None:
    edge.service("brief")
    edge.endpoints("brief", True)
    edge.vip("brief")
    both = ("servicel2statuses", "servicebgpstatuses")
    wait_for("both", lambda: all(objects(edge, plural, "brief") for plural in both))
    edge.endpoints("brief", False)
    wait_for("none", lambda: not any(objects(edge, plural, "brief") for plural in both))
    edge.delete("brief")


def test_leader_deletes_what_an_absent_edge_left_and_nothing_of_metallb(edge: AgentEdge) -> None:
    wait_for("edge1 leads", lambda: edge.status()["leader"], 12)

    def left(name: str, labels: dict[str, str]) -> str:
        body = {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ServiceL2Status",
            "metadata": {"name": name, "labels": labels},
        }
        edge.api.request("POST", f"{BASE}/servicel2statuses", body=body)
        return name

    ours = left("l2-gone9", {**LABELS, "metallb.io/node": "edge9"})
    theirs = left("l2-speak", {"metallb.io/node": "node1"})

    def names() -> list[str]:
        items = edge.get(f"{BASE}/servicel2statuses")["items"]
        return [item["metadata"]["name"] for item in items]

    wait_for("it is gone", lambda: ours not in names(), 10)
    resyncs = edge.status()["resyncs"]
    wait_for("a resync more", lambda: edge.status()["resyncs"] > resyncs, 10)
    assert theirs in names()


def told(edge: AgentEdge, name: str) -> Callable[[], dict[str, Any] | None]:
    """A ConfigurationState that has a status, by name; None before."""

    def found() -> dict[str, Any] | None:
        items = edge.get(f"{BASE}/configurationstates")["items"]
        return next((i for i in items if i["metadata"]["name"] == name and "status" in i), None)

    return found


def result(edge: AgentEdge, name: str, expected: str) -> dict[str, Any]:
    state = told(edge, name)

    def reached() -> dict[str, Any] | None:
        one = state()
        return one if one and one["status"]["result"] == expected else None

    return wait_for(f"{name} is {expected}", reached, 15)


def test_pool_that_cannot_be_used_is_told_until_it_is_repaired(edge: AgentEdge) -> None:
    pools = f"{BASE}/ipaddresspools"
    before = [result(edge, name, "Valid") for name in ("controller", "speaker-edge1")]
    clash = {"metadata": {"name": "clash"}, "spec": {"addresses": ["10.222.94.176/28"]}}
    body = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", **clash}
    edge.api.request("POST", pools, body=body)
    for valid, kind in zip(before, ("pool", "config"), strict=True):
        one = result(edge, valid["metadata"]["name"], "Invalid")
        summary = one["status"]["errorSummary"]
        assert summary.startswith(f"configuration error: IPAddressPool {POOLS}/clash: ")
        (condition,) = one["status"]["conditions"]
        assert condition.pop("lastTransitionTime")
        assert condition == {
            "type": f"{kind}ReconcilerValid",
            "status": "False",
            "reason": "ConfigurationError",
            "message": summary,
        }
    repaired = {"spec": {"addresses": ["10.222.94.200/30"]}}
    edge.api.request("PATCH", f"{pools}/clash", body=repaired, content_type=MERGE_PATCH)
    for valid in before:
        one = result(edge, valid["metadata"]["name"], "Valid")
        assert "errorSummary" not in one["status"]
    edge.api.request("DELETE", f"{pools}/clash")


def test_configuration_state_comes_again_and_is_written_only_for_news(edge: AgentEdge) -> None:
    path = f"{BASE}/configurationstates/controller"
    first = result(edge, "controller", "Valid")["metadata"]
    edge.api.request("DELETE", path)
    again = result(edge, "controller", "Valid")["metadata"]
    assert again["uid"] != first["uid"]
    resyncs = edge.status()["resyncs"]
    wait_for("two resyncs", lambda: edge.status()["resyncs"] >= resyncs + 2, 15)
    after = result(edge, "controller", "Valid")["metadata"]
    assert after["resourceVersion"] == again["resourceVersion"]


def test_configuration_state_of_metallb_and_of_an_absent_edge(edge: AgentEdge) -> None:
    path = f"{BASE}/configurationstates"
    base = {"apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState"}
    ours = {"app.kubernetes.io/managed-by": "fairlead"}
    speaker = {"metallb.io/component-type": "speaker", "metallb.io/node-name": "gone9"}
    for name, labels in (("speaker-gone9", {**speaker, **ours}), ("speaker-node1", speaker)):
        meta = {"name": name, "labels": labels}
        edge.api.request("POST", path, body={**base, "metadata": meta})
    # MetalLB's controller begins to run: it sets the labels of the object anew.
    body = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    edge.api.request("PATCH", f"{path}/controller", body=body, content_type=MERGE_PATCH)
    status = {"status": {"result": "Unknown"}}
    edge.api.request("PATCH", f"{path}/controller/status", body=status, content_type=MERGE_PATCH)

    def names() -> set[str]:
        return {item["metadata"]["name"] for item in edge.get(path)["items"]}

    wait_for("that of the absent edge is gone", lambda: "speaker-gone9" not in names(), 10)
    resyncs = edge.status()["resyncs"]
    wait_for("two resyncs", lambda: edge.status()["resyncs"] >= resyncs + 2, 15)
    assert names() == {"controller", "speaker-edge1", "speaker-node1"}
    assert edge.get(f"{path}/controller")["status"]["result"] == "Unknown"
    # MetalLB is gone, and its objects with it.
    edge.api.request("DELETE", f"{path}/controller")
    result(edge, "controller", "Valid")


def test_node_assigned_is_found_where_metallb_users_look(edge: AgentEdge) -> None:
    cfg = edge.solo.cfg
    programs = kubebuild.ensure(cfg)
    argv = ("-n", POOLS, "get", "events", "--field-selector", "reason=nodeAssigned", "-o", "json")

    def told() -> list[str]:
        items = json.loads(controlplane.kubectl(cfg, programs, *argv))["items"]
        return sorted(item["message"] for item in items if item["related"]["name"] == "web")

    expected = [f'announcing from node "edge1" with protocol "{way}"' for way in ("bgp", "layer2")]
    wait_for("both ways are told", lambda: told() == expected)


def test_agent_restart_keeps_the_objects(edge: AgentEdge) -> None:
    before = wait_for("a ServiceL2Status", one(edge, "servicel2statuses"))["metadata"]
    edge.guest("stop", "agent")
    assert objects(edge, "servicel2statuses")
    edge.start()
    resyncs = edge.status()["resyncs"]
    wait_for("two resyncs", lambda: edge.status()["resyncs"] >= resyncs + 2, 15)
    after = wait_for("still one", one(edge, "servicel2statuses"))["metadata"]
    assert (after["uid"], after["resourceVersion"]) == (before["uid"], before["resourceVersion"])


def test_without_definitions_the_agent_is_quiet(edge: AgentEdge) -> None:
    """The last one here: the definitions go, with all objects."""
    for plural in ("servicel2statuses", "servicebgpstatuses"):
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.metallb.io"
        edge.api.request("DELETE", path)
    resyncs = edge.status()["resyncs"]
    wait_for("two resyncs", lambda: edge.status()["resyncs"] >= resyncs + 2, 15)
    assert edge.get(f"{SERVICES}/web")["status"]["loadBalancer"]["ingress"]
    ensure_crds(edge.api)
    wait_for("it is told again", one(edge, "servicel2statuses"), 15)
