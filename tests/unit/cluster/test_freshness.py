# SPDX-License-Identifier: Apache-2.0
"""Whether the cluster is known as it is, with a clock in which time passes inside a call."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from fairlead.backoff import Backoff
from fairlead.cluster import watch as kube_watch
from fairlead.cluster.client import KubeApi
from fairlead.cluster.decode import WatchTarget
from fairlead.cluster.freshness import LIMIT_SECONDS, StaleWatch, stale
from fairlead.cluster.watch import Watcher, WatchState
from unit.cluster.scripted_api import (
    Handler,
    ScriptedApi,
    Step,
    bookmark,
    eventually,
    listing,
    reply,
    serving,
    stream,
    thing,
)
from unit.cluster.test_watch import FORBIDDEN, PATH, Thing, parse

GONE = reply({"kind": "Status", "code": 401, "message": "Unauthorized"}, 401)


@dataclass
class Clock:
    """Seconds that only the server's answers let pass."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def passing(self, seconds: float, step: Step) -> Step:
        """An answer that takes so long."""

        def slow(handler: Handler) -> None:
            self.now += seconds
            step(handler)

        return slow


@pytest.fixture
def server() -> Iterator[ScriptedApi]:
    yield from serving()


class Bench:
    """One watch on the scripted server and the clock."""

    def __init__(self, server: ScriptedApi, folder: Path, *, optional: bool = False) -> None:
        self.server, self.clock = server, Clock()
        self.queue: SimpleQueue[Any] = SimpleQueue()
        target = WatchTarget("Thing", PATH, Thing, parse, optional=optional)
        api, backoff = KubeApi(server.kubeconfig(folder)), Backoff(first=0.01, limit=0.05)
        self.watcher = Watcher(api, target, self.queue, backoff=backoff, clock=self.clock)

    @property
    def stale(self) -> tuple[StaleWatch, ...]:
        return stale([self.watcher.state], self.clock.now)

    def connected(self) -> bool:
        return self.watcher.state.connected


@pytest.fixture
def bench(server: ScriptedApi, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(server, tmp_path)
    yield made
    made.watcher.stop()


def test_nothing_is_known_before_the_first_list(server: ScriptedApi, bench: Bench) -> None:
    server.on("GET", PATH, *[bench.clock.passing(30, FORBIDDEN)] * 2, reply(listing(10)))
    seen: list[StaleWatch] = []

    def look(handler: Handler) -> None:
        seen.extend(bench.stale)
        reply(listing(10))(handler)

    server.steps[("GET", PATH)][2] = look
    bench.watcher.start()
    eventually(bench.connected)
    assert [(one.kind, one.seconds, "not for you" in one.why) for one in seen] == [
        ("Thing", 60.0, True)
    ]
    assert bench.stale == ()


def test_a_list_of_any_length_is_fresh_when_it_is_there(server: ScriptedApi, bench: Bench) -> None:
    server.on("GET", PATH, bench.clock.passing(1000, reply(listing(10))))
    bench.watcher.start()
    eventually(bench.connected)
    assert bench.stale == ()


def test_silence_is_believed_for_a_while_and_a_bookmark_breaks_it(
    server: ScriptedApi, bench: Bench
) -> None:
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, stream(end="hold"))
    bench.watcher.start()
    eventually(bench.connected)
    bench.clock.now += LIMIT_SECONDS
    assert bench.stale == ()
    bench.clock.now += 1
    (found,) = bench.stale
    assert (found.kind, found.seconds) == ("Thing", LIMIT_SECONDS + 1)
    assert found.why == "the API server has kept silent for more than 150 s"
    assert bench.connected()  # the socket alone does not tell


@pytest.mark.parametrize("word", [bookmark(20), b'{"type":"MODIFIED","object":{"metadata":3}}\n'])
def test_every_word_counts(server: ScriptedApi, bench: Bench, word: bytes) -> None:
    def speak(handler: Handler) -> None:
        eventually(bench.connected)
        bench.clock.now += LIMIT_SECONDS + 1
        handler.chunk(word)

    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, _then(speak))
    bench.watcher.start()
    eventually(lambda: bench.watcher.state.events == 1)
    assert bench.watcher.state.last_word == bench.clock.now
    assert bench.stale == ()


def _then(speak: Step) -> Step:
    """A watch body that `speak` writes, and that stays open."""

    def step(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        speak(handler)
        handler.server.closing.wait(30)

    return step


@pytest.mark.parametrize("refusal", [FORBIDDEN, GONE], ids=["403", "401"])
@pytest.mark.parametrize("optional", [False, True])
def test_rights_that_are_gone_show_as_soon_as_the_watch_is_renewed(
    server: ScriptedApi, tmp_path: Path, refusal: Step, optional: bool
) -> None:
    bench = Bench(server, tmp_path, optional=optional)
    server.on("GET", PATH, reply(listing(10, thing("a", 1))))
    server.on("WATCH", PATH, stream(bookmark(11), end="close"))
    server.on("WATCH", PATH, *[bench.clock.passing(7, refusal)] * 500)
    bench.watcher.start()
    eventually(lambda: bench.watcher.state.errors >= 3)
    (found,) = bench.stale
    assert "HTTP 40" in found.why
    assert found.seconds >= 14  # since the first refusal
    assert bench.watcher.state.last_word < bench.watcher.state.failing_since
    bench.watcher.stop()


def test_a_watch_is_renewed_within_the_limit() -> None:
    """Else rights that are gone would go unnoticed for longer than silence does."""
    assert max(kube_watch.WATCH_SECONDS) <= LIMIT_SECONDS


def test_a_watch_that_stands_again_is_fresh_before_anything_happens(
    server: ScriptedApi, bench: Bench
) -> None:
    server.on("GET", PATH, reply(listing(10)))
    server.on("WATCH", PATH, stream(0.01, end="cut"), FORBIDDEN, FORBIDDEN, stream())
    bench.watcher.start()
    eventually(lambda: server.count("WATCH", PATH) == 4 and bench.connected())
    assert bench.stale == ()
    assert bench.watcher.state.last_error == ""


def test_a_kind_that_is_not_served_is_fresh_while_it_is_looked_for(
    server: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_watch, "ABSENT_SECONDS", (0.01, 0.01))
    bench = Bench(server, tmp_path, optional=True)
    missing = reply({"kind": "Status", "code": 404}, 404)
    server.on("GET", PATH, *[bench.clock.passing(40, missing)] * 9)
    server.on("GET", PATH, *[reply({"kind": "Status", "code": 500}, 500)] * 999)
    bench.watcher.start()
    eventually(lambda: bench.watcher.state.errors == 1)
    assert bench.watcher.state.last_word == bench.clock.now  # 360 s on
    (found,) = bench.stale
    assert "HTTP 500" in found.why
    bench.watcher.stop()


def test_a_thread_that_died_goes_stale() -> None:
    dead = WatchState("Thing", listed=True, connected=True, last_word=100.0)
    alive = WatchState("Other", listed=True, connected=True, last_word=240.0)
    assert [one.kind for one in stale([dead, alive], 251.0)] == ["Thing"]


def test_a_renewal_in_progress_is_no_gap() -> None:
    between = WatchState("Thing", listed=True, connected=False, last_word=100.0)
    assert stale([between], 101.0) == ()
