# SPDX-License-Identifier: Apache-2.0
"""List and watch of one kind: a complete list, then changes, for as long as the process lives.

One thread per kind, all feeding one queue. What a thread guarantees to the reader of the queue:

* `Listed` holds every object of the kind at one moment; the changes that follow continue from it.
* An object that can't be decoded is a `Failed`, never the end of the stream; the reader keeps the
  last good version.
* A broken connection is silent: reconnect continues from the last resourceVersion. Only when the
  API server no longer has that version (410), or another kubeconfig came into force, a new
  `Listed` is sent.

Facts: API concepts, "Efficient detection of changes" (kubernetes.io); a watch ends normally after
`timeoutSeconds`; bookmarks move the resourceVersion about once a minute; 410 comes as HTTP status
or as an ERROR event in the stream.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import msgspec

from fairlead.backoff import Backoff
from fairlead.cluster.client import ApiError, ApiStream, ApiUnavailableError, KubeApi
from fairlead.cluster.decode import Decoders, WatchTarget
from fairlead.cluster.nesting import decoded, shallow
from fairlead.cluster.pages import list_all
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError

log = logging.getLogger(__name__)

PAGE = 100  # objects per list request
# How long one watch lives; random, so that many agents do not come back together. An API server
# checks rights when a watch is opened and never again, so this bounds how long a right that is gone
# goes unnoticed: as long as silence does. A new watch goes on where the last one ended.
WATCH_SECONDS = (90, 150)
SILENCE_SECONDS = 150.0  # bookmarks come each minute; more silence means a frozen API server
ABSENT_SECONDS = (20.0, 40.0)  # how often to look again for a kind that is not served
ABSENT_CONFIRMATIONS = 3
CONFIRM_SECONDS = 1.0

T = TypeVar("T")


class Listed(msgspec.Struct, frozen=True):
    """The complete list of a kind; `failed` are objects of it that could not be decoded."""

    kind: str
    objects: tuple[Any, ...]
    failed: tuple[ObjectError, ...]
    received: int


class Changed(msgspec.Struct, frozen=True):
    """An object came or changed; `received` is `time.monotonic_ns()` at the socket."""

    kind: str
    key: ObjectKey
    value: Any
    received: int


class Removed(msgspec.Struct, frozen=True):
    """An object is gone."""

    kind: str
    key: ObjectKey
    received: int


class Failed(msgspec.Struct, frozen=True):
    """An object changed to something that can't be decoded."""

    kind: str
    error: ObjectError
    received: int


WatchMessage = Listed | Changed | Removed | Failed


@dataclass
class WatchState:
    """What a thread did so far; written by it alone, read by metrics and status.

    Attributes:
        served: Whether there is something to follow; False counts as an empty list.
        refused: That it is not served because this account may not read it; `last_error` says it.
        started, last_word: Monotonic seconds; `last_word` of the last answer of the API server,
            be it a list, an event, a bookmark or that a watch stands; 0.0 for none.
        failing_since: Monotonic seconds of the first failure since the last word, None while there
            is none; `last_error` is the last one.
        updates: Objects that a list or an event handed on.
        unusable: Those of them that could not be parsed.
    """

    kind: str
    connected: bool = False
    listed: bool = False
    served: bool = True
    refused: bool = False
    started: float = 0.0
    last_word: float = 0.0
    failing_since: float | None = None
    events: int = 0
    updates: int = 0
    unusable: int = 0
    relists: int = 0
    reconnects: int = 0
    errors: int = 0
    last_error: str = ""

    @property
    def following(self) -> bool:
        """Whether nothing is missed: connected, or there is nothing to connect to."""
        return self.connected or (self.listed and not self.served)


class _ExpiredError(Exception):
    """The resourceVersion is too old (or from a future that a restored API server forgot)."""


class Watcher(Generic[T]):
    """Follows one kind until stopped; `run` is a thread's body."""

    def __init__(
        self,
        api: KubeApi,
        target: WatchTarget[T],
        queue: SimpleQueue[WatchMessage],
        *,
        backoff: Backoff | None = None,
        page: int = PAGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._target, self._queue, self._page = api, target, queue, page
        self._decode = Decoders(target)
        self._backoff, self._clock = backoff or Backoff(), clock
        self._stopped = threading.Event()
        self._stream: ApiStream | None = None
        self._version = ""
        self._generation = 0  # of the kubeconfig with which the kind was listed
        self._absences = 0
        self.state = WatchState(target.kind)

    def start(self) -> threading.Thread:
        """Run in a daemon thread."""
        thread = threading.Thread(target=self.run, name=f"watch-{self._target.kind}", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End the thread soon, also out of a blocked read."""
        self._stopped.set()
        if (stream := self._stream) is not None:
            stream.close()

    def run(self) -> None:
        """List, watch, recover; returns after `stop`."""
        self.state.started = self._clock()
        while not self._stopped.is_set():
            try:
                if not self._version or self._elsewhere():
                    self._list()
                self._watch()
            except _ExpiredError:
                self._version = ""
                self.state.relists += 1
            except ApiError as error:
                self._answered(error)
            except (ApiUnavailableError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._failed(str(error))
            finally:
                self.state.connected = False

    def _elsewhere(self) -> bool:
        """Whether the kubeconfig was read anew since: our place may be another API server's."""
        return self._generation != self._api.generation

    # -- recovery ---------------------------------------------------------------------------

    def _answered(self, error: ApiError) -> None:
        if error.status == 410 or "Too large resource version" in str(error):
            self._version = ""
            self.state.relists += 1
            self._stopped.wait(self._backoff.next())
        elif self._may_be_absent(error.status):
            self._absent(error)
        else:
            self._failed(str(error))

    def _may_be_absent(self, status: int) -> bool:
        """Whether this answer means that there is nothing to read, for this account at least.

        Only of kinds that a cluster may lack. A refusal takes nothing back: what was read once
        stays in force, for a right that is gone may be a mishap.
        """
        if status == 403:
            return self._target.optional and not (self.state.listed and self.state.served)
        return self._target.optional and status == 404

    def _absent(self, error: ApiError) -> None:
        """Take the kind for empty, and look again later.

        "Not served" is believed at once at the start, and later only when it persists. A refusal
        has to persist also at the start: an API server that just came up refuses what it grants a
        moment later.
        """
        state, refused = self.state, error.status == 403
        self._version = ""
        self._absences += 1
        known = state.listed and not state.served
        sure = known or self._absences >= ABSENT_CONFIRMATIONS
        if not sure and (refused or state.listed):
            self._stopped.wait(self._backoff.next() + CONFIRM_SECONDS)
            return
        if refused and not state.refused:
            log.warning("%s: taken for empty: %s", self._target.kind, error)
        if not known:
            self._queue.put(Listed(self._target.kind, (), (), time.monotonic_ns()))
        self._heard()
        state.refused, state.last_error = refused, str(error) if refused else ""
        state.served, state.listed = False, True
        self._stopped.wait(random.uniform(*ABSENT_SECONDS))  # noqa: S311 - jitter, not a secret

    def _failed(self, message: str) -> None:
        if self._stopped.is_set():
            return
        delay = self._backoff.next()
        self.state.errors += 1
        if message != self.state.last_error:
            log.warning("%s: %s; trying again in %.1f s", self._target.kind, message, delay)
        self.state.last_error = message
        if self.state.failing_since is None:
            self.state.failing_since = self._clock()
        self._stopped.wait(delay)

    def _heard(self) -> None:
        """The API server said something, and it was no error."""
        self.state.last_word, self.state.failing_since = self._clock(), None
        self.state.last_error = ""

    def _healthy(self) -> None:
        self._heard()
        if self._backoff.waited:
            self._backoff.reset()
        self._absences = 0
        self.state.served, self.state.refused = True, False

    def _selectors(self) -> dict[str, str | int]:
        target = self._target
        chosen = {"labelSelector": target.selector, "fieldSelector": target.fields}
        return {name: text for name, text in chosen.items() if text}

    # -- list -------------------------------------------------------------------------------

    def _list(self) -> None:
        self._version, self._generation = "", self._api.generation
        version, found = list_all(
            self._api,
            self._target.path,
            self._decode.objects,
            query=self._selectors(),
            page=self._page,
        )
        self._healthy()
        self._version = version
        self.state.listed = True
        failed = tuple(item for item in found if isinstance(item, ObjectError))
        objects = tuple(item for item in found if not isinstance(item, ObjectError))
        self.state.updates += len(found)
        self.state.unusable += len(failed)
        self._queue.put(Listed(self._target.kind, objects, failed, time.monotonic_ns()))

    # -- watch ------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Follow changes until the body ends; a normal end after timeoutSeconds just returns."""
        query: dict[str, str | int] = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": random.randint(*WATCH_SECONDS),  # noqa: S311 - jitter, not a secret
        }
        query |= self._selectors()
        stream = self._api.stream(self._target.path, query, read_timeout=SILENCE_SECONDS)
        self._stream = stream
        opened, before = time.monotonic(), self.state.events
        self.state.connected = True
        self._heard()
        try:
            self._follow(stream)
        finally:
            self.state.connected = False
            self._stream = None
            stream.close()
            self.state.reconnects += 1
        if self.state.events == before and time.monotonic() - opened < 1.0:
            # Accepted and closed at once, again and again: a server that shuts down does that.
            self._stopped.wait(self._backoff.next())

    def _follow(self, stream: ApiStream) -> None:
        pending: list[bytes] = []  # pieces of a line that is not complete yet
        while not self._stopped.is_set():
            data = stream.read()
            if not data or self._elsewhere():
                return  # a half line at the end is dropped: the next watch sends it again
            received = time.monotonic_ns()
            if b"\n" not in data:
                pending.append(data)
                continue
            pending.append(data)
            lines = b"".join(pending).split(b"\n")
            rest = lines.pop()
            pending = [rest] if rest else []
            for line in lines:
                if line:
                    self._line(line, received)

    def _line(self, line: bytes, received: int) -> None:
        try:
            event: Any = self._decode.event.decode(line)
        except RecursionError:
            self._line(shallow(line), received)
            return
        except msgspec.ValidationError:
            self._odd_line(line, received)
            return
        kind, value = event.type, event.object
        if kind == "ERROR":
            self._odd_line(line, received)
            return
        self._advance(value.metadata.resource_version, bookmark=kind == "BOOKMARK")
        self._healthy()
        self.state.events += 1
        key = ObjectKey(value.metadata.namespace, value.metadata.name)
        if kind in ("ADDED", "MODIFIED"):
            self._deliver(key, self._decode.parse(value), received)
        elif kind == "DELETED":
            self._removed(key, received)
        # BOOKMARK: its resourceVersion is all it has to say.

    def _advance(self, version: str, *, bookmark: bool) -> None:
        """Note how far the stream is.

        A bookmark older than what was seen means that the API server's data was restored from a
        backup: it would keep silent until it passes our version again. resourceVersions compare as
        numbers (KEP-5504).
        """
        numbers = version.isdecimal() and self._version.isdecimal()
        if bookmark and numbers and int(version) < int(self._version):
            raise _ExpiredError
        self._version = version or self._version

    def _odd_line(self, line: bytes, received: int) -> None:
        """An ERROR event, or an object of a shape we do not understand."""
        raw = decoded(self._decode.raw_event.decode, line)
        meta = self._decode.status.decode(raw.object) if raw.type == "ERROR" else None
        if meta is not None:
            if meta.code == 410 or meta.reason in ("Expired", "Gone"):
                raise _ExpiredError
            raise ApiUnavailableError(
                f"watch {self._target.path}: error {meta.code} {meta.reason}: {meta.message}"
            )
        what = self._decode.meta(raw.object)
        self._advance(what.resource_version, bookmark=False)
        self._heard()
        self.state.events += 1
        key = ObjectKey(what.namespace, what.name)
        if raw.type == "DELETED" and what.name:
            self._removed(key, received)
        elif raw.type in ("ADDED", "MODIFIED"):
            self._deliver(key, self._decode.one(raw.object), received)

    def _deliver(self, key: ObjectKey, value: T | ObjectError, received: int) -> None:
        self.state.updates += 1
        if isinstance(value, ObjectError):
            self.state.unusable += 1
            self._queue.put(Failed(self._target.kind, value, received))
        else:
            self._queue.put(Changed(self._target.kind, key, value, received))

    def _removed(self, key: ObjectKey, received: int) -> None:
        self.state.updates += 1
        self._queue.put(Removed(self._target.kind, key, received))
