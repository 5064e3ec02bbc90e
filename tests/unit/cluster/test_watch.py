# SPDX-License-Identifier: Apache-2.0
"""The watch against a server that misbehaves on demand; HTTP, chunks and threads are real."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import pytest

from fairlead.backoff import Backoff
from fairlead.cluster import watch as kube_watch
from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.watch import Changed, Failed, Listed, Removed, Watcher, WatchTarget
from fairlead.model.errors import ObjectFieldError
from fairlead.model.names import ObjectKey
from unit.cluster.scripted_api import (
    ScriptedApi,
    bookmark,
    event,
    eventually,
    gone,
    hold,
    listing,
    reply,
    serving,
    stream,
    thing,
)

PATH = "/api/v1/things"
FORBIDDEN = reply({"kind": "Status", "code": 403, "message": "not for you"}, 403)


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Thing(msgspec.Struct):
    metadata: Meta
    size: int = 0


def parse(wire: Thing) -> tuple[str, int]:
    if wire.size < 0:
        raise ObjectFieldError("size", "negative")
    return (wire.metadata.name, wire.size)


class Harness:
    def __init__(self, server: ScriptedApi, folder: Path) -> None:
        self.server = server
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.api = KubeApi(server.kubeconfig(folder))
        self.watchers: list[Watcher[Any]] = []

    def watch(self, **settings: Any) -> Watcher[Any]:
        page = settings.pop("page", 500)
        target = WatchTarget(kind="Thing", path=PATH, wire=Thing, parse=parse, **settings)
        backoff = Backoff(first=0.01, limit=0.05)
        watcher = Watcher(self.api, target, self.queue, backoff=backoff, page=page)
        watcher.start()
        self.watchers.append(watcher)
        return watcher

    def take(self, seconds: float = 5.0) -> Any:
        try:
            return self.queue.get(timeout=seconds)
        except Empty:
            raise AssertionError(f"no message within {seconds} s") from None

    def quiet(self, seconds: float = 0.15) -> None:
        with contextlib.suppress(Empty):
            raise AssertionError(f"unexpected {self.queue.get(timeout=seconds)}")


@pytest.fixture
def server() -> Iterator[ScriptedApi]:
    yield from serving()


@pytest.fixture
def harness(server: ScriptedApi, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(server, tmp_path)
    yield harness
    for watcher in harness.watchers:
        watcher.stop()


def test_list_then_changes_in_order(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", PATH, reply(listing(10, thing("a", 3, size=1), thing("b", 9))))
    server.on(
        "WATCH",
        PATH,
        stream(
            event("ADDED", thing("c", 11, size=5)) + event("MODIFIED", thing("a", 12, size=2)),
            event("DELETED", thing("b", 13)),
        ),
    )
    watcher = harness.watch(selector="app,!headless")
    first = harness.take()
    assert isinstance(first, Listed)
    assert first.objects == (("a", 1), ("b", 0))
    second, third, fourth = (harness.take() for _ in range(3))
    assert isinstance(second, Changed)
    assert second.value == ("c", 5)
    assert second.received > first.received
    assert isinstance(third, Changed)
    assert third.value == ("a", 2)
    assert isinstance(fourth, Removed)
    assert fourth.key == ObjectKey("default", "b")
    assert (watcher.state.updates, watcher.state.unusable) == (5, 0)
    assert watcher.state.connected
    watch = next(seen for seen in server.requests if seen[0] == "WATCH")
    assert watch[2]["resourceVersion"] == "10"
    assert watch[2]["allowWatchBookmarks"] == "true"
    assert watch[2]["labelSelector"] == "app,!headless"
    assert watch[4]["Authorization"] == "Bearer sesame"


def test_pages_are_one_list(server: ScriptedApi, harness: Harness) -> None:
    server.on(
        "GET",
        PATH,
        reply(listing(10, thing("a", 1), thing("b", 2), token="t1")),
        reply(listing(10, thing("c", 3))),
    )
    harness.watch(page=2)
    assert [name for name, _ in harness.take().objects] == ["a", "b", "c"]
    lists = [seen[2] for seen in server.requests if seen[0] == "GET"]
    assert lists == [{"limit": "2"}, {"limit": "2", "continue": "t1"}]


def test_pages_that_expire_are_listed_in_one_piece(server: ScriptedApi, harness: Harness) -> None:
    server.on(
        "GET",
        PATH,
        reply(listing(10, thing("old", 1), token="t1")),
        reply({"kind": "Status", "code": 410, "reason": "Expired"}, 410),
        reply(listing(20, thing("a", 1))),
    )
    harness.watch(page=1)
    assert harness.take().objects == (("a", 0),)


def test_bookmark_moves_the_place_of_reconnection(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, stream(bookmark(50), end="close"), hold())
    harness.watch()
    harness.take()
    eventually(lambda: server.count("WATCH", PATH) == 2)
    versions = [seen[2]["resourceVersion"] for seen in server.requests if seen[0] == "WATCH"]
    assert versions == ["10", "50"]
    assert server.count("GET", PATH) == 1
    harness.quiet()


def test_bookmark_from_the_past_lists_again(server: ScriptedApi, harness: Harness) -> None:
    """An API server restored from a backup would stay silent until it passes our version."""
    server.on("GET", PATH, reply(listing(100, thing("a", 90))), reply(listing(40)))
    server.on("WATCH", PATH, stream(bookmark(35)), hold())
    harness.watch()
    assert len(harness.take().objects) == 1
    assert harness.take().objects == ()


@pytest.mark.parametrize("by_http", [True, False])
def test_410_lists_again(server: ScriptedApi, harness: Harness, by_http: bool) -> None:
    expired = reply({"kind": "Status", "code": 410, "reason": "Expired"}, 410)
    server.on("GET", PATH, reply(listing(10, thing("a", 1))), reply(listing(90, thing("b", 80))))
    server.on("WATCH", PATH, expired if by_http else stream(gone()), hold())
    watcher = harness.watch()
    assert harness.take().objects == (("a", 0),)
    assert harness.take().objects == (("b", 0),)
    assert watcher.state.relists == 1
    eventually(lambda: server.count("WATCH", PATH) == 2)


def test_cut_in_mid_line_loses_nothing(server: ScriptedApi, harness: Harness) -> None:
    whole = event("ADDED", thing("a", 11, size=1))
    broken = event("ADDED", thing("b", 12, size=2))
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, stream(whole, broken[:20], end="cut"), stream(broken))
    harness.watch()
    harness.take()
    assert harness.take().value == ("a", 1)
    assert harness.take().value == ("b", 2)
    assert server.requests[-1][2]["resourceVersion"] == "11"
    harness.quiet()


def test_line_in_many_pieces(server: ScriptedApi, harness: Harness) -> None:
    line = event("ADDED", thing("a", 11, size=7))
    pieces: list[bytes | float] = []
    for at in range(0, len(line), 9):
        pieces += [line[at : at + 9], 0.002]
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, stream(*pieces))
    harness.watch()
    harness.take()
    assert harness.take().value == ("a", 7)


def test_bad_objects_do_not_spoil_the_others(server: ScriptedApi, harness: Harness) -> None:
    server.on(
        "GET",
        PATH,
        reply(listing(10, thing("a", 1), thing("b", 2, size="many"), thing("c", 3, size=-1))),
    )
    server.on(
        "WATCH",
        PATH,
        stream(
            event("MODIFIED", thing("a", 11, size=[1])),
            event("DELETED", thing("b", 12, size="many")),
            event("ADDED", thing("d", 13, size=4)),
        ),
    )
    watcher = harness.watch()
    first = harness.take()
    assert first.objects == (("a", 0),)
    assert [(bad.name, bad.field, bad.message) for bad in first.failed] == [
        ("b", "size", "Expected `int`, got `str`"),
        ("c", "size", "negative"),
    ]
    failed, removed, added = (harness.take() for _ in range(3))
    assert (watcher.state.updates, watcher.state.unusable) == (6, 3)
    assert isinstance(failed, Failed)
    assert (failed.error.kind, failed.error.namespace, failed.error.name) == (
        "Thing",
        "default",
        "a",
    )
    assert isinstance(removed, Removed)
    assert removed.key.name == "b"
    assert added.value == ("d", 4)
    assert watcher.state.reconnects == 0


def test_deep_objects_come_like_any_others(server: ScriptedApi, harness: Harness) -> None:
    """As somebody nests managedFields; the second is wrong besides."""
    deep = b'{"f":' * 9000 + b"{}" + b"}" * 9000
    lines = (event("ADDED", thing("a", 11, f="@")), event("ADDED", thing("b", 12, size="x", f="@")))
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, stream(*(line.replace(b'"@"', deep) for line in lines)))
    watcher = harness.watch()
    _, good, bad = (harness.take() for _ in range(3))
    assert good.value == ("a", 0)
    assert (bad.error.name, bad.error.field) == ("b", "size")
    assert watcher.state.reconnects == 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds that are not there are looked for again at once."""
    monkeypatch.setattr(kube_watch, "ABSENT_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(kube_watch, "CONFIRM_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_kind_that_is_not_served_counts_as_empty(server: ScriptedApi, harness: Harness) -> None:
    missing = reply({"kind": "Status", "code": 404, "reason": "NotFound"}, 404)
    server.on("GET", PATH, missing, missing, reply(listing(10, thing("a", 1))))
    watcher = harness.watch(optional=True)
    assert harness.take().objects == ()
    assert harness.take().objects == (("a", 0),)
    assert watcher.state.served
    assert watcher.state.errors == 0


@pytest.mark.usefixtures("quick")
def test_optional_kind_that_is_refused_counts_as_empty_until_the_right_comes(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("GET", PATH, *[FORBIDDEN] * 5)
    watcher = harness.watch(optional=True, fields="type=x")
    assert harness.take().objects == ()
    assert server.count("GET", PATH) == kube_watch.ABSENT_CONFIRMATIONS
    eventually(lambda: watcher.state.refused)
    assert "not for you" in watcher.state.last_error
    assert (watcher.state.following, watcher.state.errors) == (True, 0)
    server.on("GET", PATH, reply(listing(10, thing("a", 1))))
    assert harness.take().objects == (("a", 0),)
    assert (watcher.state.served, watcher.state.refused) == (True, False)
    assert watcher.state.last_error == ""


@pytest.mark.usefixtures("quick")
def test_refusal_of_an_api_server_that_just_came_up_is_not_believed(
    server: ScriptedApi, harness: Harness
) -> None:
    server.on("GET", PATH, FORBIDDEN, FORBIDDEN, reply(listing(10, thing("a", 1))))
    harness.watch(optional=True)
    assert harness.take().objects == (("a", 0),)


@pytest.mark.usefixtures("quick")
def test_refusal_takes_back_nothing_that_was_read(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", PATH, reply(listing(10, thing("a", 1))), *[FORBIDDEN] * 5)
    server.on("WATCH", PATH, FORBIDDEN, stream(gone()), hold())
    server.on("GET", PATH, reply(listing(20, thing("b", 2))))
    watcher = harness.watch(optional=True)
    assert harness.take().objects == (("a", 0),)
    assert harness.take().objects == (("b", 0),)
    assert watcher.state.errors == 6
    assert not watcher.state.refused


@pytest.mark.usefixtures("quick")
def test_kind_whose_definition_goes_is_empty_once_that_persists(
    server: ScriptedApi, harness: Harness
) -> None:
    missing = reply({"kind": "Status", "code": 404}, 404)
    server.on("GET", PATH, reply(listing(10, thing("a", 1))), *[missing] * 9)
    server.on("WATCH", PATH, missing)
    harness.watch(optional=True)
    assert harness.take().objects == (("a", 0),)
    assert harness.take().objects == ()
    assert server.count("GET", PATH) == kube_watch.ABSENT_CONFIRMATIONS  # the watch was the first


def test_kind_that_must_exist_is_never_taken_for_empty(
    server: ScriptedApi, harness: Harness
) -> None:
    missing = reply({"kind": "Status", "code": 404}, 404)
    server.on("GET", PATH, *[missing, FORBIDDEN] * 3, reply(listing(10, thing("a", 1))))
    watcher = harness.watch()
    assert harness.take().objects == (("a", 0),)
    assert watcher.state.errors == 6


def test_server_away_and_back(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", PATH, reply(listing(10, thing("a", 1))))
    server.on("WATCH", PATH, stream(0.05, end="cut"))
    watcher = harness.watch()
    harness.take()
    port = server.server_port
    server.stop()
    eventually(lambda: watcher.state.errors >= 3)
    harness.quiet()
    second = ScriptedApi(port)
    second.on("WATCH", PATH, stream(event("MODIFIED", thing("a", 11, size=3))))
    try:
        assert harness.take().value == ("a", 3)
        assert second.count("GET", PATH) == 0
    finally:
        second.stop()


def test_silence_is_taken_for_a_dead_server(
    server: ScriptedApi, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_watch, "SILENCE_SECONDS", 0.1)
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, hold(), stream(event("ADDED", thing("a", 11))))
    harness.watch()
    harness.take()
    assert harness.take().value == ("a", 0)


def test_stop_wakes_a_blocked_read(server: ScriptedApi, harness: Harness) -> None:
    server.on("GET", PATH, reply(listing(10)))
    watcher = harness.watch()
    harness.take()
    eventually(lambda: watcher.state.connected)
    watcher.stop()
    eventually(lambda: not watcher.state.connected)


def test_refused_token_reads_the_kubeconfig_again(
    server: ScriptedApi, harness: Harness, tmp_path: Path
) -> None:
    def refuse(handler: Any) -> None:
        server.kubeconfig(tmp_path, token="rotated")
        reply({"kind": "Status", "code": 401}, 401)(handler)

    server.on("GET", PATH, refuse, reply(listing(10, thing("a", 1))))
    harness.watch()
    assert harness.take().objects == (("a", 0),)
    lists = [seen for seen in server.requests if seen[0] == "GET"]
    assert [seen[4]["Authorization"] for seen in lists] == ["Bearer sesame", "Bearer rotated"]


def test_token_refused_by_a_watch_reads_the_kubeconfig_again(
    server: ScriptedApi, harness: Harness, tmp_path: Path
) -> None:
    def refuse(handler: Any) -> None:
        server.kubeconfig(tmp_path, token="rotated")
        reply({"kind": "Status", "code": 401}, 401)(handler)

    server.on("GET", PATH, reply(listing(10)), reply(listing(12, thing("a", 11))))
    server.on("WATCH", PATH, refuse)
    watcher = harness.watch()
    assert harness.take().objects == ()
    assert harness.take().objects == (("a", 0),)
    eventually(lambda: watcher.state.connected)
    assert server.requests[-1][4]["Authorization"] == "Bearer rotated"


def test_another_api_server_is_listed_anew(
    server: ScriptedApi, harness: Harness, tmp_path: Path
) -> None:
    """Its resourceVersions are its own: going on from the old server's would miss objects."""
    server.on("GET", PATH, reply(listing(10, thing("a", 1))))
    server.on("WATCH", PATH, stream(bookmark(50), 0.05, end="cut"))
    harness.watch()
    assert harness.take().objects == (("a", 0),)
    second = ScriptedApi()
    try:
        second.on("GET", PATH, reply(listing(70, thing("b", 7))))
        second.kubeconfig(tmp_path)
        server.stop()
        assert harness.take().objects == (("b", 0),)
        eventually(lambda: second.count("WATCH", PATH))
        assert second.requests[-1][2]["resourceVersion"] == "70"
    finally:
        second.stop()


def test_watch_of_the_old_api_server_ends_when_somebody_read_of_another(
    server: ScriptedApi, harness: Harness, tmp_path: Path
) -> None:
    """Two API servers at once may be two clusters: the old one's words no longer count."""
    moved = threading.Event()

    def go_on(handler: Any) -> None:
        assert moved.wait(5)
        stream(event("ADDED", thing("stale", 11)))(handler)

    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, go_on)
    harness.watch()
    assert harness.take().objects == ()
    eventually(lambda: server.count("WATCH", PATH))
    second = ScriptedApi()
    try:
        second.on("GET", PATH, reply(listing(70, thing("b", 7))))
        second.kubeconfig(tmp_path)
        with pytest.raises(ApiError):
            harness.api.request("GET", "/api/v1/unknown")
        moved.set()
        assert harness.take().objects == (("b", 0),)
    finally:
        second.stop()


def test_backoff_doubles_to_its_limit_and_starts_over() -> None:
    backoff = Backoff(first=1.0, limit=6.0, draw=lambda _low, high: high)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 6.0, 6.0]
    backoff.reset()
    assert backoff.next() == 1.0
    jittered = Backoff(first=1.0, limit=6.0)
    assert 0.5 <= jittered.next() <= 1.0
