# SPDX-License-Identifier: Apache-2.0
"""Fields of a Service that MetalLB leaves to others and edges act on: from manifest to plan."""

import json

import pytest

from fairlead.cluster.manifests import parse_documents
from fairlead.diff.ipvs import service_key
from fairlead.planner.plan import make_plan
from fairlead.snapshot.manifests import snapshot_from_documents
from support.build import INVENTORY

POOL = {
    "apiVersion": "metallb.io/v1beta1",
    "kind": "IPAddressPool",
    "metadata": {"name": "p", "namespace": "metallb-system"},
    "spec": {"addresses": ["10.0.0.1/32"]},
}
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "addressType": "IPv4",
}


def node(number):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"n{number}"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"192.0.2.{100 + number}"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def endpoint(number, at="n1", **conditions):
    node_name = {"nodeName": at} if at else {}
    return {"addresses": [f"10.244.0.{number}"], "conditions": conditions, **node_name}


def a_slice(*endpoints, ports=None, name="x-1"):
    labels = {"kubernetes.io/service-name": "x"}
    ports = [{"port": 8080}] if ports is None else ports
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {**SLICE, "metadata": metadata, "ports": ports, "endpoints": list(endpoints)}


def plan(*slices, mode="dsr", **spec):
    """A plan of Service x with this spec; three nodes, one address."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "x",
            "namespace": "default",
            "annotations": {"fairlead.io/forwarding": mode},
        },
        "spec": {"type": "LoadBalancer", "selector": {"app": "x"}, "ports": [{"port": 80}], **spec},
    }
    documents = [POOL, *(node(n) for n in (1, 2, 3)), service, *slices]
    text = "\n---\n".join(json.dumps(document) for document in documents)
    snapshot = snapshot_from_documents(parse_documents(text.encode(), "x.yaml"))
    assert snapshot.errors == ()
    return make_plan(snapshot, INVENTORY)


def servers(made):
    return made.edges["edge1"].virtual_servers


def shown(made):
    """`TCP 80 -> 101:80=1 102:80=0` for each virtual server."""
    rows = []
    for one in servers(made):
        reals = [f"{str(r.address)[-3:]}:{r.port}={r.weight}" for r in one.real_servers]
        rows.append(f"{one.protocol} {one.port} -> {' '.join(reals)}".rstrip())
    return rows


def warnings(made):
    return [event.message for event in made.services[0].events if event.type == "Warning"]


ONE = a_slice(endpoint(1))
LOCAL = {"externalTrafficPolicy": "Local"}


def affinity(kind, seconds):
    """Spec with a timeout."""
    config = {"clientIP": {"timeoutSeconds": seconds}}
    return {"sessionAffinity": kind, "sessionAffinityConfig": config}


AFFINITY = {
    # spec -> persistence in seconds, scheduler flags
    "none": ({"sessionAffinity": "None"}, None, ("fallback", "port")),
    "default-timeout": ({"sessionAffinity": "ClientIP"}, 10_800, ("fallback",)),
    "a-timeout": (
        affinity("ClientIP", 60),
        60,
        ("fallback",),
    ),
    "a-timeout-without-affinity": (
        affinity("None", 60),
        None,
        ("fallback", "port"),
    ),
    "an-empty-config": (
        {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {}},
        10_800,
        ("fallback",),
    ),
}


@pytest.mark.parametrize("row", AFFINITY)
def test_session_affinity(row):
    spec, seconds, flags = AFFINITY[row]
    (server,) = servers(plan(ONE, **spec))
    assert (server.persistence_seconds, server.flags) == (seconds, flags)


NO_PORT = "nodePort for TCP/80, but allocateLoadBalancerNodePorts is false: not served"
NODE_PORTS = {
    # mode, spec -> virtual servers, end of the Warning
    "masquerade-without": (
        ("masquerade", {"allocateLoadBalancerNodePorts": False}),
        ([], [NO_PORT]),
    ),
    "masquerade-with-one-by-hand": (
        (
            "masquerade",
            {"allocateLoadBalancerNodePorts": False, "ports": [{"port": 80, "nodePort": 30080}]},
        ),
        (["TCP 80 -> 101:30080=1"], []),
    ),
    "masquerade-not-yet": (
        ("masquerade", {}),
        ([], ["nodePort for TCP/80, but the Service has none yet: not served"]),
    ),
    "masquerade-one-of-two": (
        (
            "masquerade",
            {
                "allocateLoadBalancerNodePorts": False,
                "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30081}],
            },
        ),
        (["TCP 81 -> 101:30081=1"], [NO_PORT]),
    ),
    "dsr-without": (
        ("dsr", {"allocateLoadBalancerNodePorts": False}),
        (["TCP 80 -> 101:80=1"], []),
    ),
    "pod-without": (
        ("pod", {"allocateLoadBalancerNodePorts": False}),
        (["TCP 80 -> 0.1:8080=1"], []),
    ),
}


@pytest.mark.parametrize("row", NODE_PORTS)
def test_node_ports(row):
    (mode, spec), (expected, told) = NODE_PORTS[row]
    slices = a_slice(
        endpoint(1), ports=[{"name": port.get("name", ""), "port": 8080} for port in
                            spec.get("ports", [{}])]
    )  # fmt: skip
    made = plan(slices, mode=mode, **LOCAL, **spec)
    assert shown(made) == expected
    assert [text[-len(end) :] for text, end in zip(warnings(made), told, strict=True)] == told


WITHOUT_EFFECT = {
    "internalTrafficPolicy-Local": {"internalTrafficPolicy": "Local"},
    "internalTrafficPolicy-Cluster": {"internalTrafficPolicy": "Cluster"},
    # The slices say it: their endpoints are ready then, whatever the pods are.
    "publishNotReadyAddresses": {"publishNotReadyAddresses": True},
    "trafficDistribution": {"trafficDistribution": "PreferClose"},
    "externalIPs": {"externalIPs": ["198.51.100.7"]},
}


@pytest.mark.parametrize("mode", ["dsr", "pod", "tunnel"])
@pytest.mark.parametrize("row", WITHOUT_EFFECT)
def test_fields_without_effect_on_edges(row, mode):
    slices = (a_slice(endpoint(1), endpoint(2, "n2", ready=False)),)
    for policy in ("Local", "Cluster"):
        spec = {"externalTrafficPolicy": policy}
        assert plan(*slices, mode=mode, **spec, **WITHOUT_EFFECT[row]) == plan(
            *slices, mode=mode, **spec
        )


def conditions(ready=None, serving=None, terminating=None):
    given = {"ready": ready, "serving": serving, "terminating": terminating}
    return {name: value for name, value in given.items() if value is not None}


CONDITIONS = {
    # conditions of a second endpoint -> its weight, None where it is left out
    "nothing-is-said": (conditions(), 1),
    "ready": (conditions(ready=True, serving=True, terminating=False), 1),
    "published-not-ready": (conditions(ready=True, serving=False, terminating=False), 1),
    "unready": (conditions(ready=False, serving=False, terminating=False), 0),
    "unready-by-an-old-controller": (conditions(ready=False), 0),
    "draining": (conditions(ready=False, serving=True, terminating=True), 0),
    "gone": (conditions(ready=False, serving=False, terminating=True), None),
    "published-and-terminating": (conditions(ready=True, serving=False, terminating=True), 1),
}


@pytest.mark.parametrize("row", CONDITIONS)
def test_conditions_of_endpoints(row):
    state, weight = CONDITIONS[row]
    found = a_slice(endpoint(1), endpoint(2, "n2", **state))
    rest = "" if weight is None else f" 102:80={weight}"
    assert shown(plan(found, **LOCAL)) == [f"TCP 80 -> 101:80=1{rest}"]
    rest = "" if weight is None else f" 0.2:8080={weight}"
    assert shown(plan(found, mode="pod")) == [f"TCP 80 -> 0.1:8080=1{rest}"]


WEB = {"ports": [{"name": "web", "port": 80, "targetPort": "http", "nodePort": 30080}]}
NUMBER = {"ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}]}
DIFFERING = (
    a_slice(endpoint(1), ports=[{"name": "web", "port": 8080}]),
    a_slice(endpoint(2, "n2"), ports=[{"name": "web", "port": 9090}], name="x-2"),
    a_slice(endpoint(3, "n3"), ports=[{"name": "other", "port": 80}], name="x-3"),
)
TARGETS = {
    # spec, slices, mode -> virtual server of policy Local
    "a-name-that-differs-dsr": (WEB, DIFFERING, "dsr", "101:80=1 102:80=1"),
    "a-name-that-differs-tunnel": (WEB, DIFFERING, "tunnel", "101:80=1 102:80=1"),
    "a-name-that-differs-masquerade": (WEB, DIFFERING, "masquerade", "101:30080=1 102:30080=1"),
    "a-name-that-differs-pod": (WEB, DIFFERING, "pod", "0.1:8080=1 0.2:9090=1"),
    "a-number-dsr": (NUMBER, (ONE,), "dsr", "101:80=1"),
    "a-number-masquerade": (NUMBER, (ONE,), "masquerade", "101:30080=1"),
    "a-number-pod": (NUMBER, (ONE,), "pod", "0.1:8080=1"),
    "nobody-has-the-name": (WEB, DIFFERING[2:], "pod", ""),
}


@pytest.mark.parametrize("row", TARGETS)
def test_target_ports(row):
    spec, slices, mode, expected = TARGETS[row]
    assert shown(plan(*slices, mode=mode, **LOCAL, **spec)) == [f"TCP 80 -> {expected}".rstrip()]


OUTSIDE = a_slice(endpoint(1, ""), endpoint(2, ""))
BY_HAND = {
    # slices, policy, mode -> virtual server
    "outside-the-cluster-by-nodes": (OUTSIDE, "Cluster", "dsr", "101:80=1 102:80=1 103:80=1"),
    "outside-the-cluster-local": (OUTSIDE, "Local", "dsr", ""),
    "outside-the-cluster-direct": (OUTSIDE, "Cluster", "pod", "0.1:8080=1 0.2:8080=1"),
    "with-nodes-local": (a_slice(endpoint(1, "n2")), "Local", "dsr", "102:80=1"),
    "nobody-wrote-one": (None, "Cluster", "dsr", ""),
}


@pytest.mark.parametrize("row", BY_HAND)
def test_services_without_selector_follow_slices_made_by_hand(row):
    found, policy, mode, expected = BY_HAND[row]
    slices = () if found is None else (found,)
    made = plan(*slices, mode=mode, selector=None, externalTrafficPolicy=policy)
    assert [str(a) for a in made.services[0].addresses] == ["10.0.0.1"]
    assert shown(made) == [f"TCP 80 -> {expected}".rstrip()]
    assert made.edges["edge1"].addresses[0].ready is bool(expected)


NEVER_OURS = {
    "headless": {"type": "ClusterIP", "clusterIP": "None"},
    "ExternalName": {"type": "ExternalName", "externalName": "example.com", "ports": []},
    "ClusterIP": {"type": "ClusterIP"},
    "NodePort": {"type": "NodePort"},
    "another-class": {"loadBalancerClass": "example.com/other"},
}


@pytest.mark.parametrize("row", NEVER_OURS)
def test_services_that_are_never_ours(row):
    made = plan(ONE, **NEVER_OURS[row])
    assert made.services == ()
    assert servers(made) == ()


SCTP = {"ports": [{"port": 3868, "protocol": "SCTP", "nodePort": 30868}]}
DIAMETER = a_slice(
    endpoint(1),
    endpoint(2, "n2", ready=False),
    ports=[{"port": 3868, "protocol": "SCTP"}],
)
SCTP_MODES = {
    "dsr": "101:3868=1 102:3868=0",
    "tunnel": "101:3868=1 102:3868=0",
    "masquerade": "101:30868=1 102:30868=0",
    "pod": "0.1:3868=1 0.2:3868=0",
}


@pytest.mark.parametrize("mode", SCTP_MODES)
def test_sctp(mode):
    made = plan(DIAMETER, mode=mode, **LOCAL, **SCTP)
    assert shown(made) == [f"SCTP 3868 -> {SCTP_MODES[mode]}"]
    (server,) = servers(made)
    assert str(service_key(server)) == "--sctp-service 10.0.0.1:3868"
    assert (server.flags, server.one_packet) == (("fallback", "port"), False)


def test_sctp_has_no_slice_in_common_with_tcp():
    wrong = a_slice(endpoint(1), ports=[{"port": 3868, "protocol": "TCP"}])
    assert shown(plan(wrong, **SCTP)) == ["SCTP 3868 ->"]
