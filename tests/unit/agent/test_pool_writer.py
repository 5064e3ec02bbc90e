# SPDX-License-Identifier: Apache-2.0
"""Counters and complaints of pool objects, against a scripted API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.agent.planning import EdgePlanning
from fairlead.agent.pool_writer import PoolState, PoolWriter, pool_states
from fairlead.cluster.client import KubeApi
from fairlead.cluster.writes import EventRecorder
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.planner.pools import PoolIndex
from fairlead.planner.usage import PoolUsage
from support.build import INVENTORY, pool, svc
from unit.cluster.scripted_api import ScriptedApi, eventually, reply, serving

KEY = ObjectKey("metallb-system", "p")
POOL = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/p"
EVENTS = "/api/v1/namespaces/metallb-system/events"
USAGE = PoolUsage("p", 4, 0, 1, 0)
COUNTERS = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 3, "availableIPv6": 0}
OK = reply({})


def stands(status: dict[str, int] | None = None, generation: int = 1) -> Any:
    meta = {"uid": "uid-p", "resourceVersion": "7", "generation": generation}
    return reply({"metadata": meta, "spec": {}, **({"status": status} if status else {})})


class Harness:
    def __init__(self, server: ScriptedApi, folder: Path) -> None:
        api = KubeApi(server.kubeconfig(folder))
        self.server, self.leading = server, True
        self.states = [PoolState(KEY, USAGE, "")]
        self.passes = 0
        self.writer = PoolWriter(
            api,
            EventRecorder(api, "edge1"),
            leading=lambda: self.leading,
            states=self.ask,
        )
        self.writer._worker.backoff.first = 0.01
        self.writer.start()

    def ask(self) -> list[PoolState]:
        self.passes += 1
        return self.states

    def look(self, *touched: ObjectKey) -> None:
        before = self.passes
        self.writer.look(touched)
        eventually(lambda: self.writer.idle and self.passes > before)

    def calls(self, verb: str) -> list[Any]:
        return [body for seen, _, _, body, _ in self.server.requests if seen == verb]


@pytest.fixture
def server() -> Iterator[ScriptedApi]:
    yield from serving()


@pytest.fixture
def harness(server: ScriptedApi, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(server, tmp_path)
    yield harness
    harness.writer.stop()


def test_counters_are_written_only_where_they_differ(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", POOL, stands(), stands(COUNTERS), stands({**COUNTERS, "assignedIPv4": 9}))
    server.on("PATCH", f"{POOL}/status", OK, OK)
    harness.look()
    eventually(lambda: harness.calls("PATCH") == [{"status": COUNTERS}])
    harness.look(KEY)  # our own write comes back by watch
    eventually(lambda: server.count("GET", POOL) == 2)
    assert len(harness.calls("PATCH")) == 1
    harness.look(KEY)  # somebody edited them
    eventually(lambda: len(harness.calls("PATCH")) == 2)
    harness.look()  # nobody touched the object, and the truth is the same
    assert server.count("GET", POOL) == 3


def test_other_truth_is_written(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", POOL, stands(COUNTERS), stands(COUNTERS))
    server.on("PATCH", f"{POOL}/status", OK)
    harness.look()
    harness.states = [PoolState(KEY, PoolUsage("p", 4, 0, 4, 0), "")]
    harness.look()
    eventually(lambda: harness.calls("PATCH"))
    assert harness.calls("PATCH")[0]["status"]["availableIPv4"] == 0


def test_complaint_is_told_once_for_each_version(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", POOL, stands(COUNTERS), stands(COUNTERS), stands(COUNTERS, generation=2))
    conflict = reply({"kind": "Status", "reason": "AlreadyExists", "code": 409}, 409)
    server.on("POST", EVENTS, OK, conflict, OK)
    harness.states = [PoolState(KEY, USAGE, "spec.addresses[0]: 'x' is not a CIDR")]
    for count in (1, 2, 3):
        harness.look(KEY)
        eventually(lambda count=count: server.count("POST", EVENTS) == count)
    first, again, edited = harness.calls("POST")
    assert (first["type"], first["reason"], first["message"]) == (
        "Warning",
        "ConfigurationError",
        "spec.addresses[0]: 'x' is not a CIDR",
    )
    assert first["involvedObject"] == {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "namespace": "metallb-system",
        "name": "p",
        "uid": "uid-p",
    }
    assert first["metadata"]["name"] == again["metadata"]["name"] != edited["metadata"]["name"]
    assert harness.calls("PATCH") == []


def test_outage_is_tried_again_and_a_missing_right_is_not(
    server: ScriptedApi, harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", POOL, reply({"message": "later"}, 503), stands(), stands())
    server.on("PATCH", f"{POOL}/status", reply({"message": "no right"}, 403), OK)
    harness.look()
    eventually(lambda: len(harness.calls("PATCH")) == 1)
    eventually(lambda: "no right" in caplog.text)
    harness.look(KEY)
    eventually(lambda: len(harness.calls("PATCH")) == 2)


def test_who_does_not_lead_writes_nothing(server: ScriptedApi, harness: Harness) -> None:
    harness.leading = False
    harness.writer.look([KEY])
    eventually(lambda: harness.writer.idle)
    harness.leading = True
    server.on("GET", POOL, stands(COUNTERS))
    harness.look()
    eventually(lambda: server.count("GET", POOL) == 1)
    assert len(server.requests) == 1


def test_pool_that_is_gone_is_no_trouble(server: ScriptedApi, harness: Harness) -> None:
    harness.look()
    eventually(lambda: server.count("GET", POOL) == 1)
    assert harness.writer.idle


# -- what should be true -------------------------------------------------------------------------


def error(name: str, message: str = "is bad", **fields: Any) -> ObjectError:
    given = {"kind": "IPAddressPool", "namespace": "metallb-system", "field": "spec.addresses"}
    return ObjectError(**{**given, "name": name, "message": message, **fields})


def test_states_of_objects_in_force_unusable_and_elsewhere() -> None:
    inventory_pool = pool("lan", "10.9.0.0/29")
    lan = type(inventory_pool)(name="lan", ranges=inventory_pool.ranges)
    index = PoolIndex([lan, pool("p", "10.0.0.0/30")], (), ["gone"])
    usage = [PoolUsage("lan", 8, 0), USAGE, PoolUsage("gone", 2, 0, 2, 0)]
    errors = [
        error("p"),
        error("gone"),
        error("p2", "overlaps; the version before stays in force"),
        error("q", "elsewhere", namespace="shop", field="metadata.namespace"),
        error("adv", kind="L2Advertisement"),
    ]
    texts = {str(r.key): (r.usage, r.complaint) for r in pool_states(
        index, "metallb-system", usage, errors
    )}  # fmt: skip
    says = "spec.addresses: is bad; "
    assert texts == {
        "metallb-system/p": (USAGE, says + "the version before stays in force"),
        "metallb-system/gone": (usage[2], says + "nothing is given from this pool"),
        "metallb-system/p2": (None, "spec.addresses: overlaps; the version before stays in force"),
        "shop/q": (None, "metadata.namespace: elsewhere; nothing is given from this pool"),
    }


def test_news_of_pools_are_what_was_touched_or_counts() -> None:
    planning = EdgePlanning(INVENTORY, INVENTORY.edges[0])
    planning.take_delta()
    assert planning.take_pool_news() == frozenset()  # the first look is due in any case
    assert planning.take_pool_news() is None
    planning.put("IPAddressPool", KEY, pool("p", "10.0.0.0/30"))
    planning.take_delta()
    assert planning.take_pool_news() == {KEY}
    service = svc("x", holds="10.0.0.1")
    planning.put("Service", service.key, service)
    assert planning.take_pool_news() == frozenset()
    assert planning.usage() == (PoolUsage("p", 4, 0, 1, 0),)
    planning.put_unreadable("IPAddressPool", KEY)
    assert planning.take_pool_news() == {KEY}
    planning.remove("Service", service.key)
    planning.take_delta()
    assert planning.usage() == (PoolUsage("p", 4, 0, 0, 0),)
