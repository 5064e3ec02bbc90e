# SPDX-License-Identifier: Apache-2.0
"""Rows of the MetalLB tables on a real API server, with the agent running and in its own order.

What a step leads to is what the tables in tests/unit/planner say; here it is written by the agent,
filled in by the API server, and comes back by watch. Below them what only a live agent shows.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fairlead.cluster.client import MERGE_PATCH, ApiError, KubeApi
from fairlead.edge.netns import entered
from fairlead_lab import controlplane, kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import solo_edge
from support.agent_edge import SERVICES, AgentEdge, prepare
from support.harness import wait_for
from support.live_story import POOLS, LivePlayer
from unit.planner import (
    test_metallb_1_1,
    test_metallb_1_2,
    test_metallb_1_4,
    test_metallb_2_3,
    test_metallb_2_4,
    test_metallb_2_5,
    test_metallb_9,
)

pytestmark = pytest.mark.lab

DOCUMENT = {"vrrp": {"advertised_address": "10.222.93.9/24"}}  # asked for, and never used

ROWS = {
    test_metallb_1_1: (
        "address-pool under the old prefix",
        "loadBalancerIPs: two of different families, blanks around the comma",
        "metallb.io wins even when its value is empty",
        "deprecatedAnnotation only on a sync that changes the Service",
        "no finalizer holds a Service: deletion frees at once",
        "annotation and status belong together: one without the other is completed",
    ),
    test_metallb_1_2: (
        "type: another type frees the address, and who waits gets it",
        "type: away and back gets an address anew",
        "single becomes preferred dual: the first stays, the second comes",
        "dual becomes single: anew, one",
        "PreferDualStack: else IPv4",
        "externalTrafficPolicy is part of what may be shared",
        "ports: TCP, UDP and SCTP in one Service",
        "status ipMode Proxy is reset to VIP",
    ),
    test_metallb_1_4: (
        "2. no pools, then some: at once",
        "5. two addresses of one family in status: Warning, cleared, anew",
        "7. invalid text while an IP is held: Warning, kept",
        "8. re-claim: sharing does not fit any more",
        "10. the request is taken back: the address stays",
        "a valid but unavailable IP keeps the working one",
        "retry: a pool grows",
        "retry: a holder moves away",
        "who waits for an address by name goes before the older that takes any",
    ),
    test_metallb_2_3: ("5. inside a range: ascending, gaps first",),
    test_metallb_2_4: (
        "shared: policy changed, moves",
        "shared: key changed back, returns",
        "shared: freed only when the last one leaves",
        "a holder becomes shareable, who asked for its address gets it",
    ),
    test_metallb_2_5: (
        "shrunk away: ClearAssignment and a new IP",
        "shrunk away from a request: the request fails, nothing is chosen instead",
        "all deleted and back: addresses are chosen anew",
        "avoidBuggyIPs turned on: .0 is evicted",
        "labels of a Service changed: the holder moves",
        "single extended to dual: the second comes, the first stays",
        "dual shrunk to single: both cleared, another dual pool preferred",
    ),
    test_metallb_9: (
        "a free pool address written into status by hand is adopted",
        "a pool address of another written into status by hand is not",
        "a wiped status gives the lowest free address, not the old one",
        "the order of a dual-stack pair in status is kept",
    ),
}
LIVE = [
    pytest.param(
        module.CASES[row], id=f"{module.__name__.removeprefix('unit.planner.test_')}: {row}"
    )
    for module, rows in ROWS.items()
    for row in rows
]


class Edge(AgentEdge):
    """The agent, and what it says of pools."""

    def pool(self, name: str, *addresses: str, namespace: str = "metallb-system") -> None:
        """Create or edit a pool object."""
        path = POOLS.replace("metallb-system", namespace)
        spec = {"addresses": list(addresses)}
        body = {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": {"name": name},
            "spec": spec,
        }
        try:
            self.api.request("POST", path, body=body)
        except ApiError as error:
            if error.status != 409:
                raise
            change = {"spec": spec}
            self.api.request("PATCH", f"{path}/{name}", body=change, content_type=MERGE_PATCH)

    def counters(self, name: str) -> tuple[int, int]:
        """Assigned and available IPv4 addresses, as the object's status says."""
        status = self.get(f"{POOLS}/{name}")["status"]
        return status["assignedIPv4"], status["availableIPv4"]

    def pool_events(self, name: str, namespace: str = "metallb-system") -> list[dict[str, Any]]:
        """Events on a pool object as it is now, not on one of that name before it."""
        path = POOLS.replace("metallb-system", namespace)
        uid = self.get(f"{path}/{name}")["metadata"]["uid"]
        items = self.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return [item for item in items if item["involvedObject"].get("uid") == uid]

    def metric(self, name: str) -> str:
        """Value of a metric, "" where it has no such series."""
        code = (
            "import urllib.request as u; "
            "print(u.urlopen('http://127.0.0.1:9120/metrics').read().decode())"
        )
        text = str(self.guest("run", [sys.executable, "-c", code]))
        rows = [line.rpartition(" ") for line in text.splitlines()]
        return next((value for found, _, value in rows if found == name), "")

    def pool_status(self) -> tuple[list[str], str]:
        """Problems, and what people see, of `fairlead status`."""
        argv = [sys.executable, "-m", "fairlead", "status", "--inventory", "/out/edges.yaml"]
        problems = json.loads(self.guest("run", [*argv, "--json"], False))["problems"]
        return problems, str(self.guest("run", argv, False))

    def gone(self, *names: str, pools: tuple[str, ...] = ()) -> None:
        """Delete Services and pools."""
        for name in names:
            self.delete(name)
        for name in pools:
            self.api.request("DELETE", f"{POOLS}/{name}")


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    cfg = LabConfig(name="flmlb", index=93)
    with solo_edge(cfg, mem="768M") as solo, entered(cfg.netns("cp")):
        api = KubeApi(cfg.admin_kubeconfig)
        programs = kubebuild.ensure(cfg)
        crds = str(kubebuild.metallb_crds(cfg))
        controlplane.kubectl(cfg, programs, "apply", "--server-side", "-f", crds)
        for name in ("metallb-system", "other"):
            api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
        prepare(cfg, solo, api, DOCUMENT, {"announce": False})
        made = Edge(solo, api)
        wait_for("pools are served", lambda: _served(made), 30)
        made.start()
        wait_for("it leads", lambda: made.status()["leader"])
        yield made


def _served(edge: AgentEdge) -> bool:
    try:
        edge.get(POOLS)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("story", LIVE)
def test_row(edge: Edge, story: Any) -> None:
    player = LivePlayer(edge)
    try:
        player.play(story)
    finally:
        player.clean()


def test_manual_edits_of_counters_are_reverted(edge: Edge) -> None:
    edge.pool("p", "10.0.0.0/30")
    edge.service("a")
    wait_for("counted", lambda: edge.counters("p") == (1, 3))
    body = {"status": {"assignedIPv4": 99, "availableIPv4": 0}}
    edge.api.request("PATCH", f"{POOLS}/p/status", body=body, content_type=MERGE_PATCH)
    wait_for("reverted", lambda: edge.counters("p") == (1, 3))
    edge.gone("a")
    wait_for("freed", lambda: edge.counters("p") == (0, 4))
    edge.gone(pools=("p",))


def test_invalid_pool_is_named_everywhere_and_the_version_before_serves(edge: Edge) -> None:
    edge.pool("p", "10.0.0.0/30")
    wait_for("known", lambda: edge.counters("p") == (0, 4))
    edge.pool("p", "10.0.0.0/30", "10.0.0.9-10.0.0.1")
    (event,) = wait_for("a Warning", lambda: edge.pool_events("p"))
    assert (event["type"], event["reason"]) == ("Warning", "ConfigurationError")
    assert event["message"] == (
        "spec.addresses[1]: range '10.0.0.9-10.0.0.1' is reversed: 10.0.0.9 comes after 10.0.0.1; "
        "the version before stays in force"
    )
    edge.service("a", loadBalancerIP="10.0.0.2")
    assert edge.vip("a") == "10.0.0.2"
    wait_for("counted all the same", lambda: edge.counters("p") == (1, 3))
    assert edge.metric("metallb_k8s_client_config_stale_bool") == "1.0"
    assert edge.metric("metallb_k8s_client_config_loaded_bool") == "1.0"
    assert edge.metric('metallb_allocator_ipv4_addresses_in_use_total{pool="p"}') == "1.0"

    def shown() -> bool:
        problems, text = edge.pool_status()
        named = any("metallb-system/p: spec.addresses[1]" in problem for problem in problems)
        return named and "pool p: IPv4 1 of 4 in use" in text

    wait_for("fairlead status names it", shown)
    assert len(edge.pool_events("p")) == 1
    edge.pool("p", "10.0.0.0/29")
    wait_for("repaired", lambda: edge.counters("p") == (1, 7))
    assert edge.metric("metallb_k8s_client_config_stale_bool") == "0.0"
    edge.gone("a", pools=("p",))
    gone = 'metallb_allocator_addresses_total{pool="p"}'
    wait_for("the series went with the pool", lambda: edge.metric(gone) == "")


def test_restart_with_an_invalid_pool_takes_nothing_away(edge: Edge) -> None:
    edge.pool("p", "10.0.0.0/30")
    edge.service("a", loadBalancerIP="10.0.0.2")
    assert edge.vip("a") == "10.0.0.2"
    edge.pool("p", "junk")
    wait_for("a Warning", lambda: edge.pool_events("p"))
    edge.guest("stop", "agent")
    edge.start()
    wait_for("it leads again", lambda: edge.status()["leader"])
    edge.service("b")
    wait_for("a newcomer is refused", lambda: edge.events("b"))
    wait_for("told again: now nothing is given", lambda: len(edge.pool_events("p")) == 2)
    assert edge.vip("a") == "10.0.0.2"
    assert "ClearAssignment" not in {reason for _, reason, _ in edge.events("a")}
    wait_for("what is held over is counted", lambda: edge.counters("p") == (1, 0))
    assert "10.0.0.2:80" in edge.table()
    edge.pool("p", "10.0.0.0/30")
    assert edge.vip("b") == "10.0.0.0"
    edge.gone("a", "b", pools=("p",))


def test_overlap_and_wrong_namespace_are_told_on_the_object_that_brings_them(edge: Edge) -> None:
    edge.pool("p", "10.0.0.0/30")
    wait_for("known", lambda: edge.counters("p") == (0, 4))
    edge.pool("q", "10.0.0.2/31")
    (event,) = wait_for("q is named", lambda: edge.pool_events("q"))
    assert "overlaps with already defined '10.0.0.0/30' of pool 'p'" in event["message"]
    assert edge.pool_events("p") == []
    edge.pool("q", "10.0.1.0/31", namespace="other")
    (event,) = wait_for("the other q is named", lambda: edge.pool_events("q", "other"))
    assert "pools are read from namespace 'metallb-system' only" in event["message"]
    edge.gone(pools=("p",))
    wait_for("q takes over", lambda: edge.counters("q") == (0, 2))
    edge.gone(pools=("q",))
    edge.api.request("DELETE", f"{POOLS.replace('metallb-system', 'other')}/q")


def test_what_happened_while_the_api_server_was_away_and_the_agent_down(edge: Edge) -> None:
    edge.pool("p", "10.0.0.0/31")
    edge.service("a")
    edge.service("b")
    assert (edge.vip("a"), edge.vip("b")) == ("10.0.0.0", "10.0.0.1")
    edge.service("c")
    wait_for("c is refused", lambda: edge.events("c"))
    edge.guest("stop", "agent")
    edge.delete("a")
    edge.service("d", loadBalancerIP="10.0.0.0")
    cfg = edge.solo.cfg
    controlplane.stop_apiserver(cfg)
    edge.guest("start", "agent", [sys.executable, "-m", "fairlead", "agent", "--config",
                                  "/out/agent.yaml"])  # fmt: skip
    controlplane.start_apiserver(cfg, kubebuild.ensure(cfg))
    controlplane.wait_ready(cfg)
    assert edge.vip("d", 60) == "10.0.0.0"  # by name goes before the older that takes any
    assert edge.vip("b") == "10.0.0.1"
    edge.delete("b")
    assert edge.vip("c") == "10.0.0.1"
    edge.gone("c", "d", pools=("p",))


def test_edits_that_race_with_the_agent_end_as_the_last_one_says(edge: Edge) -> None:
    """Each write of ours moves the resourceVersion: some of these meet a conflict."""
    edge.pool("p", "10.0.0.0/28")
    wait_for("known", lambda: edge.counters("p")[1] == 16)
    edge.service("a")
    for last in (3, 4, 5, 6, 7, 8, 9):
        body = {"metadata": {"annotations": {"metallb.io/loadBalancerIPs": f"10.0.0.{last}"}}}
        edge.api.request("PATCH", f"{SERVICES}/a", body=body, content_type=MERGE_PATCH)
    wait_for("the last word counts", lambda: edge.vip("a") == "10.0.0.9")
    wait_for("one address is in use", lambda: edge.counters("p") == (1, 15))
    edge.gone("a", pools=("p",))
