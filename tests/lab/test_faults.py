# SPDX-License-Identifier: Apache-2.0
"""Agents die, the API server goes away, an edge reboots: traffic goes on, state is exact after."""

import pytest

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def web(lab: Lab):
    """A Service under observation: its VIP."""
    text = lab.manifest("two-tcp-local").replace("web-local", "steady")
    lab.apply(text)
    lab.ready_pods("steady", 3)
    vip = lab.vip("steady")
    lab.answers("TCP", vip, 80)
    yield vip
    lab.delete(text)


def _agent_pid(lab: Lab, edge: str) -> int:
    return int(lab.ssh(edge, "systemctl show -p MainPID --value fairlead-agent"))


def _exact(lab: Lab, vip: str, total: int = 3) -> bool:
    tables = [lab.ipvs(edge).get(f"TCP {vip}:80", {}) for edge in lab.edges]
    return tables[0] == tables[1] and sum(tables[0].values()) == total


@pytest.mark.parametrize("how", ["kill -9 {pid}", "systemctl restart fairlead-agent"])
def test_agent_death_or_restart_is_not_seen_by_traffic(lab: Lab, web: str, how: str) -> None:
    before = {edge: lab.ipvs(edge) for edge in lab.edges}
    with lab.traffic(f"{web}:80/tcp", rate=50, duration=60) as load:
        for edge in lab.edges:
            pid = _agent_pid(lab, edge)
            lab.ssh(edge, how.format(pid=pid))
            wait_for(
                "a new agent", lambda edge=edge, pid=pid: _agent_pid(lab, edge) not in (0, pid)
            )
            wait_for("agent is in step", lambda edge=edge: lab.in_step(edge))
        summary = load.stop()
    assert summary.answered > 50
    assert (summary.lost, summary.broken) == (0, 0), summary
    assert {edge: lab.ipvs(edge) for edge in lab.edges} == before


def test_api_server_down_for_a_minute(lab: Lab, web: str) -> None:
    before = {edge: lab.ipvs(edge) for edge in lab.edges}
    with lab.traffic(f"{web}:80/tcp", rate=20, duration=120) as load:
        lab.tool("api", "down")
        try:
            load.wait_seconds(60)
            assert {edge: lab.ipvs(edge) for edge in lab.edges} == before
        finally:
            lab.tool("api", "up")
        wait_for("agents follow again", lambda: all(lab.in_step(edge) for edge in lab.edges), 60)
        summary = load.stop()
    assert (summary.lost, summary.broken) == (0, 0), summary
    pod = next(iter(lab.ready_pods("steady", 3)))
    lab.set_ready(pod, "unready")
    wait_for("readiness is followed again", lambda: _exact(lab, web, 2), 60)
    lab.set_ready(pod, "auto")
    wait_for("and back", lambda: _exact(lab, web), 60)


def test_rebooted_edge_is_covered_by_the_other(lab: Lab, web: str) -> None:
    master, backup = lab.master(), lab.backup()
    held = [lab.connect(web, 80) for _ in range(8)]
    owners = [connection.ask().pod for connection in held]
    with lab.traffic(f"{web}:80/tcp", rate=20, duration=150) as load:
        lab.ssh(master, "systemctl reboot", check=False)
        wait_for("the other edge took over", lambda: web in lab.addresses(backup), 30)
        assert [connection.ask().pod for connection in held] == owners, "a connection moved"
        wait_for("the edge is back", lambda: lab.in_step(master), 120, every=1)
        summary = load.stop()
    assert summary.broken == 0, summary
    wait_for("state is exact", lambda: _exact(lab, web) and len(lab.holders(web)) == 1, 60)
    for connection in held:
        connection.close()


def test_cables_heal_as_real_ones_do(lab: Lab, web: str) -> None:
    """An edge hears again, and the pods of a node that was given up are ready again."""
    pod, node = next(iter(lab.ready_pods("steady", 3).items()))
    edge = lab.backup()
    try:
        lab.tool("cut", node)
        lab.tool("cut", edge)
        wait_for("the cut edge answers nobody", lambda: not lab.in_step(edge))
        lab.tool("heal", edge)
        wait_for("it hears again", lambda: lab.in_step(edge), 60)
        wait_for("the cluster gives the node up", lambda: pod not in _ready(lab), 90, every=1)
    finally:  # whatever was seen, the tests after this one have whole cables
        lab.tool("heal", edge)
        lab.tool("heal", node)
    wait_for("its pod is ready again", lambda: pod in _ready(lab), 60, every=1)
    wait_for("state is exact", lambda: _exact(lab, web), 60)


def _ready(lab: Lab) -> set[str]:
    """Pods of the Service that are Ready by the API server's account."""
    return {
        pod["metadata"]["name"]
        for pod in lab.items("pods", "-n", "shapes", "-l", "app=steady")
        for condition in pod["status"].get("conditions", ())
        if (condition["type"], condition["status"]) == ("Ready", "True")
    }
