# SPDX-License-Identifier: Apache-2.0
"""Every shape of Service gets its address and carries traffic to the right pods and ports."""

import pytest

from support.harness import Lab, wait_for
from support.shapes import SHAPES, Shape

pytestmark = pytest.mark.lab
by_name = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.manifest)


@pytest.fixture(scope="module", autouse=True)
def all_shapes(lab: Lab):
    """All shapes at once, as a cluster has them; gone again afterwards."""
    texts = [lab.manifest(shape.manifest) for shape in SHAPES]
    lab.apply("---\n".join(texts))
    yield
    lab.delete("---\n".join(texts))


@by_name
def test_answers_on_every_port_from_every_pod(lab: Lab, shape: Shape) -> None:
    pods = set(lab.ready_pods(shape.app, shape.replicas))
    for port in shape.ports:
        vip = lab.vip(port.service)
        lab.answers(port.protocol, vip, port.port)
        if shape.manifest == "tcp-affinity":
            continue
        seen = wait_for(
            f"answers from all of {sorted(pods)}",
            lambda vip=vip, port=port: (
                (s := lab.spread(port.protocol, vip, port.port, 24)).keys() == pods and s
            ),
        )
        assert sum(seen.values()) == 24
        answer = lab.request(port.protocol, vip, port.port)
        assert (answer.port, answer.protocol) == (port.target, port.protocol)


@by_name
def test_address_is_the_one_asked_for(lab: Lab, shape: Shape) -> None:
    for port in shape.ports:
        vip = lab.vip(port.service)
        if shape.address:
            assert vip == shape.address.format(index=lab.cfg.index)
        service = lab.get("service", port.service)
        assert service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "lan-pool"


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.local], ids=lambda s: s.manifest)
def test_pod_sees_the_clients_own_address_under_policy_local(lab: Lab, shape: Shape) -> None:
    lab.ready_pods(shape.app, shape.replicas)
    for port in shape.ports:
        vip = lab.vip(port.service)
        lab.answers(port.protocol, vip, port.port)
        for _ in range(5):
            assert lab.request(port.protocol, vip, port.port).client == lab.cfg.client_address


def test_weights_are_ready_pods_per_node(lab: Lab) -> None:
    pods = lab.ready_pods("web-local", 3)
    nodes = list(pods.values())
    expected = {f"{lab.cfg.node_address(node)}:80": nodes.count(node) for node in set(nodes)}
    vip = lab.vip("web-local")
    for edge in lab.edges:
        wait_for(
            f"weights on {edge}", lambda edge=edge: lab.ipvs(edge).get(f"TCP {vip}:80") == expected
        )


def test_affinity_keeps_one_client_on_one_pod(lab: Lab) -> None:
    lab.ready_pods("sticky", 3)
    vip = lab.vip("sticky")
    lab.answers("TCP", vip, 5432)
    assert len({lab.tcp(vip, 5432).pod for _ in range(50)}) == 1


def test_affinity_spreads_many_clients(lab: Lab) -> None:
    pods = set(lab.ready_pods("sticky", 3))
    vip = lab.vip("sticky")
    lab.answers("TCP", vip, 5432)
    with lab.client_addresses(40) as sources:
        seen = {lab.tcp(vip, 5432, source=source).pod for source in sources}
    assert seen == pods


def test_late_pods_get_traffic_only_when_their_probe_says_so(lab: Lab) -> None:
    text = lab.manifest("readiness-probe").replace(": late", ": tardy")
    text = text.replace("initialDelaySeconds: 4", "initialDelaySeconds: 12")
    lab.apply(text)
    try:
        vip = lab.vip("tardy")
        weights = lab.ipvs(lab.master()).get(f"TCP {vip}:80", {})
        assert not any(weights.values()), "weight before any pod is ready"
        assert vip not in lab.addresses(lab.master()), "announced before any pod is ready"
        lab.ready_pods("tardy", 3)
        lab.answers("TCP", vip, 80)
    finally:
        lab.delete(text)


def test_masquerade_reaches_node_ports(lab: Lab) -> None:
    service = lab.get("service", "masq")
    node_port = next(p["nodePort"] for p in service["spec"]["ports"] if p["protocol"] == "TCP")
    table = lab.ipvs(lab.master())[f"TCP {lab.vip('masq')}:80"]
    assert table
    assert all(real.endswith(f":{node_port}") for real in table)
