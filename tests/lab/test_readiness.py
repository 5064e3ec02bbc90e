# SPDX-License-Identifier: Apache-2.0
"""Readiness becomes weight; scaling under load loses nothing; held connections live on."""

import pytest

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture
def web(lab: Lab):
    """Three pods behind a Service of policy Local: (app, VIP)."""
    text = lab.manifest("two-tcp-local").replace("web-local", "flip")
    lab.apply(text)
    lab.ready_pods("flip", 3)
    vip = lab.vip("flip")
    lab.answers("TCP", vip, 80)
    yield vip
    lab.delete(text)


def _weights(lab: Lab, edge: str, vip: str) -> dict[str, int]:
    return lab.ipvs(edge).get(f"TCP {vip}:80", {})


def _full(lab: Lab, vip: str, pods: int) -> dict[str, int]:
    """The weights, once both edges know of all ready pods: their slices come after the pods."""
    for edge in lab.edges:
        found = wait_for(
            f"all pods in the weights of {edge}",
            lambda edge=edge: (w := _weights(lab, edge, vip)) and sum(w.values()) == pods and w,
        )
    return found


def test_unready_pod_lowers_the_weight_and_comes_back(lab: Lab, web: str) -> None:
    pods = lab.ready_pods("flip", 3)
    before = _full(lab, web, 3)
    pod, node = next(iter(pods.items()))
    real = f"{lab.cfg.node_address(node)}:80"
    lab.set_ready(pod, "unready")
    for edge in lab.edges:
        wait_for(
            "weight falls",
            lambda edge=edge: _weights(lab, edge, web).get(real, 0) == before[real] - 1,
        )
    assert pod not in lab.spread("TCP", web, 80, 30)
    lab.set_ready(pod, "auto")
    for edge in lab.edges:
        wait_for("weight is back", lambda edge=edge: _weights(lab, edge, web) == before)


def test_node_without_ready_pods_gets_nothing_new_and_held_connections_live(
    lab: Lab, web: str
) -> None:
    pods = lab.ready_pods("flip", 3)
    _full(lab, web, 3)
    held = [lab.connect(web, 80) for _ in range(12)]
    owners = [connection.ask().node for connection in held]
    node = owners[0]
    for pod in (name for name, where in pods.items() if where == node):
        lab.set_ready(pod, "unready")
    real = f"{lab.cfg.node_address(node)}:80"
    for edge in lab.edges:
        wait_for("no weight left", lambda edge=edge: not _weights(lab, edge, web).get(real, 0))
    for _ in range(30):
        assert lab.tcp(web, 80).node != node
    assert [connection.ask().node for connection in held] == owners
    for pod in pods:
        lab.set_ready(pod, "auto")
    wait_for("the node serves again", lambda: lab.tcp(web, 80).node == node, every=0.02)
    assert [connection.ask().node for connection in held] == owners
    for connection in held:
        connection.close()


def test_scaling_under_load_fails_no_request(lab: Lab, web: str) -> None:
    with lab.traffic(f"{web}:80/tcp", rate=50, duration=60) as load:
        for replicas in (6, 1, 3):
            lab.kubectl("scale", "-n", "shapes", "deployment/flip", f"--replicas={replicas}")
            lab.ready_pods("flip", replicas)
            _full(lab, web, replicas)
            wait_for(
                "all pods that are leaving are gone",
                lambda replicas=replicas: (
                    len(lab.items("pods", "-n", "shapes", "-l", "app=flip")) == replicas
                ),
            )
        summary = load.stop()
    assert summary.answered > 100
    assert (summary.lost, summary.broken) == (0, 0), summary
