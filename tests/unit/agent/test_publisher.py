# SPDX-License-Identifier: Apache-2.0
"""Status first, Events after, conflicts and outages: against a scripted API server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.agent.publisher import Decision, Notice, NoticeChanges, Publisher
from fairlead.cluster.client import KubeApi
from fairlead.cluster.writes import EventRecorder, IngressStatus, ServiceRef
from fairlead.model.names import ObjectKey
from fairlead.model.plan import PlanEvent
from unit.cluster.scripted_api import ScriptedApi, eventually, reply, serving

KEY = ObjectKey("shop", "web")
STATUS_PATH = "/api/v1/namespaces/shop/services/web/status"
EVENTS_PATH = "/api/v1/namespaces/shop/events"
ASSIGNED = PlanEvent("Normal", "IPAllocated", 'Assigned IP ["192.0.2.10"]')
REFUSED = PlanEvent("Warning", "AllocationFailed", "no available IPs")
SOME_STATUS = IngressStatus((("192.0.2.10", "VIP"),), "lan")


def ref(version: str = "7") -> ServiceRef:
    return ServiceRef(KEY, "uid-1", version)


class Harness:
    def __init__(self, server: ScriptedApi, folder: Path) -> None:
        api = KubeApi(server.kubeconfig(folder))
        self.server, self.leading, self.conflicts = server, True, []
        self.mirror: str | None = None
        self.publisher = Publisher(
            api,
            EventRecorder(api, "edge1"),
            leading=lambda: self.leading,
            conflict=self.conflicts.append,
            mirror_namespace=lambda: self.mirror,
        )
        self.publisher._worker.backoff.first = 0.01
        self.publisher.start()

    def idle(self) -> None:
        eventually(lambda: self.publisher.backlog == 0)

    def calls(self) -> list[tuple[str, str]]:
        return [(verb, path) for verb, path, *_ in self.server.requests]


@pytest.fixture
def server() -> Iterator[ScriptedApi]:
    yield from serving()


@pytest.fixture
def harness(server: ScriptedApi, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(server, tmp_path)
    yield harness
    harness.publisher.stop()


OK = reply({})


def failing(status: int) -> Any:
    return reply({"kind": "Status", "code": status, "message": f"HTTP {status}"}, status)


def test_status_goes_out_before_the_event(server: ScriptedApi, harness: Harness) -> None:
    server.on("PATCH", STATUS_PATH, OK)
    server.on("POST", EVENTS_PATH, OK)
    harness.publisher.offer([Decision(ref(), SOME_STATUS, (ASSIGNED,))])
    harness.idle()
    assert harness.calls() == [("PATCH", STATUS_PATH), ("POST", EVENTS_PATH)]
    _, _, _, patch, headers = server.requests[0]
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert patch == {
        "metadata": {
            "resourceVersion": "7",
            "annotations": {"metallb.io/ip-allocated-from-pool": "lan"},
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10", "ipMode": "VIP"}]}},
    }
    event = server.requests[1][3]
    assert (event["type"], event["reason"], event["message"]) == (
        "Normal",
        "IPAllocated",
        'Assigned IP ["192.0.2.10"]',
    )
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "shop",
        "name": "web",
        "uid": "uid-1",
    }


def test_clearing_removes_status_and_pool_note(server: ScriptedApi, harness: Harness) -> None:
    server.on("PATCH", STATUS_PATH, OK)
    harness.publisher.offer([Decision(ref(), IngressStatus((), None))])
    harness.idle()
    patch = server.requests[0][3]
    assert patch["status"] == {"loadBalancer": {"ingress": None}}
    assert patch["metadata"]["annotations"] == {"metallb.io/ip-allocated-from-pool": None}


def test_conflict_writes_no_event_and_asks_for_a_new_decision(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("PATCH", STATUS_PATH, failing(409))
    harness.publisher.offer([Decision(ref(), SOME_STATUS, (ASSIGNED,))])
    eventually(lambda: harness.conflicts)
    assert harness.conflicts == [KEY]
    harness.idle()
    assert harness.calls() == [("PATCH", STATUS_PATH)]


def test_event_of_a_write_that_met_a_conflict_is_told_with_the_next(
    server: ScriptedApi, harness: Harness
) -> None:
    """To the planner an address that it gave before is no news, but nobody was told."""
    server.on("PATCH", STATUS_PATH, failing(409), failing(409), OK)
    server.on("POST", EVENTS_PATH, OK, OK)
    harness.publisher.offer([Decision(ref("7"), SOME_STATUS, (ASSIGNED,))])
    eventually(lambda: len(harness.conflicts) == 1)
    harness.publisher.offer([Decision(ref("8"), SOME_STATUS)])
    eventually(lambda: len(harness.conflicts) == 2)
    harness.publisher.offer([Decision(ref("9"), SOME_STATUS, (REFUSED,))])
    harness.idle()
    told = [body["reason"] for verb, _, _, body, _ in server.requests if verb == "POST"]
    assert told == ["IPAllocated", "AllocationFailed"]


def test_event_of_a_write_that_met_a_conflict_is_not_told_of_another_address(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("PATCH", STATUS_PATH, failing(409), OK)
    harness.publisher.offer([Decision(ref("7"), SOME_STATUS, (ASSIGNED,))])
    eventually(lambda: harness.conflicts)
    harness.publisher.offer([Decision(ref("8"), IngressStatus((), None))])
    harness.idle()
    assert server.count("POST", EVENTS_PATH) == 0


def test_event_of_a_decision_that_was_overtaken_in_the_queue_is_told(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("PATCH", STATUS_PATH, failing(503), *[OK] * 2)
    server.on("POST", EVENTS_PATH, OK)
    harness.publisher.offer([Decision(ref("7"), SOME_STATUS, (ASSIGNED,))])
    eventually(lambda: server.requests)
    harness.publisher.offer([Decision(ref("8"), SOME_STATUS)])
    harness.idle()
    eventually(lambda: server.count("POST", EVENTS_PATH) == 1)


def test_outage_is_tried_again_and_the_status_is_not_written_twice(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("PATCH", STATUS_PATH, failing(503), OK)
    server.on("POST", EVENTS_PATH, failing(500), OK)
    harness.publisher.offer([Decision(ref(), SOME_STATUS, (ASSIGNED,))])
    harness.idle()
    assert harness.calls() == [("PATCH", STATUS_PATH)] * 2 + [("POST", EVENTS_PATH)] * 2
    assert harness.publisher.counts.errors == 2


def test_newer_decision_replaces_one_that_waits(server: ScriptedApi, harness: Harness) -> None:
    server.on("PATCH", STATUS_PATH, *[failing(503)] * 3, OK, OK)
    harness.publisher.offer([Decision(ref("7"), SOME_STATUS)])
    eventually(lambda: server.requests)
    harness.publisher.offer([Decision(ref("8"), SOME_STATUS)])
    harness.idle()
    assert server.requests[-1][3]["metadata"]["resourceVersion"] == "8"


def during(meanwhile: Callable[[], object], then: Any) -> Any:
    """An answer before which something else happens: time passes inside the call."""

    def step(handler: Any) -> None:
        meanwhile()
        then(handler)

    return step


@pytest.mark.parametrize("answer", [200, 404, 403, 409, 503])
def test_decision_that_comes_while_the_older_is_written_is_written_too(
    server: ScriptedApi, harness: Harness, answer: int
) -> None:
    newer = Decision(ref("8"), IngressStatus((("192.0.2.11", "VIP"),), "lan"), (ASSIGNED,))
    then = OK if answer == 200 else failing(answer)
    server.on("PATCH", STATUS_PATH, during(lambda: harness.publisher.offer([newer]), then), OK)
    server.on("POST", EVENTS_PATH, OK)
    harness.publisher.offer([Decision(ref("7"), SOME_STATUS)])
    harness.idle()
    written = [body for verb, _, _, body, _ in server.requests if verb == "PATCH"]
    assert [body["metadata"]["resourceVersion"] for body in written] == ["7", "8"]
    eventually(lambda: server.count("POST", EVENTS_PATH) == 1)


def test_decision_that_comes_while_an_event_is_written_is_written_too(
    server: ScriptedApi, harness: Harness
) -> None:
    newer = Decision(ref("8"), IngressStatus((("192.0.2.11", "VIP"),), "lan"))
    server.on("PATCH", STATUS_PATH, OK, OK)
    server.on("POST", EVENTS_PATH, during(lambda: harness.publisher.offer([newer]), OK))
    harness.publisher.offer([Decision(ref("7"), SOME_STATUS, (ASSIGNED,))])
    eventually(lambda: server.count("PATCH", STATUS_PATH) == 2)
    harness.idle()


def test_warning_is_repeated_only_when_text_or_service_changed(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("POST", EVENTS_PATH, *[OK] * 9)
    server_events = lambda: server.count("POST", EVENTS_PATH)  # noqa: E731
    for _ in range(3):
        harness.publisher.offer([Decision(ref("7"), None, (REFUSED,))])
        harness.idle()
    assert server_events() == 1
    other = PlanEvent("Warning", "AllocationFailed", "no available IPs in pool lan")
    harness.publisher.offer([Decision(ref("7"), None, (other,))])
    harness.idle()
    assert server_events() == 2
    server.on("PATCH", f"{EVENTS_PATH}/{server.requests[-1][3]['metadata']['name']}", OK)
    harness.publisher.offer([Decision(ref("8"), None, (other,))])
    harness.idle()
    assert server.requests[-1][0] == "PATCH"
    assert server.requests[-1][3]["count"] == 2


def test_event_of_an_earlier_process_raises_its_count(
    server: ScriptedApi, harness: Harness
) -> None:
    recorder_name = EventRecorder(harness.publisher._api, "edge1")._name(ref(), REFUSED)
    path = f"{EVENTS_PATH}/{recorder_name}"
    server.on("POST", EVENTS_PATH, failing(409))
    server.on("GET", path, reply({"count": 4}))
    server.on("PATCH", path, OK)
    harness.publisher.offer([Decision(ref(), None, (REFUSED,))])
    harness.idle()
    assert server.requests[-1][3]["count"] == 5
    assert harness.conflicts == []


def test_who_leads_no_more_writes_nothing(server: ScriptedApi, harness: Harness) -> None:
    harness.leading = False
    harness.publisher.offer([Decision(ref(), SOME_STATUS, (ASSIGNED,))])
    harness.idle()
    assert server.requests == []


def test_node_assigned_is_mirrored_where_people_look(server: ScriptedApi, harness: Harness) -> None:
    harness.leading, harness.mirror = False, "metallb-system"
    mirrored = "/api/v1/namespaces/metallb-system/events"
    server.on("POST", EVENTS_PATH, OK)
    server.on("POST", mirrored, OK)
    event = PlanEvent("Normal", "nodeAssigned", 'announcing from node "edge1" with protocol "bgp"')
    harness.publisher.notify(NoticeChanges(new=(Notice(ref(), event),)))
    eventually(lambda: server.count("POST", mirrored))
    body = server.requests[-1][3]
    assert body["metadata"]["namespace"] == body["involvedObject"]["namespace"] == "metallb-system"
    assert body["related"]["namespace"] == "shop"


NOTE = PlanEvent("Normal", "nodeAssigned", 'announcing from node "edge1" with protocol "bgp"')
MIRROR_PATH = "/api/v1/namespaces/metallb-system/events"


def noting(service: ServiceRef, event: PlanEvent = NOTE) -> NoticeChanges:
    return NoticeChanges(new=(Notice(service, event),))


@pytest.mark.parametrize("trouble", [429, 500, 503])
def test_node_assigned_is_tried_again_and_its_mirror_apart_from_it(
    server: ScriptedApi, harness: Harness, trouble: int
) -> None:
    harness.mirror = "metallb-system"
    server.on("POST", EVENTS_PATH, *[failing(trouble)] * 3, OK)
    server.on("POST", MIRROR_PATH, *[failing(trouble)] * 2, OK)
    harness.publisher.notify(noting(ref()))
    harness.idle()
    assert server.count("POST", EVENTS_PATH) == 4
    assert server.count("POST", MIRROR_PATH) == 3
    assert harness.publisher.counts.events == 2


@pytest.mark.parametrize("answer", [403, 404, 410, 422])
def test_node_assigned_is_given_up_where_it_can_never_be_written(
    server: ScriptedApi, harness: Harness, answer: int
) -> None:
    server.on("POST", EVENTS_PATH, failing(answer), OK)
    harness.publisher.notify(noting(ref()))
    harness.idle()
    assert server.count("POST", EVENTS_PATH) == 1


def test_node_assigned_is_given_up_when_it_is_true_no_more(
    server: ScriptedApi, harness: Harness
) -> None:
    harness.mirror = "metallb-system"
    for path in (EVENTS_PATH, MIRROR_PATH):
        server.on("POST", path, *[failing(500)] * 99)
    harness.publisher.notify(noting(ref()))
    eventually(lambda: server.count("POST", EVENTS_PATH) > 1)
    assert harness.publisher.backlog == 2
    harness.publisher.notify(NoticeChanges(over=((KEY, NOTE.message),)))
    harness.idle()


def test_of_the_same_notice_only_the_newest_is_tried_again(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("POST", EVENTS_PATH, *[failing(500)] * 2, OK)
    harness.publisher.notify(noting(ref()))
    eventually(lambda: server.requests)
    harness.publisher.notify(noting(ServiceRef(KEY, "uid-2", "1")))
    harness.idle()
    uids = [body["involvedObject"]["uid"] for _, _, _, body, _ in server.requests]
    assert uids == ["uid-1", "uid-2", "uid-2"]


def test_service_that_fails_does_not_hold_up_another(server: ScriptedApi, harness: Harness) -> None:
    server.on("PATCH", STATUS_PATH, *[failing(500)] * 99)
    harness.publisher.offer([Decision(ref(), SOME_STATUS)])
    eventually(lambda: server.count("PATCH", STATUS_PATH) == 5)  # it waits 0.8 s by now
    path = "/api/v1/namespaces/shop/services/other/status"
    server.on("PATCH", path, OK)
    harness.publisher.offer(
        [Decision(ServiceRef(ObjectKey("shop", "other"), "u", "3"), SOME_STATUS)]
    )
    eventually(lambda: server.count("PATCH", path))
    assert server.count("PATCH", STATUS_PATH) < 7


def test_event_that_was_recorded_is_not_repeated_when_the_next_one_fails(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("POST", EVENTS_PATH, OK, failing(500), OK)
    harness.publisher.offer([Decision(ref(), None, (ASSIGNED, REFUSED))])
    harness.idle()
    reasons = [body["reason"] for _, _, _, body, _ in server.requests]
    assert reasons == ["IPAllocated", "AllocationFailed", "AllocationFailed"]


def test_api_server_that_is_away_is_asked_with_one_request_at_a_time(
    server: ScriptedApi, harness: Harness
) -> None:
    waits: list[float] = []
    harness.publisher._worker.backoff.draw = lambda _, bound: waits.append(bound) or 0.0
    refs = [ServiceRef(ObjectKey("shop", f"s{i}"), "u", "1") for i in range(50)]
    paths = [f"/api/v1/namespaces/shop/services/s{i}/status" for i in range(50)]
    server.on("PATCH", paths[0], *[failing(429)] * 4, OK)
    for path in paths[1:]:
        server.on("PATCH", path, OK)
    harness.publisher.offer([Decision(one, SOME_STATUS) for one in refs])
    harness.idle()
    written = [path for _, path, *_ in server.requests]
    assert written == [paths[0]] * 4 + paths
    assert waits == [0.01, 0.02, 0.04, 0.08]


def test_missing_right_is_said_and_does_not_block_others(
    server: ScriptedApi, harness: Harness
) -> None:
    other = ServiceRef(ObjectKey("shop", "other"), "uid-2", "3")
    other_path = "/api/v1/namespaces/shop/services/other/status"
    server.on("PATCH", STATUS_PATH, failing(403))
    server.on("PATCH", other_path, OK)
    harness.publisher.offer([Decision(ref(), SOME_STATUS), Decision(other, SOME_STATUS)])
    harness.idle()
    assert server.count("PATCH", other_path) == 1
    assert harness.publisher.counts.refused == 1
