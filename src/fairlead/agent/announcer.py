# SPDX-License-Identifier: Apache-2.0
"""The thread that makes the network send VIPs here: packet filter, addresses, keepalived's file.

It is told the whole wanted state and makes it true, in the order of the way up: what traffic meets
first (who is let in, marks of port ranges, source NAT), then BIRD's policy, then addresses (BGP
exports what stands on the link: what an advertisement says of a VIP must hold from its first
moment), then VRRP. What comes while it works is coalesced into one next pass. It also keeps watch:
over keepalived, whose kill leaves VIPs behind that the other edge already holds, and over the
addresses that stand on the LAN interface, which tell this edge's role.
"""

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from fairlead.agent.edgelock import SharedEdgeLock
from fairlead.agent.steps import Steps
from fairlead.agent.wanted import FilterRules, Held, Wanted, interfaces_of
from fairlead.backoff import Backoff
from fairlead.edge.address_events import AddressEvents
from fairlead.edge.process import DaemonWatch
from fairlead.model.errors import FairleadError
from fairlead.model.names import IPAddress
from fairlead.model.plan import ObjectError, VrrpInstance
from fairlead.render.bird_policy import exceptional

log = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
_EARLIEST = 0.9  # of the time between two resyncs: the jitter's lower end


class _Unread(NamedTuple):
    """Rules of the packet filter that equal nothing that may be wanted."""

    masquerade: None = None
    filters: None = None
    marks: None = None


@dataclass
class AnnounceState:
    """For metrics and status; written by the thread alone."""

    applied: int = 0
    passes: int = 0
    changes: int = 0
    cleanups: int = 0
    error: str = ""
    keepalived: bool | None = None
    held: Held | None = None
    missing: frozenset[str] = frozenset()
    bird_errors: tuple[ObjectError, ...] = ()


class Announcer:
    """Owns announcements; `want` is called by the main loop, the rest runs in its thread."""

    def __init__(
        self,
        open_steps: Callable[[], Steps],
        lock: SharedEdgeLock,
        keepalived: DaemonWatch,
        *,
        done: Callable[[int], None],
        held: Callable[[Held], None],
        resync: float = 30.0,
    ) -> None:
        self._open_steps, self._lock, self._keepalived = open_steps, lock, keepalived
        self._done, self._tell_held, self._resync = done, held, resync
        self._wanted: Wanted | None = None
        self._applied: Wanted | None = None
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

    def want(self, wanted: Wanted) -> None:
        """Replace the wanted state."""
        self._wanted = wanted
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        events = AddressEvents()
        steps = self._open_steps()
        try:
            while not self._stopped:
                self._wait(events)
                self._turn(steps)
        finally:
            steps.close()
            events.close()

    def _turn(self, steps: Steps) -> None:
        try:
            if self.state.passes == 0:
                self._guard(steps)  # what stands here at the start is no news
            self._pass(steps)
            self._guard(steps)
        except (FairleadError, OSError) as error:
            self._failed(error)
        except Exception as error:  # whatever a tool or library raised: announcing must go on
            if str(error) != self.state.error:
                log.exception("announcements failed in an unforeseen way")
            self._failed(error)

    def _wait(self, events: AddressEvents) -> None:
        """Sleep until something may have to be done, a second at the most."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(events.fileno(), select.POLLIN)
        if (pidfd := self._keepalived.fileno()) is not None:
            poller.register(pidfd, select.POLLIN)
        late = self._due - time.monotonic()
        if self._wanted is self._applied or late > 0:
            poller.poll(max(1.0, min(_CHECK_SECONDS, late if late > 0 else 1e9) * 1000))
        # Reading the addresses costs time in proportion to the VIPs: only when something moved.
        self._look |= events.drain()
        try:
            os.eventfd_read(self._wake)
            self._due = 0.0
        except BlockingIOError:
            pass

    def _pass(self, steps: Steps) -> None:
        wanted = self._wanted
        if wanted is None or time.monotonic() < self._due:
            return
        if self._applied is None or not wanted.same(self._applied) or self._due:
            with self._lock():
                self._apply(steps, wanted)
        self._applied = wanted
        self._look = True
        self.state.error = ""
        self._backoff.reset()
        self._due = time.monotonic() + self._resync * random.uniform(_EARLIEST, 1.1)  # noqa: S311
        if self.state.applied != wanted.generation:
            self.state.applied = wanted.generation
            self._done(wanted.generation)

    def _apply(self, steps: Steps, wanted: Wanted) -> None:
        self.state.passes += 1
        changes = 0
        trouble: list[FairleadError | OSError] = []
        refused: set[IPAddress] = set()
        known = self._known_rules()
        order: tuple[Callable[[], bool], ...] = (
            lambda: known.filters != wanted.filters and self._sources(steps, wanted, refused),
            lambda: known.marks != wanted.marks and steps.marks(wanted.marks),
            lambda: known.masquerade != wanted.masquerade and steps.masquerade(wanted.masquerade),
            lambda: self._bird(steps, wanted, refused),
            lambda: steps.addresses(wanted.bgp - refused, wanted.owned),
            lambda: wanted.vrrp_used and self._vrrp(steps, wanted, refused),
        )
        for step in order:
            try:
                changes += int(step())
            except (FairleadError, OSError) as error:  # one way down must not hold up the others
                trouble.append(error)
        self.state.changes += changes
        if changes:
            log.info(
                "announcements changed",
                extra={
                    "fields": {
                        "vrrp": sum(len(one.addresses) for one in wanted.vrrp),
                        "bgp": len(wanted.bgp),
                        "masquerade": len(wanted.masquerade),
                        "source_filters": len(wanted.filters),
                        "port_marks": len(wanted.marks),
                    }
                },
            )
        if trouble:
            raise trouble[0]

    def _known_rules(self) -> FilterRules | _Unread:
        """What the packet filter holds of ours, or that it has to be read.

        Reading costs a tool per table and family: for a new VIP that needs no rule, that was most
        of its way up. So rules that did not change since the last reading are read at a resync.
        """
        now = time.monotonic()
        if self._applied is None or now >= self._reread:
            self._reread = now + self._resync * _EARLIEST
            return _Unread()
        return FilterRules(self._applied.masquerade, self._applied.filters, self._applied.marks)

    def _sources(self, steps: Steps, wanted: Wanted, refused: set[IPAddress]) -> bool:
        """Who is let in; where that can't be had, a restricted VIP must not come up open."""
        try:
            return steps.sources(wanted.filters)
        except (FairleadError, OSError):
            refused |= {one.address for one in wanted.filters} - self._standing()
            raise

    def _standing(self) -> frozenset[IPAddress]:
        held = self.state.held
        return held.lan | held.bgp if held else frozenset()

    def _bird(self, steps: Steps, wanted: Wanted, refused: set[IPAddress]) -> bool:
        """BIRD's file; where BIRD can't be given it, VIPs that it must treat apart stay away."""
        if wanted.bird is None:
            return False
        standing = self.state.held.bgp if self.state.held else frozenset()
        try:
            rendered = wanted.bird.render()
            self._note(rendered.errors)
            return steps.bird(rendered.text)
        except (FairleadError, OSError):
            refused |= exceptional(wanted.bird.plan) - standing
            raise

    def _note(self, errors: tuple[ObjectError, ...]) -> None:
        for error in errors:
            if error not in self.state.bird_errors:
                log.warning("peer %s: %s: %s", error.name, error.field, error.message)
        self.state.bird_errors = errors

    def _vrrp(self, steps: Steps, wanted: Wanted, refused: set[IPAddress]) -> bool:
        """Keepalived's file, without interfaces that are not there: it would refuse all of it."""
        named = {name for one in wanted.vrrp for name in (one.interface, *one.devices)}
        missing = steps.missing(sorted(named))
        if missing - self.state.missing:
            log.warning("interfaces are missing: %s", ", ".join(sorted(missing)))
        self.state.missing = missing
        return steps.vrrp(without(present_instances(wanted.vrrp, missing), refused))

    def _failed(self, error: Exception) -> None:
        if str(error) != self.state.error:
            log.error("announcements: %s", error)
        self.state.error = str(error)
        self._applied = None  # part of it may be true
        self._due = time.monotonic() + self._backoff.next()
        if (wanted := self._wanted) is not None and self.state.applied != wanted.generation:
            # Whoever waits for this generation must not wait for ever; the pass is tried again.
            self.state.applied = wanted.generation
            self._done(wanted.generation)

    def _guard(self, steps: Steps) -> None:
        """Notice the role, and clean up behind a keepalived that was killed."""
        wanted = self._wanted
        if wanted is None:
            return
        dead = wanted.vrrp_used and not self._keepalived_runs()
        if not dead and not self._look:
            return
        self._look = False
        held = steps.held(wanted.interfaces if wanted.vrrp_used else ())
        stale = {a for a in held.lan if wanted.owned(a) or a in wanted.advertised}
        held = Held(frozenset(stale), frozenset(filter(wanted.owned, held.bgp)), self.state.missing)
        # A killed master keeps its VIPs while the other edge announces them: two holders.
        if dead and stale and not self._keepalived.alive():
            with self._lock():
                steps.clean(wanted.interfaces, sorted(stale, key=int))
            self.state.cleanups += 1
            log.warning(
                "VIPs removed that a dead keepalived left behind",
                extra={"fields": {"addresses": len(stale)}},
            )
            held = replace(held, lan=frozenset())
        if held != self.state.held:
            self.state.held = held
            self._tell_held(held)

    def _keepalived_runs(self) -> bool:
        alive = self._keepalived.alive()
        if alive != self.state.keepalived:
            log.log(
                logging.INFO if alive else logging.WARNING,
                "keepalived is running" if alive else "keepalived is not running",
            )
        self.state.keepalived = alive
        return alive


def without(
    instances: tuple[VrrpInstance, ...], refused: Collection[IPAddress]
) -> tuple[VrrpInstance, ...]:
    """Instances without some VIPs."""
    if not refused:
        return instances
    return tuple(
        msgspec.structs.replace(
            one, addresses=tuple(vip for vip in one.addresses if vip not in refused)
        )
        for one in instances
    )


def present_instances(
    instances: tuple[VrrpInstance, ...], missing: frozenset[str]
) -> tuple[VrrpInstance, ...]:
    """Instances as this machine can run them: on the interfaces that are there.

    One that has none left for its VIPs is left out: as a master it would take them from an edge
    that can hold them.
    """
    found = []
    for one in instances:
        there = tuple(name for name in interfaces_of(one) if name not in missing)
        if one.interface in missing or not there:
            continue
        found.append(msgspec.structs.replace(one, devices=there) if one.devices else one)
    return tuple(found)
