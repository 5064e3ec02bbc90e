# SPDX-License-Identifier: Apache-2.0
"""Kubernetes JSON to the model: what is read, what is refused and with which field."""

from ipaddress import ip_address, ip_network

import msgspec
import pytest

from fairlead.model.errors import ObjectFieldError
from fairlead.model.kube import Endpoint, Service, ServicePort
from fairlead.model.names import Family, ObjectKey, Protocol, TrafficPolicy
from fairlead.snapshot.resources import PLANNED, convert_object, parse_object

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"a": "b"},
        "annotations": {"metallb.io/address-pool": "p"},
        "managedFields": [{"x": 1}],
    },
    "spec": {
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.1", "fd00:96::1"],
        "clusterIP": "10.96.0.1",
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "PreferDualStack",
        "loadBalancerIP": "10.0.0.1",
        "loadBalancerClass": "c",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
        "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 9}},
        "selector": {"app": "web"},
        "allocateLoadBalancerNodePorts": False,
        "publishNotReadyAddresses": True,
        "ports": [
            {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    },
    "status": {
        "loadBalancer": {
            "ingress": [
                {"ip": "10.0.0.1", "ipMode": "VIP"},
                {"hostname": "h"},
                {"ip": "junk"},
            ]
        }
    },
}


def test_a_whole_service() -> None:
    assert parse_object("Service", SERVICE) == Service(
        key=ObjectKey("shop", "web"),
        uid="u1",
        resource_version="7",
        created="2026-01-01T00:00:00Z",
        labels={"a": "b"},
        annotations={"metallb.io/address-pool": "p"},
        type="LoadBalancer",
        load_balancer_class="c",
        load_balancer_ip="10.0.0.1",
        cluster_ips=("10.96.0.1", "fd00:96::1"),
        ip_families=(Family.IPV4, Family.IPV6),
        ip_family_policy="PreferDualStack",
        ports=(
            ServicePort("http", Protocol.TCP, 80, "web", 30080),
            ServicePort("dns", Protocol.UDP, 53, 53),
        ),
        selector={"app": "web"},
        policy=TrafficPolicy.LOCAL,
        affinity_seconds=9,
        source_ranges=(ip_network("192.0.2.0/24"),),
        allocate_node_ports=False,
        ingress=((ip_address("10.0.0.1"), "VIP"),),
        ingress_errors=("junk",),
    )


def test_wire_and_manifest_agree() -> None:
    wire = msgspec.json.decode(msgspec.json.encode(SERVICE), type=PLANNED["Service"].wire)
    assert convert_object("Service", wire) == parse_object("Service", SERVICE)


def service(**spec) -> dict:
    return {"metadata": {"name": "x"}, "spec": spec}


def named(name: str, namespace: str = "default") -> dict:
    return {"metadata": {"name": name, "namespace": namespace}}


BAD = {
    "no-metadata": ("Service", {"spec": {}}, "", "missing required field `metadata`"),
    "name-with-a-line-break": ("Service", named("a\nb"), "metadata.name", "not a DNS label"),
    "name-too-long": ("Service", named("a" * 64), "metadata.name", "not a DNS label"),
    "empty-name": ("Service", named(""), "metadata.name", "not a DNS label"),
    "namespace-with-a-slash": ("Service", named("a", "b/c"), "metadata.namespace", "not a DNS"),
    "port-is-text": ("Service", service(ports=[{"port": "80"}]), "spec.ports[0].port", "int"),
    "port-0": ("Service", service(ports=[{"port": 0}]), "spec.ports[0].port", ">= 1"),
    "port-65536": ("Service", service(ports=[{"port": 65536}]), "spec.ports[0].port", "<= 65535"),
    "port-twice": (
        "Service",
        service(ports=[{"port": 1}, {"port": 1}]),
        "spec.ports[1].port",
        "already in spec.ports[0]",
    ),
    "protocol": (
        "Service",
        service(ports=[{"port": 1, "protocol": "ICMP"}]),
        "spec.ports[0].protocol",
        "not one of TCP, UDP, SCTP",
    ),
    "target-port": (
        "Service",
        service(ports=[{"port": 1, "targetPort": 70000}]),
        "spec.ports[0].targetPort",
        "not a port",
    ),
    "target-port-name": (
        "Service",
        service(ports=[{"port": 1, "targetPort": "a b"}]),
        "spec.ports[0].targetPort",
        "not a port name",
    ),
    "type": ("Service", service(type="Loadbalancer"), "spec.type", "not a Service type"),
    "policy": (
        "Service",
        service(externalTrafficPolicy="local"),
        "spec.externalTrafficPolicy",
        "not Cluster or Local",
    ),
    "affinity": ("Service", service(sessionAffinity="Cookie"), "spec.sessionAffinity", "ClientIP"),
    "affinity-timeout": (
        "Service",
        service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        ">= 1",
    ),
    "family": ("Service", service(ipFamilies=["IPv5"]), "spec.ipFamilies[0]", "not IPv4 or IPv6"),
    "family-policy": ("Service", service(ipFamilyPolicy="Dual"), "spec.ipFamilyPolicy", "not one"),
    "annotation-is-a-number": (
        "Service",
        {"metadata": {"name": "a", "annotations": {"k": 1}}},
        "metadata.annotations[...]",
        "str",
    ),
    "slice-address": (
        "EndpointSlice",
        {**named("s"), "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.300"]}]},
        "endpoints[0].addresses",
        "not an IP address",
    ),
    "slice-family": (
        "EndpointSlice",
        {**named("s"), "addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]},
        "endpoints[0].addresses",
        "not of addressType IPv4",
    ),
    "slice-type": (
        "EndpointSlice",
        {**named("s"), "addressType": "IPX"},
        "addressType",
        "not IPv4",
    ),
    "node-address": (
        "Node",
        {**named("n"), "status": {"addresses": [{"type": "InternalIP", "address": "x"}]}},
        "status.addresses[0].address",
        "not an IP address",
    ),
    "pool-without-addresses": ("IPAddressPool", named("p"), "spec.addresses", "at least one"),
    "pool-empty": (
        "IPAddressPool",
        {**named("p"), "spec": {"addresses": []}},
        "spec.addresses",
        "at least one",
    ),
}


@pytest.mark.parametrize("row", BAD)
def test_what_cannot_be_used_names_its_field(row: str) -> None:
    kind, data, field, says = BAD[row]
    with pytest.raises(ObjectFieldError) as caught:
        parse_object(kind, data)
    assert caught.value.field == field
    assert says in caught.value.message


RANGES = {
    "cidr": ("10.0.0.0/30", "10.0.0.0", "10.0.0.3"),
    "host-bits-are-masked": ("10.0.0.7/30", "10.0.0.4", "10.0.0.7"),
    "one-address": ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
    "range": ("10.0.0.250-10.0.1.3", "10.0.0.250", "10.0.1.3"),
    "blanks-around-the-dash": ("10.0.0.1 - 10.0.0.2", "10.0.0.1", "10.0.0.2"),
    "ipv6-cidr": ("fd00::/126", "fd00::", "fd00::3"),
    "ipv6-range": ("fd00::1-fd00::ff", "fd00::1", "fd00::ff"),
}
BAD_RANGES = {
    "bare-address": ("10.0.0.1", "neither a CIDR nor a range"),
    "blank-before-a-cidr": (" 10.0.0.0/24", "not a CIDR"),
    "prefix-33": ("10.0.0.0/33", "not a CIDR"),
    "netmask": ("10.0.0.0/255.255.255.0", "not a CIDR"),
    "negative-prefix": ("10.0.0.0/-1", "not an IP address"),
    "reversed": ("10.0.0.9-10.0.0.1", "is reversed"),
    "two-families": ("10.0.0.1-fd00::1", "from one address family to the other"),
    "half-a-range": ("10.0.0.1-", "not an IP address"),
    "leading-zero": ("010.0.0.0/24", "not a CIDR"),
    "words": ("lan", "neither a CIDR nor a range"),
    "zone": ("fe80::1%eth0/128", "not a CIDR"),
}


def pool_with(*texts: str, **spec) -> dict:
    return {**named("p", "metallb-system"), "spec": {"addresses": list(texts), **spec}}


@pytest.mark.parametrize("row", RANGES)
def test_ranges(row: str) -> None:
    text, first, last = RANGES[row]
    (part,) = parse_object("IPAddressPool", pool_with(text)).ranges
    assert (str(part.first), str(part.last)) == (first, last)


@pytest.mark.parametrize("row", BAD_RANGES)
def test_bad_ranges(row: str) -> None:
    text, says = BAD_RANGES[row]
    with pytest.raises(ObjectFieldError, match=says) as caught:
        parse_object("IPAddressPool", pool_with("192.0.2.0/24", text))
    assert caught.value.field == "spec.addresses[1]"


WEB = {"matchLabels": {"tier": "web"}}
BAD_POOLS = {
    "overlap-inside": (
        pool_with("10.0.0.0/24", "10.0.0.9-10.0.0.10"),
        "spec.addresses[1]",
        "overlaps '10.0.0.0/24'",
    ),
    "namespace-twice": (
        pool_with("10.0.0.0/24", serviceAllocation={"namespaces": ["a", "a"]}),
        "spec.serviceAllocation.namespaces[1]",
        "twice",
    ),
    "namespace-selector-twice": (
        pool_with("10.0.0.0/24", serviceAllocation={"namespaceSelectors": [WEB, WEB]}),
        "spec.serviceAllocation.namespaceSelectors[1]",
        "twice",
    ),
    "service-selector-twice-in-another-order": (
        pool_with(
            "10.0.0.0/24",
            serviceAllocation={
                "serviceSelectors": [
                    {"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]},
                    {"matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "1"]}]},
                ]
            },
        ),
        "spec.serviceAllocation.serviceSelectors[1]",
        "twice",
    ),
    "operator": (
        pool_with(
            "10.0.0.0/24",
            serviceAllocation={
                "serviceSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]
            },
        ),
        "spec.serviceAllocation.serviceSelectors[0].matchExpressions[0].operator",
        "not one of",
    ),
    "values-missing": (
        pool_with(
            "10.0.0.0/24",
            serviceAllocation={
                "serviceSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]
            },
        ),
        "spec.serviceAllocation.serviceSelectors[0].matchExpressions[0].values",
        "needs values",
    ),
    "priority-is-text": (
        pool_with("10.0.0.0/24", serviceAllocation={"priority": "high"}),
        "spec.serviceAllocation.priority",
        "int",
    ),
}


@pytest.mark.parametrize("row", BAD_POOLS)
def test_bad_pools(row: str) -> None:
    data, field, says = BAD_POOLS[row]
    with pytest.raises(ObjectFieldError, match=says) as caught:
        parse_object("IPAddressPool", data)
    assert caught.value.field == field


def test_pool_defaults_and_fields() -> None:
    plain = parse_object("IPAddressPool", pool_with("10.0.0.0/24"))
    assert (plain.auto_assign, plain.avoid_buggy_ips, plain.selection) == (True, False, None)
    full = parse_object(
        "IPAddressPool",
        pool_with(
            "10.0.0.0/24",
            autoAssign=False,
            avoidBuggyIPs=True,
            serviceAllocation={"priority": 5, "namespaces": ["a"], "namespaceSelectors": [WEB]},
        ),
    )
    assert (full.auto_assign, full.avoid_buggy_ips) == (False, True)
    assert full.selection.priority == 5
    assert full.selection.namespace_selectors[0].match_labels == {"tier": "web"}


CONDITIONS = {
    # conditions -> ready, serving, terminating (discovery.k8s.io/v1: nil reads as ready)
    "none": (None, (True, True, False)),
    "empty": ({}, (True, True, False)),
    "nulls": ({"ready": None, "serving": None}, (True, True, False)),
    "unready": ({"ready": False}, (False, False, False)),
    "draining": ({"ready": False, "serving": True, "terminating": True}, (False, True, True)),
    "gone": ({"ready": False, "serving": False, "terminating": True}, (False, False, True)),
}


@pytest.mark.parametrize("row", CONDITIONS)
def test_endpoint_conditions(row: str) -> None:
    conditions, expected = CONDITIONS[row]
    data = {
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80}, {"name": "all", "port": None}],
        "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": "n", "conditions": conditions}],
    }
    found = parse_object("EndpointSlice", data)
    assert found.service == ObjectKey("shop", "web")
    assert found.endpoints == (Endpoint((ip_address("10.1.0.1"),), "n", *expected),)
    assert [port.port for port in found.ports] == [80]


def test_slices_of_names_have_no_endpoints() -> None:
    data = {**named("s"), "addressType": "FQDN", "endpoints": [{"addresses": ["example.org"]}]}
    assert parse_object("EndpointSlice", data).endpoints == ()


NODE_READY = {"True": True, "False": False, "Unknown": False}


@pytest.mark.parametrize("status", NODE_READY)
def test_node(status: str) -> None:
    node = parse_object(
        "Node",
        {
            "metadata": {"name": "n1.example", "labels": {"a": "b"}},
            "spec": {"unschedulable": True, "taints": [{"key": "t", "effect": "NoSchedule"}]},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n1"},
                    {"type": "ExternalIP", "address": "198.51.100.1"},
                    {"type": "InternalIP", "address": "192.0.2.1"},
                    {"type": "InternalIP", "address": "fd00::1"},
                ],
                "conditions": [
                    {"type": "Ready", "status": status},
                    {"type": "NetworkUnavailable", "status": "False"},
                ],
            },
        },
    )
    assert [str(address) for address in node.addresses] == ["192.0.2.1", "fd00::1"]
    assert (node.ready, node.network_unavailable, node.unschedulable) == (
        NODE_READY[status],
        False,
        True,
    )
    assert node.taints[0].key == "t"
