# SPDX-License-Identifier: Apache-2.0
"""VIPs by BGP: both edges, ECMP, withdrawal without endpoints, and a dead BIRD."""

import pytest

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(bgp_lab: Lab):
    """Edges that announce by BGP as well."""
    return bgp_lab


@pytest.fixture
def web(lab: Lab):
    """A Service on an address of the routed pool: its VIP."""
    text = (
        lab.manifest("two-tcp-local")
        .replace("web-local", "routed")
        .replace(
            "  namespace: shapes\nspec:\n  type: LoadBalancer",
            "  namespace: shapes\n  annotations: {metallb.io/address-pool: routed-pool}\n"
            "spec:\n  type: LoadBalancer",
        )
    )
    lab.apply(text)
    lab.ready_pods("routed", 3)
    vip = lab.vip("routed")
    yield vip
    lab.delete(text)


def _next_hops(lab: Lab, vip: str) -> set[str]:
    return lab.router_next_hops(vip)


def test_router_learns_the_vip_from_both_edges(lab: Lab, web: str) -> None:
    both = {lab.cfg.edge_address(edge) for edge in lab.edges}
    wait_for("two next hops", lambda: _next_hops(lab, web) == both)
    pods = set(lab.ready_pods("routed", 3))
    lab.answers("TCP", web, 80)
    wait_for(
        "every pod answers the client behind the router",
        lambda: set(lab.spread("TCP", web, 80, 30, host="rclient")) == pods,
    )
    assert lab.tcp(web, 80, host="rclient").client == lab.cfg.rclient_address


@pytest.mark.parametrize("alone", ["edge1", "edge2"])
def test_either_edge_alone_carries_the_traffic(lab: Lab, web: str, alone: str) -> None:
    other = next(edge for edge in lab.edges if edge != alone)
    wait_for("two next hops", lambda: len(_next_hops(lab, web)) == 2)
    lab.ssh(other, "systemctl stop bird")
    try:
        wait_for("one next hop", lambda: _next_hops(lab, web) == {lab.cfg.edge_address(alone)})
        for _ in range(20):
            lab.tcp(web, 80, host="rclient")
    finally:
        lab.ssh(other, "systemctl start bird")
    wait_for("two next hops again", lambda: len(_next_hops(lab, web)) == 2, 60)


def test_killed_bird_is_routed_around(lab: Lab, web: str) -> None:
    wait_for("two next hops", lambda: len(_next_hops(lab, web)) == 2, 60)
    with lab.traffic(f"{web}:80/tcp", rate=50, duration=60, host="rclient") as load:
        lab.ssh("edge1", "kill -9 $(systemctl show -p MainPID --value bird)")
        wait_for(
            "the route by the other edge stays",
            lambda: lab.cfg.edge_address("edge2") in _next_hops(lab, web),
        )
        wait_for("BIRD is back", lambda: len(_next_hops(lab, web)) == 2, 60)
        summary = load.stop()
    assert summary.broken == 0, summary
    assert summary.lost == 0, summary


def test_last_endpoint_gone_withdraws_the_route(lab: Lab, web: str) -> None:
    wait_for("two next hops", lambda: len(_next_hops(lab, web)) == 2, 60)
    pods = lab.ready_pods("routed", 3)
    for pod in pods:
        lab.set_ready(pod, "unready")
    wait_for("withdrawn", lambda: not _next_hops(lab, web))
    for pod in pods:
        lab.set_ready(pod, "auto")
    wait_for("announced again", lambda: len(_next_hops(lab, web)) == 2)
    lab.answers("TCP", web, 80, host="rclient")
