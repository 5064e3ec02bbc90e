# SPDX-License-Identifier: Apache-2.0
"""The agent's main loop: what the cluster says -> plan -> kernel, level-triggered.

One thread does all of it, so nothing here needs a lock. A message marks things dirty in the
planner; what became different is compared with the kernel and made true. Order on the way up: IPVS,
then addresses and announcements; on the way down virtual servers go only after the announcer
reported that nothing announces them any more.

Before every kind has been listed once, nothing is written: traffic flows on what the kernel holds.
Losing the API server changes nothing. Every resync compares everything anew, one virtual server
at a time between events, so that it delays no readiness change.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from fairlead.agent.memory import settle_memory
from fairlead.agent.messages import (
    AnnouncementDone,
    DumpState,
    LeadershipChanged,
    LoopState,
    Stop,
    VipsChanged,
    WriteConflict,
)
from fairlead.agent.ports import Ports
from fairlead.agent.view_builder import build_view
from fairlead.agent.withdrawals import Withdrawals
from fairlead.cluster.watch import Changed, Failed, Listed, Removed
from fairlead.edge.vips import StandingVips
from fairlead.model.errors import FairleadError
from fairlead.model.ipvs import ServiceKey
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.plan import ObjectError

log = logging.getLogger(__name__)

_BATCH = 1000
_TICK = 1.0
_SWEEP_SECONDS = 0.002  # share of one turn that a resync may take while events wait
_RETRY_SECONDS = 1.0


class Loop:
    """Takes messages until told to stop.

    Args:
        kinds: Kinds whose first complete list is waited for.
        announces: Whether addresses and announcements are this agent's to change.
    """

    def __init__(
        self,
        queue: SimpleQueue[Any],
        kinds: Iterable[str],
        ports: Ports,
        *,
        announces: bool = True,
        resync: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._ports = queue, ports
        self._announces, self._resync, self._clock = announces, resync, clock
        self._owned = ports.owned
        self._generation = 0
        self._announced: frozenset[IPAddress] = frozenset()
        self._held_back: frozenset[IPAddress] = frozenset()
        self._dirty: set[ServiceKey] = set()
        self._leaving = Withdrawals()
        self._sweep: deque[ServiceKey] = deque()
        self._next_resync = 0.0
        self._next_full = 0.0
        self._last_beat = 0.0
        self._published = 0.0
        self._news = False
        self._running = True
        self.state = LoopState(missing=set(kinds))

    # -- turns ------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until `Stop`; leaves everything in place."""
        while self._running:
            self.turn(self._patience())

    def turn(self, patience: float) -> None:
        """Wait for messages at most `patience` seconds, then make true what they changed."""
        events = self._take(patience)
        now = self._clock()
        self._beat(now)
        if not self._running:
            return
        if not self.state.missing:
            if self.state.synced:
                self._follow(events)
                self._go_on_sweeping(now)
            elif now >= self._next_full:
                self._first_sync(now)
        if self._news or now - self._published >= _TICK:
            self._publish(now)

    def _publish(self, now: float) -> None:
        """Swap the view: at once where something is different, else about once a second."""
        self._news, self._published = False, now
        self._ports.publish(build_view(self.state, self._ports, now))

    def _patience(self) -> float:
        if self._sweep:
            return 0.0
        now = self._clock()
        until = min(self._next_resync, self._ports.kernel.next_due() or self._next_resync)
        if not self.state.synced:
            until = self._next_full if not self.state.missing else now + _TICK
        beat = self._ports.notifier.watchdog_interval
        return max(0.0, min(_TICK, until - now, beat if beat is not None else _TICK))

    def _beat(self, now: float) -> None:
        """Feed the watchdog: only a loop that turns deserves it."""
        if now - self._last_beat >= min(_TICK, self._ports.notifier.watchdog_interval or _TICK):
            self._last_beat = now
            self._ports.notifier.keep_alive()

    def _take(self, patience: float) -> list[int]:
        """Hand all waiting messages to the planner; return when the events arrived."""
        events: list[int] = []
        try:
            message = self._queue.get(timeout=patience) if patience else self._queue.get_nowait()
            for _ in range(_BATCH):
                self._handle(message, events)
                message = self._queue.get_nowait()
            self._handle(message, events)
        except Empty:
            pass
        return events

    def _handle(self, message: Any, events: list[int]) -> None:
        match message:
            case Changed():
                self.state.errors.pop((message.kind, message.key), None)
                self._ports.planning.put(message.kind, message.key, message.value)
                events.append(message.received)
            case Removed():
                self.state.errors.pop((message.kind, message.key), None)
                self._ports.planning.remove(message.kind, message.key)
                events.append(message.received)
            case Listed():
                self._listed(message)
            case Failed():
                self._unusable(message.kind, (message.error,))
            case _:
                self._handle_own(message)

    def _handle_own(self, message: Any) -> None:
        match message:
            case AnnouncementDone():
                self._leaving.ended(message)
                self._release()
            case VipsChanged():
                self.state.vips = message.vips
                self._news = True
                self._release()  # what stood when the last pass ended may be gone now
            case LeadershipChanged():
                self.state.leading = message.leading
                self._ports.planning.decide_all()
                self._news = True
            case WriteConflict():
                self._ports.conflict(message.key)
            case DumpState():
                self._dump_state()
            case Stop():
                self._running = False

    def _listed(self, message: Listed) -> None:
        kind = message.kind
        self._news = True
        self.state.errors = {at: why for at, why in self.state.errors.items() if at[0] != kind}
        self._ports.planning.replace(
            kind, message.objects, keep=[_error_key(error) for error in message.failed]
        )
        self._unusable(kind, message.failed)
        self.state.missing.discard(kind)

    def _unusable(self, kind: str, errors: Iterable[ObjectError]) -> None:
        """Note objects that can't be used; the last good version of each stays in force."""
        for error in errors:
            key = _error_key(error)
            self._news = True
            self.state.errors[(kind, key)] = error
            self._ports.planning.put_unreadable(kind, key)
            why = {"kind": kind, "object": key, "field": error.field, "error": error.message}
            log.error("object can't be used", extra={"fields": why})

    # -- making it true ---------------------------------------------------------------------

    def _first_sync(self, started: float) -> None:
        """All lists are there: adopt what the kernel holds, changing only what differs."""
        ports = self._ports
        try:
            delta = ports.planning.take_delta()
            for server in delta.changed.values():
                ports.kernel.want(server)
            for key in delta.removed:
                ports.kernel.drop(key)
            self._use_pools()
            sent = ports.kernel.apply_all(self._owned, prune=False)
            strays = list(ports.kernel.strays(self._owned))
        except FairleadError as error:
            self._troubled(error)
            return
        self._trouble_over()
        self._leaving.wait(strays, self._generation + 1)
        self._announce()
        self._decide()
        self.state.synced = True
        self._synced()
        settle_memory()
        seconds = round(self._clock() - started, 3)
        what = {"virtual_servers": len(ports.kernel.wanted), "changes": sent, "seconds": seconds}
        log.info("first sync complete", extra={"fields": what})

    def _follow(self, events: list[int]) -> None:
        """Make true what the last messages changed, and what is due for a second try."""
        ports = self._ports
        delta = ports.planning.take_delta()
        if delta.pools:
            self._use_pools()
        for key, server in delta.changed.items():
            ports.kernel.want(server)
            self._leaving.cancel(key)
        self._dirty.update(delta.changed)
        self._gone(delta.removed, announced=delta.announcements)
        self._dirty.update(ports.kernel.due())
        sent = self._apply_dirty()
        if sent:
            now = time.monotonic_ns()
            for received in events:
                ports.latency((now - received) / 1e9)
        if delta.announcements or (self._held_back and not self._dirty):
            self._announce()
        self._news |= delta.announcements or delta.pools or ports.planning.has_pool_news
        self._decide()

    def _decide(self) -> None:
        if self.state.leading:
            self._ports.decide()

    def _use_pools(self) -> None:
        planning = self._ports.planning
        self._owned = self._owned.with_pools(planning.inventory, planning.pools())

    def _gone(self, keys: Iterable[ServiceKey], *, announced: bool) -> None:
        """Virtual servers that nobody wants: now, or once nothing announces their address."""
        for key in keys:
            self._ports.kernel.drop(key)
            if announced and self._announces:
                self._leaving.wait((key,), self._generation + 1)
                self._dirty.discard(key)
            else:
                self._dirty.add(key)

    def _release(self) -> None:
        """Let virtual servers go whose address is withdrawn."""
        self._dirty.update(self._leaving.take(self._unwanted_vips))

    def _unwanted_vips(self) -> frozenset[IPAddress]:
        """VIPs that stand here though no virtual server on them is wanted."""
        wanted = {server.address for server in self._ports.kernel.wanted.values()}
        return (self.state.vips or StandingVips()).all() - wanted

    def _apply_dirty(self) -> int:
        if not self._dirty:
            return 0
        try:
            sent = self._ports.kernel.apply(self._dirty)
        except FairleadError as error:
            # Nothing was done; the keys stay dirty for the next turn.
            self._troubled(error)
            return 0
        self._dirty.clear()
        self._trouble_over()
        return sent

    def _announce(self) -> None:
        """Tell the announcer the whole target, without what IPVS can't serve yet."""
        self._generation += 1
        self._held_back = self._unserved() - self._announced
        target = self._ports.planning.target.target(self._owned).without(self._held_back)
        self._announced = target.by_bgp.union(*(instance.addresses for instance in target.vrrp))
        self._owned = self._owned.with_announced(self._announced, target.advertised)
        if self._announces:
            self._ports.announce(self._generation, replace(target, owned=self._owned))
        else:
            self._leaving.ended(AnnouncementDone(self._generation))
            self._release()

    def _unserved(self) -> frozenset[IPAddress]:
        """VIPs whose virtual servers wait until IPVS can be changed at all."""
        wanted = self._ports.kernel.wanted
        return frozenset(wanted[key].address for key in self._dirty if key in wanted)

    # -- resync -----------------------------------------------------------------------------

    def _go_on_sweeping(self, now: float) -> None:
        """Compare some more virtual servers with the kernel, until events are waiting again."""
        if not self._sweep:
            if now < self._next_resync:
                return
            if not self._begin_sweep():
                return
        until = time.monotonic() + _SWEEP_SECONDS
        try:
            while self._sweep and time.monotonic() < until:
                some = [self._sweep.popleft() for _ in range(min(8, len(self._sweep)))]
                self._ports.kernel.apply(key for key in some if key not in self._leaving)
        except FairleadError as error:
            self._troubled(error)
            self._sweep.clear()
            return
        if not self._sweep:
            self._synced()

    def _begin_sweep(self) -> bool:
        self._schedule_resync()
        self._ports.planning.decide_all()
        try:
            strays = list(self._ports.kernel.strays(self._owned))
        except FairleadError as error:
            self._troubled(error)
            return False
        self._sweep.extend(self._ports.kernel.wanted)
        self._sweep.extend(strays)
        if not self._sweep:
            self._synced()
        return bool(self._sweep)

    def _synced(self) -> None:
        self.state.resyncs += 1
        self._news = True
        self.state.last_sync = time.time()
        self._trouble_over()
        self._schedule_resync()

    def _schedule_resync(self) -> None:
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - edges should not work in step
        self._next_resync = self._clock() + self._resync * jitter

    # -- trouble ----------------------------------------------------------------------------

    def _troubled(self, error: FairleadError) -> None:
        if str(error) != self.state.trouble:
            log.error("edge can't be changed: %s", error)
            self._news = True
        self.state.trouble = str(error)
        self._next_full = self._clock() + _RETRY_SECONDS

    def _trouble_over(self) -> None:
        if self.state.trouble:
            log.info("edge can be changed again")
            self._news = True
        self.state.trouble = ""

    def _dump_state(self) -> None:
        state = self.state
        log.info(
            "state",
            extra={
                "fields": {
                    "synced": state.synced,
                    "leader": state.leading,
                    "missing": ",".join(sorted(state.missing)) or "none",
                    "virtual_servers": len(self._ports.kernel.wanted),
                    "leaving": len(self._leaving),
                    "dirty": len(self._dirty),
                    "sweeping": len(self._sweep),
                    "failing": len(self._ports.kernel.failures),
                    "object_errors": len(state.errors),
                    "trouble": state.trouble or "none",
                }
            },
        )


def _error_key(error: ObjectError) -> ObjectKey:
    return ObjectKey(error.namespace, error.name)
