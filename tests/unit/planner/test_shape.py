# SPDX-License-Identifier: Apache-2.0
"""Weights, modes and the announce gate (design sections 4 and 5, reference section 4.1)."""

from ipaddress import ip_address

import msgspec
import pytest

from fairlead.model.kube import Taint
from fairlead.model.names import Forwarding
from fairlead.model.plan import ServicePlan
from fairlead.planner.nodes import EXCLUDE_LABEL, NodeIndex
from fairlead.planner.shape import service_ready_on, shape_events
from support.build import INVENTORY, eps, node, shaped_on, svc, texts

VIP, VIP6 = ip_address("10.0.0.1"), ip_address("fd00::1")
N1 = node("n1", "192.0.2.101", "fd00:2::1")
N2 = node("n2", "192.0.2.102", "fd00:2::2")
N3 = node("n3", "192.0.2.103")
NODES = (N1, N2, N3)


def inventory(**changes):
    return msgspec.structs.replace(INVENTORY, **changes)


def shape(service, *slices, nodes=NODES, vip=VIP, config=INVENTORY):
    return shaped_on(service, (vip,), slices, NodeIndex(nodes), config)


def reals(servers) -> dict[str, int]:
    """Real servers of the first virtual server, by the last octet and port."""
    return {
        f"{str(real.address).rpartition('.')[2]}:{real.port}": real.weight
        for real in servers[0].real_servers
    }


LOCAL = svc("x", local=True)
LOCAL_WEIGHTS = {
    "ready-endpoints-are-counted": (
        ["10.244.0.1@n1", "10.244.0.2@n1", "10.244.0.3@n2"],
        {"101:80": 2, "102:80": 1},
    ),
    "terminating-but-serving-drains": (
        ["10.244.0.1@n1", "10.244.0.3@n2 draining"],
        {"101:80": 1, "102:80": 0},
    ),
    "draining-beside-ready-counts-ready-only": (
        ["10.244.0.1@n1", "10.244.0.2@n1 draining"],
        {"101:80": 1},
    ),
    "unready-is-held": (["10.244.0.1@n1", "10.244.0.3@n2 unready"], {"101:80": 1, "102:80": 0}),
    "gone-is-removed": (["10.244.0.1@n1", "10.244.0.3@n2 gone"], {"101:80": 1}),
    "nothing-ready-lets-serving-carry": (
        ["10.244.0.1@n1 draining", "10.244.0.2@n1 draining", "10.244.0.3@n2 unready"],
        {"101:80": 2, "102:80": 0},
    ),
    "nothing-ready": (["10.244.0.1@n1 unready"], {"101:80": 0}),
    "nothing-at-all": ([], {}),
    "endpoint-without-node": (["10.244.0.1@", "10.244.0.2@n1"], {"101:80": 1}),
    "endpoint-on-an-unknown-node": (["10.244.0.1@n9", "10.244.0.2@n1"], {"101:80": 1}),
}


@pytest.mark.parametrize("row", LOCAL_WEIGHTS)
def test_policy_local(row: str) -> None:
    endpoints, expected = LOCAL_WEIGHTS[row]
    assert reals(shape(LOCAL, eps("x", *endpoints))) == expected


def test_unready_is_held_at_weight_0_for_tcp_only() -> None:
    service = svc("x", local=True, ports="80:a 53/UDP:b")
    found = eps("x", "10.244.0.1@n1", "10.244.0.3@n2 unready", ports="80:a 53/UDP:b")
    tcp, udp = shape(service, found)
    assert reals([tcp]) == {"101:80": 1, "102:80": 0}
    assert reals([udp]) == {"101:53": 1}
    tcp, udp = shape(service, found, config=inventory(hold_unready=False))
    assert reals([tcp]) == {"101:80": 1}


NODE_GATE = {
    # (fields of node n2, policy Local takes it, policy Cluster takes it)
    "healthy": ({}, True, True),
    "not-ready": ({"ready": False}, True, False),
    "cordoned": ({"unschedulable": True}, True, True),
    "excluded-by-label": ({"labels": {EXCLUDE_LABEL: ""}}, False, False),
    "network-unavailable": ({"network_unavailable": True}, False, False),
    "about-to-be-deleted": (
        {"taints": (Taint("ToBeDeletedByClusterAutoscaler", "NoSchedule"),)},
        False,
        False,
    ),
    "tainted-otherwise": ({"taints": (Taint("dedicated", "NoSchedule"),)}, True, True),
}


@pytest.mark.parametrize("row", NODE_GATE)
def test_which_nodes_may_serve(row: str) -> None:
    fields, local, cluster = NODE_GATE[row]
    nodes = (N1, msgspec.structs.replace(N2, **fields))
    found = eps("x", "10.244.0.1@n1", "10.244.0.2@n2")
    assert ("102:80" in reals(shape(LOCAL, found, nodes=nodes))) is local
    assert ("102:80" in reals(shape(svc("x"), found, nodes=nodes))) is cluster


ALL = {"101:80": 1, "102:80": 1, "103:80": 1}
CLUSTER = {
    "every-node-with-equal-weight": (["10.244.0.1@n1", "10.244.0.2@n1"], ALL),
    "serving-is-enough": (["10.244.0.1@n1 draining"], ALL),
    "endpoint-without-node-is-enough": (["10.244.0.1@"], ALL),
    "no-healthy-endpoint": (["10.244.0.1@n1 unready"], {}),
    "no-endpoint": ([], {}),
}


@pytest.mark.parametrize("row", CLUSTER)
def test_policy_cluster(row: str) -> None:
    endpoints, expected = CLUSTER[row]
    servers = shape(svc("x"), eps("x", *endpoints))
    assert reals(servers) == expected
    assert service_ready_on(servers, VIP) is bool(expected)


def test_big_cluster_takes_few_nodes_and_one_nodes_change_changes_one_entry() -> None:
    nodes = [node(f"node{n}", f"10.1.{n // 200}.{n % 200 + 1}") for n in range(300)]
    found = eps("x", "10.244.0.1@node1")

    def chosen(of):
        return {real.address for real in shape(svc("x"), found, nodes=of)[0].real_servers}

    before = chosen(nodes)
    assert len(before) == INVENTORY.nodes_per_service
    changes = [len(before ^ chosen(nodes[:n] + nodes[n + 1 :])) for n in range(300)]
    assert max(changes) <= 2
    assert sum(change > 0 for change in changes) == len(before)
    spread = {
        real.address
        for n in range(200)
        for real in shape(svc(f"s{n}"), eps(f"s{n}", "10.244.0.1@a"), nodes=nodes)[0].real_servers
    }
    assert len(spread) == len(nodes)


def annotated(**values: str):
    return {f"fairlead.io/{key.replace('_', '-')}": value for key, value in values.items()}


def with_mode(mode: str, ports: str = "80>8080@30080", **fields):
    return svc("x", annotations=annotated(forwarding=mode), ports=ports, **fields)


FOUND = eps("x", "10.244.0.1@n1", "10.244.0.2@n1", "10.244.0.3@n2 draining", ports="80>8080")
MODES = {
    "dsr-keeps-the-port": ("dsr", {"101:80": 2, "102:80": 0}),
    "tunnel-keeps-the-port": ("tunnel", {"101:80": 2, "102:80": 0}),
    "masquerade-goes-to-the-node-port": ("masquerade", {"101:30080": 2, "102:30080": 0}),
    "pod-goes-to-the-pods": ("pod", {"1:8080": 1, "2:8080": 1, "3:8080": 0}),
}


@pytest.mark.parametrize("row", MODES)
def test_forwarding_modes(row: str) -> None:
    mode, expected = MODES[row]
    servers = shape(with_mode(mode, local=True), FOUND)
    assert reals(servers) == expected
    assert servers[0].forwarding is Forwarding(mode)
    assert servers[0].port == 80


def test_masquerade_without_a_node_port_is_not_served_and_says_so() -> None:
    service = with_mode("masquerade", "80@30080 443 53/UDP", allocate_node_ports=False)
    assert [server.port for server in shape(service, FOUND)] == [80]
    told = texts(ServicePlan(key=service.key, events=shape_events(service, INVENTORY)))
    assert told == [
        (
            "NoNodePort: forwarding mode masquerade needs a nodePort for TCP/443, UDP/53, "
            "but allocateLoadBalancerNodePorts is false: not served"
        )
    ]


BAD = {
    "forwarding": ("flying", "dsr, tunnel, masquerade, pod"),
    "scheduler": ("best", "mh, rr, wrr, lc, wlc"),
    "one-packet": ("yes", "true, false"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_annotation_is_a_warning_and_the_default_is_used(name: str) -> None:
    value, allowed = BAD[name]
    service = svc("x", annotations={f"fairlead.io/{name}": value})
    (event,) = shape_events(service, INVENTORY)
    assert (event.type, event.reason) == ("Warning", "InvalidAnnotation")
    assert f'invalid fairlead.io/{name}: "{value}"; allowed are {allowed}' in event.message
    assert shape(service, FOUND) == shape(svc("x"), FOUND)


def test_an_unknown_annotation_of_ours_is_a_warning() -> None:
    (event,) = shape_events(svc("x", annotations=annotated(schedular="rr")), INVENTORY)
    assert "unknown annotation fairlead.io/schedular" in event.message


SCHEDULING = {
    "default": (svc("x"), "mh", ("fallback", "port"), None),
    "affinity-hashes-the-source-only": (svc("x", affinity_seconds=1800), "mh", ("fallback",), 1800),
    "other-scheduler-has-no-flags": (
        svc("x", annotations=annotated(scheduler="wrr")),
        "wrr",
        (),
        None,
    ),
    "sh-has-flags": (
        svc("x", annotations=annotated(scheduler="sh")),
        "sh",
        ("fallback", "port"),
        None,
    ),
}


@pytest.mark.parametrize("row", SCHEDULING)
def test_scheduling(row: str) -> None:
    service, scheduler, flags, persistence = SCHEDULING[row]
    (server,) = shape(service, FOUND)
    assert (server.scheduler, server.flags, server.persistence_seconds) == (
        scheduler,
        flags,
        persistence,
    )


def test_one_packet_is_for_udp_only() -> None:
    service = svc("x", ports="53/UDP 53", annotations=annotated(one_packet="true"))
    assert [(s.protocol.value, s.one_packet) for s in shape(service, FOUND)] == [
        ("TCP", False),
        ("UDP", True),
    ]


def test_every_port_is_a_virtual_server_in_order() -> None:
    service = svc("x", ports="443:b 80:a 53/UDP:c 9/SCTP:d")
    ports = [(s.protocol.value, s.port) for s in shape(service, eps("x"))]
    assert ports == [("SCTP", 9), ("TCP", 80), ("TCP", 443), ("UDP", 53)]


def test_a_named_target_port_counts_only_slices_that_carry_it() -> None:
    service = svc("x", local=True, ports="80:web 9100:metrics")
    slices = (
        eps("x", "10.244.0.1@n1", ports="80:web>8080 9100:metrics>9100", name="one"),
        eps("x", "10.244.0.2@n2", "10.244.0.3@n2", ports="80:web>8081", name="two"),
    )
    web, metrics = shape(service, *slices)
    assert reals([web]) == {"101:80": 1, "102:80": 2}
    assert reals([metrics]) == {"101:9100": 1}
    pods, _ = shape(
        msgspec.structs.replace(service, annotations=annotated(forwarding="pod")), *slices
    )
    assert reals([pods]) == {"1:8080": 1, "2:8081": 1, "3:8081": 1}


def test_an_endpoint_in_two_slices_counts_once() -> None:
    slices = (
        eps("x", "10.244.0.1@n1", "10.244.0.2@n1", name="one"),
        eps("x", "10.244.0.2@n1", "10.244.0.3@n2", name="two"),
    )
    assert reals(shape(LOCAL, *slices)) == {"101:80": 2, "102:80": 1}


def test_ipv6_vip_counts_ipv6_slices_and_reaches_nodes_by_ipv6() -> None:
    slices = (
        eps("x", "10.244.0.1@n1", "10.244.0.2@n1"),
        eps("x", "fd00:244::1@n1", "fd00:244::2@n3", name="six"),
    )
    (server,) = shape(LOCAL, *slices, vip=VIP6)
    assert [(str(r.address), r.weight) for r in server.real_servers] == [("fd00:2::1", 1)]


def test_real_servers_are_sorted_by_number_not_by_text() -> None:
    nodes = [node("a", "192.0.2.100"), node("b", "192.0.2.20"), node("c", "192.0.2.3")]
    (server,) = shape(svc("x"), eps("x", "10.244.0.1@a"), nodes=nodes)
    assert [str(r.address) for r in server.real_servers] == [
        "192.0.2.3",
        "192.0.2.20",
        "192.0.2.100",
    ]
