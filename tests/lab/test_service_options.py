# SPDX-License-Identifier: Apache-2.0
"""Annotations of ours on real edges: a range of RTP ports, constant weights, slow start."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture
def answers_by_edge(lab: Lab) -> Iterator[None]:
    """Pods' answers to the client go back by the edge that holds the VIPs (mode pod needs it).

    By its VRRP address: mastership may move between two tests, and does not come back by itself.
    """
    client = f"{lab.cfg.client_address}/32"
    nodes = [lab.netns(node) for node in lab.cfg.nodes]
    for node in nodes:
        route = ["ip", "-n", node, "route", "replace", client, "via", lab.cfg.vrrp_address]
        subprocess.run(route, check=True)
    yield
    for node in nodes:
        subprocess.run(["ip", "-n", node, "route", "del", client], check=True)


def _patch(lab: Lab, service: str, change: dict) -> None:
    lab.kubectl("patch", "service", service, "-n", "shapes", "-p", json.dumps(change))


def _annotate(lab: Lab, service: str, **notes: str | None) -> None:
    values = {f"fairlead.io/{name.replace('_', '-')}": text for name, text in notes.items()}
    _patch(lab, service, {"metadata": {"annotations": values}})


def _marked(lab: Lab, edge: str) -> dict[str, dict[str, int]]:
    """Virtual servers by firewall mark on an edge."""
    return {name: reals for name, reals in lab.ipvs(edge).items() if name.startswith("FWM")}


@pytest.mark.usefixtures("answers_by_edge")
def test_a_range_of_rtp_ports(lab: Lab) -> None:
    text = lab.manifest("rtp")
    lab.apply(text)
    try:
        pods = lab.ready_pods("rtp", 2)
        vip = lab.vip("rtp")
        lab.answers("UDP", vip, 12000)
        found = [lab.udp(vip, port) for port in (12000, 13001, 13999)]
        assert len({answer.pod for answer in found}) == 1, "all ports of a client reach one pod"
        assert {answer.client for answer in found} == {lab.cfg.client_address}
        assert lab.udp(vip, 12500).pod in pods, "a declared port inside has its own target"
        with pytest.raises(OSError, match=r"timed out|refused"):
            lab.udp(vip, 14000, timeout=1.0)
        for edge in lab.edges:
            wait_for(
                f"both pods behind the mark of {edge}",
                lambda edge=edge: (
                    [sorted(reals.values()) for reals in _marked(lab, edge).values()] == [[1, 1]]
                ),
            )
        _patch(lab, "rtp", {"spec": {"loadBalancerSourceRanges": ["203.0.113.0/24"]}})
        wait_for("the client is left outside", lambda: not _answers(lab, vip, 13001))
        assert not _answers(lab, vip, 12500)
        _patch(lab, "rtp", {"spec": {"loadBalancerSourceRanges": None}})
        wait_for("the client is let in", lambda: _answers(lab, vip, 13001))
        _annotate(lab, "rtp", port_range=None)
        for edge in lab.edges:
            wait_for(f"{edge} has no mark", lambda edge=edge: not _marked(lab, edge))
        assert not _answers(lab, vip, 13001)
    finally:
        lab.delete(text)


def _answers(lab: Lab, vip: str, port: int) -> bool:
    try:
        return bool(lab.udp(vip, port, timeout=0.5).pod)
    except OSError:
        return False


def test_a_range_that_can_not_be_served_says_why(lab: Lab) -> None:
    text = lab.manifest("rtp").replace("name: rtp", "name: rtp-dsr").replace(": pod", ": dsr")
    lab.apply(text)
    try:
        lab.vip("rtp-dsr")
        told = wait_for(
            "the Warning",
            lambda: [e for e in lab.events("rtp-dsr") if e["reason"] == "PortRangeNotServed"],
        )
        event = told[-1]  # a lab that is kept shows those of earlier runs, too
        assert event["type"] == "Warning"
        assert "kube-proxy on the nodes answers on declared ports only" in event["message"]
        assert all(not _marked(lab, edge) for edge in lab.edges)
    finally:
        lab.delete(text)


def test_weights_and_slow_start(lab: Lab) -> None:
    text = lab.manifest("two-tcp-local").replace("web-local", "weighed")
    lab.apply(text)
    try:
        lab.ready_pods("weighed", 3)
        vip = lab.vip("weighed")
        key = f"TCP {vip}:80"
        first = f"{lab.cfg.node_address('node1')}:80"
        _annotate(lab, "weighed", weights="node1=7,2")

        def weights(edge: str) -> list[int]:
            reals = lab.ipvs(edge).get(key, {})
            return [reals.get(first, -1), *sorted(w for at, w in reals.items() if at != first)]

        for edge in lab.edges:
            wait_for(f"weights on {edge}", lambda edge=edge: weights(edge) == [7, 2, 2])
        assert lab.spread("TCP", vip, 80, count=12)
        _annotate(lab, "weighed", weights="heavy")
        for edge in lab.edges:
            wait_for(f"counts on {edge}", lambda edge=edge: weights(edge) == [1, 1, 1])
        told = [e["message"] for e in lab.events("weighed") if e["reason"] == "InvalidAnnotation"]
        assert any('"heavy"; allowed are a weight from 0' in message for message in told)
        _annotate(lab, "weighed", weights=None, slow_start="5")
        for edge in lab.edges:
            wait_for(f"tenths on {edge}", lambda edge=edge: weights(edge) == [10, 10, 10])
        _rise(lab, weights)
    finally:
        lab.delete(text)


def _rise(lab: Lab, weights) -> None:
    """The pod of node1 goes and comes: both edges take its node up again in steps."""
    pod = next(name for name, node in lab.pods("weighed").items() if node == "node1")
    lab.set_ready(pod, "unready")
    for edge in lab.edges:
        wait_for(f"weight 0 on {edge}", lambda edge=edge: weights(edge)[0] == 0)
    lab.set_ready(pod, "auto")
    edge = lab.edges[0]
    wait_for("the first step", lambda: 0 < weights(edge)[0] < 10)
    for edge in lab.edges:
        wait_for(f"full weight on {edge}", lambda edge=edge: weights(edge) == [10, 10, 10])
