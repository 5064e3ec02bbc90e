# SPDX-License-Identifier: Apache-2.0
"""Every Service and pool that an API server accepts is read without an error, and planned."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.planner.encode import plan_to_json
from fairlead.planner.plan import make_plan
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from property.strategies_cluster import inventory

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
INVENTORY = inventory()

NAME = st.from_regex(r"\A[a-z]([-a-z0-9]{0,20}[a-z0-9])?\Z")
LABEL_VALUE = st.from_regex(r"\A([A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?)?\Z")
LABELS = st.dictionaries(
    st.sampled_from(["app", "app.kubernetes.io/name", "x.y/Z_1", "kubernetes.io/metadata.name"]),
    LABEL_VALUE,
    max_size=3,
)
ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [
            *(f"metallb.io/{n}" for n in ("address-pool", "loadBalancerIPs", "allow-shared-ip")),
            *(f"metallb.universe.tf/{n}" for n in ("address-pool", "loadBalancerIPs", "other")),
            *("metallb.io/ip-allocated-from-pool", "example.com/note", "fairlead.io/forwarding"),
        ]
    ),
    st.sampled_from(["", "p", "10.0.0.1", "10.0.0.1,fd00::1", "10.0.0.1, 10.0.0.2", "\u2028"])
    | st.text(max_size=20),
    max_size=4,
)
PORT = st.integers(1, 65535)
IPS4 = st.integers(1, 200).map(lambda n: f"10.96.0.{n}")
IPS6 = st.integers(1, 200).map(lambda n: f"fd00:96::{n:x}")
INGRESS = st.lists(
    st.sampled_from(
        [
            {"hostname": "lb.example.com"},
            {"ip": "10.0.0.1"},
            {"ip": "10.0.0.2", "ipMode": "Proxy"},
            {"ip": "fd00::1", "ipMode": "VIP", "ports": [{"port": 80, "protocol": "TCP"}]},
            {"ip": "FD00:0:0::2"},
        ]
    ),
    max_size=3,
)


@st.composite
def service_ports(draw):
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(["TCP", "UDP", "SCTP"]), PORT),
            min_size=1, max_size=4, unique=True,
        )
    )  # fmt: skip
    ports = []
    for index, (protocol, number) in enumerate(rows):
        port = {"protocol": protocol, "port": number, "targetPort": draw(PORT | st.just("http"))}
        if len(rows) > 1:
            port["name"] = f"p{index}"
        if draw(st.booleans()):
            port |= {"nodePort": draw(st.integers(30000, 32767)), "appProtocol": "k.io/h2c"}
        ports.append(port)
    return ports


@st.composite
def service_objects(draw):
    kind = draw(st.sampled_from(["LoadBalancer"] * 6 + ["ClusterIP", "NodePort", "ExternalName"]))
    meta = {
        "name": draw(NAME),
        "namespace": draw(st.sampled_from(["default", "a", "kube-system"])),
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": draw(LABELS),
        "annotations": draw(ANNOTATIONS),
    }
    if draw(st.booleans()):
        meta["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    spec = {"type": kind}
    if kind == "ExternalName":
        spec["externalName"] = "db.example.com"
        return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    policy = draw(st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack"]))
    first, second = draw(st.sampled_from([("IPv4", "IPv6"), ("IPv6", "IPv4")]))
    families = [first] if policy == "SingleStack" else [first, second]
    ips = [draw(IPS4 if family == "IPv4" else IPS6) for family in families]
    if kind == "ClusterIP" and draw(st.booleans()):
        ips = ["None"]
    spec |= {
        "ports": draw(service_ports()),
        "clusterIP": ips[0],
        "clusterIPs": ips,
        "ipFamilies": families,
        "ipFamilyPolicy": policy,
        "internalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "sessionAffinity": "None",
        "selector": draw(LABELS),
    }
    optional = {
        "externalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": draw(st.integers(1, 86400))}},
        "loadBalancerIP": draw(st.sampled_from(["", "10.0.0.1", "fd00::1", "not an address"])),
        "loadBalancerClass": "example.com/other",
        "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"],
        "allocateLoadBalancerNodePorts": draw(st.booleans()),
        "publishNotReadyAddresses": draw(st.booleans()),
        "healthCheckNodePort": 31000,
        "externalIPs": ["198.51.100.7"],
        "trafficDistribution": "PreferClose",
    }
    spec |= {key: optional[key] for key in draw(st.sets(st.sampled_from(sorted(optional))))}
    status = {"loadBalancer": {"ingress": draw(INGRESS)}} if kind == "LoadBalancer" else {}
    if draw(st.booleans()):
        status["conditions"] = [{"type": "x/Ready", "status": "True", "reason": "r"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": status}


SELECTOR = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": LABELS,
        "matchExpressions": st.lists(
            st.sampled_from(
                [
                    {"key": "app", "operator": "In", "values": ["a", "b"]},
                    {"key": "app", "operator": "NotIn", "values": [""]},
                    {"key": "x.y/Z_1", "operator": "Exists"},
                    {"key": "app", "operator": "DoesNotExist"},
                ]
            ),
            max_size=3,
            unique_by=json.dumps,
        ),
    },
)
SELECTORS = st.lists(SELECTOR, max_size=2, unique_by=lambda one: json.dumps(one, sort_keys=True))


@st.composite
def pool_objects(draw):
    allocation = st.fixed_dictionaries(
        {},
        optional={
            "priority": st.integers(0, 1 << 31),
            "namespaces": st.lists(st.text(max_size=10), max_size=2, unique=True),
            "serviceSelectors": SELECTORS.filter(_distinct),
            "namespaceSelectors": SELECTORS.filter(_distinct),
        },
    )
    spec = {
        "addresses": draw(
            st.sampled_from(
                [["10.0.0.0/28"], ["10.0.0.1-10.0.0.9", "fd00::/64"], ["fd00::1 - fd00::ff"]]
            )
        )
    }
    optional = {
        "autoAssign": draw(st.booleans()),
        "avoidBuggyIPs": draw(st.booleans()),
        "serviceAllocation": draw(allocation),
    }
    spec |= {key: optional[key] for key in draw(st.sets(st.sampled_from(sorted(optional))))}
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": draw(NAME), "namespace": "metallb-system", "labels": draw(LABELS)},
        "spec": spec,
        "status": {"assignedIPv4": 1, "availableIPv4": 2, "assignedIPv6": 0, "availableIPv6": 0},
    }


def _distinct(selectors) -> bool:
    """No two that mean the same: an absent list is an empty one."""
    forms = []
    for one in selectors:
        terms = sorted(json.dumps(term) for term in one.get("matchExpressions") or ())
        forms.append(json.dumps([one.get("matchLabels") or {}, terms], sort_keys=True))
    return len(set(forms)) == len(forms)


@UNHURRIED
@given(
    st.lists(service_objects(), max_size=4, unique_by=lambda one: one["metadata"]["name"]),
    pool_objects(),
)
def test_valid_objects_are_read_and_planned(services, pool) -> None:
    documents = [Document("f", n, data) for n, data in enumerate([*services, pool], start=1)]
    snapshot = snapshot_from_documents(documents, pool_namespace="metallb-system")
    assert snapshot.errors == ()
    plan = make_plan(snapshot, INVENTORY)
    assert plan.errors == ()
    assert plan_to_json(plan)
    ours = {
        (one["metadata"]["namespace"], one["metadata"]["name"])
        for one in services
        if one["spec"]["type"] == "LoadBalancer" and "loadBalancerClass" not in one["spec"]
    }
    assert ours <= {tuple(service.key) for service in plan.services}
