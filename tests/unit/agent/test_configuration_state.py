# SPDX-License-Identifier: Apache-2.0
"""ConfigurationState: what is told, when it is written, whose objects are left alone."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.agent.configuration_state import Findings, controller_state, findings, speaker_state
from fairlead.agent.configuration_state_writer import ConfigStateWriter
from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.configuration_states import Component, ConfigState, ConfigStateStore, Reason
from fairlead.cluster.watch import WatchState
from fairlead.model.plan import ObjectError
from unit.cluster.scripted_api import ScriptedApi, eventually, reply, serving

BASE = "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates"
SPEAKER, CONTROLLER = f"{BASE}/speaker-edge1", f"{BASE}/controller"
BAD_POOL = "IPAddressPool metallb-system/lan: spec.addresses[0]: 'x' is not a CIDR"
NO_PEER = "BGPPeer metallb-system/tor: peerASN is missing"


def error(kind: str = "IPAddressPool", name: str = "lan", **fields: str) -> ObjectError:
    given = {"field": "spec.addresses[0]", "message": "'x' is not a CIDR"}
    return ObjectError(kind=kind, namespace="metallb-system", name=name, **{**given, **fields})


PEER = error("BGPPeer", "tor", field="", message="peerASN is missing")

# -- what is told ---------------------------------------------------------------------------------

VALID = (Reason.RECONCILED, "")
INVALID = (Reason.CONFIGURATION, f"configuration error: {BAD_POOL}")
UNREAD = ("BGPPeer", "HTTP 403")


@pytest.mark.parametrize(
    ("found", "speaker", "controller"),
    [
        (Findings(), VALID, VALID),
        (Findings((error(),)), INVALID, INVALID),
        (Findings((error(), error())), INVALID, INVALID),
        (Findings((PEER,)), (Reason.CONFIGURATION, f"configuration error: {NO_PEER}"), VALID),
        (
            Findings((error(), PEER)),
            (Reason.CONFIGURATION, f"configuration error: {NO_PEER}\n{BAD_POOL}"),
            INVALID,
        ),
        (Findings(unread=(UNREAD,)), (Reason.UNKNOWN, "BGPPeer: HTTP 403"), VALID),
        (Findings((error(),), (UNREAD,)), INVALID, INVALID),
    ],
)
def test_speaker_tells_of_all_kinds_and_controller_of_pools(
    found: Findings, speaker: tuple[Reason, str], controller: tuple[Reason, str]
) -> None:
    told = speaker_state("edge1", found)
    assert (told.name, told.reason, told.message) == ("speaker-edge1", *speaker)
    told = controller_state(found)
    assert (told.name, told.reason, told.message) == ("controller", *controller)


def test_order_of_errors_changes_no_text() -> None:
    errors = (error(name="b"), error(name="a"), PEER)
    assert speaker_state("e", Findings(errors)) == speaker_state("e", Findings(errors[::-1]))


def test_text_of_the_cluster_stays_in_its_line_and_in_its_length() -> None:
    forged = speaker_state("e", Findings((error(message="a\nBGPPeer x/y: \x1b[2J"),))).message
    assert forged.endswith("a\\x0aBGPPeer x/y: \\x1b[2J")
    assert "\n" not in forged
    many = tuple(error(name=f"p{n:04}", message="é" * 5000) for n in range(1000))
    text = speaker_state("e", Findings(many)).message
    first, *rest, last = text.split("\n")
    assert len(first) == len("configuration error: ") + 1024
    assert {len(line) for line in rest} == {1024}
    assert last == f"and {1000 - 1 - len(rest)} more: see `fairlead status` on an edge"
    assert 30_000 < len(text) <= 32_768


@pytest.mark.parametrize(
    ("synced", "watch", "expected"),
    [
        (False, WatchState("IPAddressPool"), None),
        (False, WatchState("Service", last_error="HTTP 403"), None),
        (
            False,
            WatchState("IPAddressPool", last_error="HTTP 403"),
            Findings((error(),), (("IPAddressPool", "HTTP 403"),)),
        ),
        (
            True,
            WatchState("IPAddressPool", listed=True, served=False, refused=True, last_error="no"),
            Findings((error(),), (("IPAddressPool", "no"),)),
        ),
        (True, WatchState("IPAddressPool", listed=True), Findings((error(),))),
        (True, WatchState("IPAddressPool", listed=True, last_error="lost"), Findings((error(),))),
    ],
)
def test_nothing_is_told_before_all_was_read_unless_reading_fails(
    synced: bool, watch: WatchState, expected: Findings | None
) -> None:
    assert findings([error(), error("Service")], [watch], synced=synced) == expected


# -- the objects ----------------------------------------------------------------------------------

NOW = dt.datetime(2026, 5, 4, 3, 2, 1, tzinfo=dt.UTC)
THEN = "2026-01-01T00:00:00Z"
GOOD = ConfigState(Component.SPEAKER, "edge1", Reason.RECONCILED)
BAD = ConfigState(Component.SPEAKER, "edge1", Reason.CONFIGURATION, "configuration error: x")
LABELS = {
    "metallb.io/component-type": "speaker",
    "metallb.io/node-name": "edge1",
    "app.kubernetes.io/managed-by": "fairlead",
}


def condition(status: str = "True", reason: str = "Reconciled", message: str = "") -> Any:
    return {
        "type": "configReconcilerValid",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": THEN,
    }


def invalid(message: str = BAD.message) -> Any:
    told = condition("False", "ConfigurationError", message)
    return {"result": "Invalid", "errorSummary": message, "conditions": [told]}


TOLD = {"result": "Valid", "conditions": [condition()]}


def stands(status: Any = None, **labels: str) -> Any:
    meta = {"name": "speaker-edge1", "resourceVersion": "7", "labels": {**LABELS, **labels}}
    return reply({"metadata": meta, **({"status": status} if status else {})})


@pytest.fixture
def server() -> Iterator[ScriptedApi]:
    yield from serving()


@pytest.fixture
def store(server: ScriptedApi, tmp_path: Path) -> ConfigStateStore:
    api = KubeApi(server.kubeconfig(tmp_path))
    return ConfigStateStore(api, "metallb-system", clock=lambda: NOW)


def writes(server: ScriptedApi) -> list[tuple[str, str, Any]]:
    return [(verb, path, body) for verb, path, _, body, _ in server.requests if verb != "GET"]


def test_object_is_made_with_labels_and_then_gets_its_status(
    server: ScriptedApi, store: ConfigStateStore
) -> None:
    server.on("POST", BASE, stands())
    server.on("PATCH", f"{SPEAKER}/status", stands(TOLD))
    store.make_true(GOOD)
    (_, _, made), (_, _, filled) = writes(server)
    assert made == {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ConfigurationState",
        "metadata": {"name": "speaker-edge1", "labels": LABELS},
    }
    assert filled == {
        "metadata": {"resourceVersion": "7"},
        "status": {
            "result": "Valid",
            "errorSummary": None,
            "conditions": [{**condition(), "lastTransitionTime": "2026-05-04T03:02:01Z"}],
        },
    }


def test_controller_has_the_condition_and_labels_of_the_controller(
    server: ScriptedApi, store: ConfigStateStore
) -> None:
    server.on("POST", BASE, stands())
    server.on("PATCH", f"{CONTROLLER}/status", stands(TOLD))
    store.make_true(ConfigState(Component.CONTROLLER, "", Reason.UNKNOWN, "HTTP 403"))
    (_, _, made), (_, _, filled) = writes(server)
    assert made["metadata"] == {
        "name": "controller",
        "labels": {
            "metallb.io/component-type": "controller",
            "app.kubernetes.io/managed-by": "fairlead",
        },
    }
    assert (filled["status"]["result"], filled["status"]["errorSummary"]) == ("Unknown", "HTTP 403")
    (told,) = filled["status"]["conditions"]
    shown = (told["type"], told["status"], told["reason"], told["message"])
    assert shown == ("poolReconcilerValid", "False", "UnknownError", "HTTP 403")


@pytest.mark.parametrize(
    ("status", "state", "since"),
    [
        (TOLD, GOOD, None),
        (invalid(), BAD, None),
        (TOLD, BAD, "2026-05-04T03:02:01Z"),
        (invalid(), GOOD, "2026-05-04T03:02:01Z"),
        (invalid("configuration error: y"), BAD, THEN),
        ({**TOLD, "result": "Invalid"}, GOOD, THEN),
        ({**TOLD, "errorSummary": "forged"}, GOOD, THEN),
        ({**TOLD, "conditions": [condition(), {**condition(), "type": "other"}]}, GOOD, THEN),
        ({}, GOOD, "2026-05-04T03:02:01Z"),
    ],
)
def test_status_is_written_where_it_differs_and_time_moves_when_the_condition_turns(
    server: ScriptedApi,
    store: ConfigStateStore,
    status: Any,
    state: ConfigState,
    since: str | None,
) -> None:
    server.on("GET", SPEAKER, stands(status))
    server.on("PATCH", f"{SPEAKER}/status", stands(TOLD))
    store.make_true(state)
    times = [body["status"]["conditions"][0]["lastTransitionTime"] for *_, body in writes(server)]
    assert times == ([] if since is None else [since])


def test_labels_that_people_edit_come_back(server: ScriptedApi, store: ConfigStateStore) -> None:
    server.on("GET", SPEAKER, stands(TOLD, **{"metallb.io/node-name": "other"}))
    server.on("PATCH", SPEAKER, stands(TOLD))
    store.make_true(GOOD)
    assert writes(server) == [("PATCH", SPEAKER, {"metadata": {"labels": LABELS}})]


def test_object_of_metallb_is_left_alone(server: ScriptedApi, store: ConfigStateStore) -> None:
    server.on("GET", SPEAKER, stands(TOLD, **{"app.kubernetes.io/managed-by": "Helm"}))
    store.make_true(BAD)
    assert writes(server) == []


def test_lists_ask_for_objects_of_ours_only(server: ScriptedApi, store: ConfigStateStore) -> None:
    gone = {"metadata": {"name": "speaker-gone"}}
    server.on("GET", BASE, reply({"metadata": {}, "items": [gone]}))
    assert [one.metadata.name for one in store.of_absent(["edge2", "edge1"])] == ["speaker-gone"]
    assert store.of_all() == []  # not served
    first, second = (query["labelSelector"] for _, _, query, _, _ in server.requests)
    assert first == (
        "app.kubernetes.io/managed-by=fairlead,!fairlead.io/group,"
        "metallb.io/component-type=speaker,"
        "metallb.io/node-name notin (edge1,edge2)"
    )
    assert second == "app.kubernetes.io/managed-by=fairlead,!fairlead.io/group"


def test_groups_have_objects_of_their_own_names() -> None:
    nothing = Findings()
    assert controller_state(nothing).name == "controller"
    assert controller_state(nothing, "public").name == "controller-public"
    assert speaker_state("edge1", nothing).name == "speaker-edge1"
    other = speaker_state("edge1", nothing, "public")
    assert other.name == "speaker-public-edge1"
    assert other.labels()["fairlead.io/group"] == "public"


# -- the writer -----------------------------------------------------------------------------------


class Everyone:
    """All edges are alive, but those that are named."""

    dead: tuple[str, ...] = ()

    def alive(self, edges: list[str]) -> list[str]:
        return [edge for edge in edges if edge not in self.dead]


class Bench:
    def __init__(self, server: ScriptedApi, store: ConfigStateStore) -> None:
        self.server, self.liveness = server, Everyone()
        self.found: Findings | None = Findings()
        self.leading = False
        self.resyncs = 0
        self.writer = ConfigStateWriter(
            store,
            self.liveness,  # type: ignore[arg-type]
            findings=lambda: self.found,
            edge="edge1",
            edges=["edge1", "edge2"],
            leading=lambda: self.leading,
        )
        self.writer._worker.backoff.first = 0.01
        self.writer.start()

    def look(self) -> list[str]:
        """What was asked for after one look of the main loop, without the folder."""
        before = len(self.server.requests)
        self.writer.look(self.resyncs)
        eventually(lambda: self.writer.idle)
        asked = self.server.requests[before:]
        return [f"{verb} {path.removeprefix(BASE).lstrip('/')}" for verb, path, *_ in asked]


@pytest.fixture
def bench(server: ScriptedApi, store: ConfigStateStore) -> Iterator[Bench]:
    made = Bench(server, store)
    yield made
    made.writer.stop()


def test_it_looks_when_there_is_news_and_at_a_resync(server: ScriptedApi, bench: Bench) -> None:
    bench.found = None
    assert bench.look() == []
    bench.found = Findings()
    server.on("GET", SPEAKER, *[stands(TOLD)] * 3)
    assert bench.look() == ["GET speaker-edge1"]
    assert bench.look() == []
    bench.resyncs += 1
    assert bench.look() == ["GET speaker-edge1"]
    server.on("PATCH", f"{SPEAKER}/status", stands())
    bench.found = Findings((error(),))
    assert bench.look() == ["GET speaker-edge1", "PATCH speaker-edge1/status"]


def test_leader_keeps_the_controllers_and_deletes_those_of_absent_edges(
    server: ScriptedApi, bench: Bench
) -> None:
    bench.leading, bench.liveness.dead = True, ("edge2",)
    server.on("GET", SPEAKER, stands(TOLD))
    server.on("POST", BASE, stands())
    server.on("PATCH", f"{CONTROLLER}/status", stands())
    gone = {"metadata": {"name": "speaker-edge2"}}
    server.on("GET", BASE, reply({"metadata": {}, "items": [gone]}))
    assert bench.look() == [
        "GET speaker-edge1",
        "GET controller",
        "POST ",
        "PATCH controller/status",
        "GET ",
        "DELETE speaker-edge2",
    ]
    assert server.requests[-2][2]["labelSelector"].endswith("notin (edge1)")


def test_without_the_definition_it_is_quiet(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.leading = True
    assert bench.look() == [
        "GET speaker-edge1", "POST ", "GET controller", "POST ", "GET ",
    ]  # fmt: skip
    assert not caplog.records


def test_without_the_right_it_says_so_once(
    server: ScriptedApi, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", SPEAKER, *[reply({"message": "no right"}, 403)] * 2)
    for _ in range(2):
        bench.resyncs += 1
        assert bench.look() == ["GET speaker-edge1"]
    assert [record.message for record in caplog.records] == [
        f"ConfigurationState objects: {ApiError('GET', SPEAKER, 403)}no right"
    ]


@pytest.mark.parametrize("status", [409, 503])
def test_conflict_and_outage_are_tried_again(
    server: ScriptedApi, bench: Bench, status: int
) -> None:
    server.on("GET", SPEAKER, stands(), stands())
    server.on("PATCH", f"{SPEAKER}/status", reply({}, status), stands(TOLD))
    once = ["GET speaker-edge1", "PATCH speaker-edge1/status"]
    assert bench.look() == once * 2


def test_conflict_over_one_object_does_not_hold_up_the_other(
    server: ScriptedApi, bench: Bench
) -> None:
    bench.leading = True
    server.on("GET", SPEAKER, stands(), stands(TOLD))
    server.on("PATCH", f"{SPEAKER}/status", reply({}, 409))
    server.on("POST", BASE, stands(), stands())
    server.on("PATCH", f"{CONTROLLER}/status", stands(), stands())
    asked = bench.look()
    assert asked[:5] == [
        "GET speaker-edge1",
        "PATCH speaker-edge1/status",
        "GET controller",
        "POST ",
        "PATCH controller/status",
    ]
    assert asked.count("GET speaker-edge1") == 2
