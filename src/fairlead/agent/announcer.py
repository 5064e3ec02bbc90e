# SPDX-License-Identifier: Apache-2.0
"""The thread that makes the network send VIPs here: it walks the parts of this edge but IPVS.

It is told the whole target and makes it true in the order of the way up (`edge.parts`). What comes
while it works is coalesced into one next pass; a generation is done when the pass that tried it has
ended. It also keeps watch: over keepalived, whose kill leaves VIPs behind that the other edge
already has, and over the addresses that stand on the LAN interfaces, which tell this edge's role.
"""

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fairlead.agent.edgelock import SharedEdgeLock
from fairlead.agent.handover import HANDOVER_LOOK, Handover
from fairlead.backoff import Backoff
from fairlead.edge.address_events import AddressEvents
from fairlead.edge.parts import AnyPart, Parts, Target
from fairlead.edge.parts.walk import sentence, walk
from fairlead.edge.process import DaemonWatch
from fairlead.edge.vips import StandingVips, VipReader, ours
from fairlead.model.plan import ObjectError

log = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
_EARLIEST = 0.9  # of the time between two resyncs: the jitter's lower end


class Tools(NamedTuple):
    """What the thread works with; opened in it, since sockets are not shared."""

    parts: Parts
    vips: VipReader


@dataclass(frozen=True)
class AnnounceState:
    """For metrics and status: a value that is replaced, so that any thread may read it.

    Attributes:
        done: The last generation whose pass ended.
        passes, changes, cleanups: Walks, parts that were changed in them, removals behind a dead
            keepalived.
        failures: Parts that can't be made true, by name, and why.
        vips: None until they were read once.
        bird_errors: Sessions that could not be put into BIRD's file.
    """

    done: int = 0
    passes: int = 0
    changes: int = 0
    cleanups: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    keepalived: bool | None = None
    vips: StandingVips | None = None
    bird_errors: tuple[ObjectError, ...] = ()

    @property
    def error(self) -> str:
        """All failures in one line."""
        return "; ".join(self.failures.values())


class Announcer:
    """Owns announcements; `announce` is called by the main loop, the rest runs in its thread.

    Args:
        open_tools: Opens parts and sockets, closed at the end.
        done: Told the generation of a pass that ended, and whether every part is true.
        vips: Told the VIPs that stand here, when they change.
        bgp_up: Whether some BGP session of this edge is up.
    """

    def __init__(
        self,
        open_tools: Callable[[], AbstractContextManager[Tools]],
        lock: SharedEdgeLock,
        keepalived: DaemonWatch,
        *,
        done: Callable[[int, bool], None],
        vips: Callable[[StandingVips], None],
        bgp_up: Callable[[], bool] = lambda: True,
        resync: float = 30.0,
    ) -> None:
        self._handover = Handover(bgp_up)
        self._open_tools, self._lock, self._keepalived = open_tools, lock, keepalived
        self._done, self._tell_vips, self._resync = done, vips, resync
        self._asked: tuple[int, Target] | None = None
        self._tried: tuple[int, Target] | None = None
        self._known: Mapping[str, object] = {}
        self._ended_last: tuple[int, bool] | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._due = 0.0
        self._reread = 0.0
        self._look = True
        self._backoff = Backoff(first=0.2, limit=15.0)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self.state = AnnounceState()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """End after the pass under way; everything stays as it is."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(grace)

    def announce(self, generation: int, target: Target) -> None:
        """Replace the target; `done` is told the generation."""
        self._asked = (generation, target)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        events = AddressEvents()
        try:
            with self._open_tools() as tools:
                while not self._stopped:
                    self._wait(events)
                    self._turn(tools)
        finally:
            events.close()

    def _turn(self, tools: Tools) -> None:
        asked = self._asked
        if asked is None:
            return
        try:
            if self.state.passes == 0:
                self._watch(tools, asked[1])  # what stands here at the start is no news
            self._pass(tools.parts, asked)
            self._watch(tools, asked[1])
        except Exception as error:  # noqa: BLE001 - a lock that another keeps, a socket: announcing must go on
            self._fail(error)

    def _wait(self, events: AddressEvents) -> None:
        """Sleep until something may have to be done, a second at the most."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(events.fileno(), select.POLLIN)
        if (pidfd := self._keepalived.fileno()) is not None:
            poller.register(pidfd, select.POLLIN)
        late = self._due - time.monotonic()
        if self._asked is self._tried or late > 0:
            poller.poll(max(1.0, min(_CHECK_SECONDS, late if late > 0 else 1e9) * 1000))
        # Reading the addresses costs time in proportion to the VIPs: only when something moved.
        self._look |= events.drain()
        try:
            os.eventfd_read(self._wake)
            self._due = 0.0
        except BlockingIOError:
            pass

    def _pass(self, parts: Parts, asked: tuple[int, Target]) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        if now >= self._reread:  # a resync: everything is read, whatever was made true before
            self._known, self._reread = {}, now + self._resync * _EARLIEST
        before, known_errors = self.state.failures, self.state.bird_errors
        waiting = self._handover.waiting(parts, asked[1], now)
        with self._lock():
            outcome = walk(
                without_ipvs(parts),
                asked[1],
                standing=self.state.vips.all() if self.state.vips else (),
                known=self._known,
                skip=waiting,
                note=lambda name, error: _log(name, error, before),
            )
        self._known = outcome.desired
        self._look = True
        self.state = replace(
            self.state,
            passes=self.state.passes + 1,
            changes=self.state.changes + len(outcome.changed),
            failures={name: sentence(name, one) for name, one in outcome.failed.items()},
            bird_errors=getattr(parts.bird, "errors", ()),
        )
        for one in self.state.bird_errors:
            if one not in known_errors:
                log.warning("peer %s: %s: %s", one.name, one.field, one.message)
        if outcome.changed:
            log.info(
                "announcements changed", extra={"fields": {"parts": ",".join(outcome.changed)}}
            )
        self._ended(asked, complete=not (outcome.failed or waiting))
        if waiting:
            self._due = min(self._due, now + HANDOVER_LOOK)

    def _ended(self, asked: tuple[int, Target], *, complete: bool) -> None:
        """A pass ended: note when the next is due, tell who waits for this generation."""
        self._tried = asked
        if complete:
            self._backoff.reset()
            wait = self._resync * random.uniform(_EARLIEST, 1.1)  # noqa: S311 - jitter
        else:
            wait = self._backoff.next()
        if self._asked is asked:
            self._due = time.monotonic() + wait
        ended = (asked[0], complete)
        if ended != self._ended_last:
            self._ended_last = ended
            self.state = replace(self.state, done=asked[0])
            self._done(*ended)

    def _fail(self, error: Exception) -> None:
        """Nothing could be walked at all; a generation that was not tried is not done."""
        _log("edge", error, self.state.failures)
        self.state = replace(self.state, failures={"edge": sentence("edge", error)})
        self._known = {}
        self._due = time.monotonic() + self._backoff.next()

    def _watch(self, tools: Tools, target: Target) -> None:
        """Notice the role, and clean up behind a keepalived that was killed."""
        uses_vrrp = bool(target.vrrp)
        dead = uses_vrrp and not self._keepalived_runs()
        if not dead and not self._look:
            return
        self._look = False
        interfaces = target.interfaces
        missing: frozenset[str] = getattr(tools.parts.vrrp, "missing", frozenset())
        if self.state.vips is None or missing - self.state.vips.missing:
            for name in sorted(missing):
                log.warning("interface %s is missing", name)
        found = ours(tools.vips.read(interfaces), target.owned, target.advertised, missing)
        # A killed master keeps its VIPs while the other edge announces them: two holders.
        if dead and found.lan and not self._keepalived.alive():
            with self._lock():
                tools.vips.remove(interfaces, sorted(found.lan, key=int))
            self.state = replace(self.state, cleanups=self.state.cleanups + 1)
            log.warning(
                "VIPs removed that a dead keepalived left behind",
                extra={"fields": {"addresses": len(found.lan)}},
            )
            found = StandingVips(frozenset(), found.link, missing)
        if found != self.state.vips:
            self.state = replace(self.state, vips=found)
            self._tell_vips(found)

    def _keepalived_runs(self) -> bool:
        alive = self._keepalived.alive()
        if alive != self.state.keepalived:
            log.log(
                logging.INFO if alive else logging.WARNING,
                "keepalived is running" if alive else "keepalived is not running",
            )
            self.state = replace(self.state, keepalived=alive)
        return alive


def without_ipvs(parts: Parts) -> tuple[AnyPart, ...]:
    """The parts that the announcer walks; the main loop has IPVS, one virtual server at a time."""
    return tuple(part for part in parts if part is not parts.ipvs)


def _log(name: str, error: Exception, before: Mapping[str, str]) -> None:
    """A failure once, with its traceback where nobody foresaw it."""
    text = sentence(name, error)
    if before.get(name) != text:
        foreseen = text == f"{name}: {error}"
        log.error("announcements: %s", text, exc_info=None if foreseen else error)
