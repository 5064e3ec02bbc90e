# SPDX-License-Identifier: Apache-2.0
"""The thread that makes the network send VIPs here: source NAT, addresses, keepalived's file.

It is told the whole wanted state and makes it true, in the order of the way up: what traffic needs
first (source NAT), then addresses (BGP exports what stands on the link), then VRRP. What comes
while it works is coalesced into one next pass. It also keeps watch: over keepalived, whose kill
leaves VIPs behind that the other edge already holds, and over the addresses that stand on the LAN
interface, which tell this edge's role.
"""

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fairlead.adapters.address_events import AddressEvents
from fairlead.adapters.keepalived import apply_vrrp
from fairlead.adapters.kube_watch import Backoff
from fairlead.adapters.links import Links, reconcile_addresses
from fairlead.adapters.nft import reconcile_masquerade
from fairlead.adapters.process import DaemonWatch
from fairlead.agent.edgelock import SharedEdgeLock
from fairlead.model.errors import FairleadError
from fairlead.model.names import IPAddress
from fairlead.model.plan import VrrpInstance
from fairlead.render import MasqueradeTarget

log = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
Owned = Callable[[IPAddress], bool]


@dataclass(frozen=True)
class Wanted:
    """What should be announced; `generation` comes back when it is true (or was tried).

    Attributes:
        bgp: VIPs on the dummy link.
        vrrp_used: Whether keepalived's file is ours to write at all.
        owned: Whether an address is a VIP of ours.
        interface: LAN interface of this edge.
        advertised: Stable addresses of the VRRP instances: holding one means being master.
    """

    generation: int = 0
    vrrp: tuple[VrrpInstance, ...] = ()
    vrrp_used: bool = False
    bgp: frozenset[IPAddress] = frozenset()
    masquerade: frozenset[MasqueradeTarget] = frozenset()
    owned: Owned = field(default=lambda _address: False, compare=False)
    interface: str = ""
    advertised: tuple[IPAddress, ...] = ()

    def same(self, other: "Wanted") -> bool:
        """Whether both ask for the same, whatever their generations."""
        mine = (self.vrrp, self.vrrp_used, self.bgp, self.masquerade)
        return mine == (other.vrrp, other.vrrp_used, other.bgp, other.masquerade)


@dataclass(frozen=True)
class Held:
    """VIPs that stand here: on the LAN interface (with the stable one: master), on the link."""

    lan: frozenset[IPAddress] = frozenset()
    bgp: frozenset[IPAddress] = frozenset()


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


class Steps(Protocol):
    """The effects, so that a test can stand in for daemons and kernel."""

    def masquerade(self, targets: Iterable[MasqueradeTarget]) -> bool:
        """Make the source NAT true; whether anything changed."""

    def addresses(self, wanted: frozenset[IPAddress], owned: Owned) -> bool:
        """Make the dummy link hold exactly these VIPs; whether anything changed."""

    def vrrp(self, instances: tuple[VrrpInstance, ...]) -> bool:
        """Make keepalived hold these; whether anything changed."""

    def held(self, interface: str) -> Held:
        """Addresses on the LAN interface and on the dummy link."""

    def clean(self, interface: str, addresses: Iterable[IPAddress]) -> None:
        """Take addresses off the LAN interface."""

    def close(self) -> None:
        """Let go of sockets."""


class EdgeSteps:
    """The real effects."""

    def __init__(self, links: Links, *, link: str, vrrp_conf: Path, keepalived_pid: Path,
                 loaded_mark: Path) -> None:  # fmt: skip
        self._links, self._link = links, link
        self._conf, self._pid, self._mark = vrrp_conf, keepalived_pid, loaded_mark

    def masquerade(self, targets: Iterable[MasqueradeTarget]) -> bool:
        """Make the source NAT true; whether anything changed."""
        return reconcile_masquerade(targets).changed

    def addresses(self, wanted: frozenset[IPAddress], owned: Owned) -> bool:
        """Make the dummy link hold exactly these VIPs; whether anything changed."""
        if not wanted and not self._links.exists(self._link):
            return False  # an edge without BGP needs no such link
        return reconcile_addresses(self._links, wanted, owned, name=self._link).changed

    def vrrp(self, instances: tuple[VrrpInstance, ...]) -> bool:
        """Make keepalived hold these; whether anything changed."""
        return apply_vrrp(
            instances, path=self._conf, pid_file=self._pid, loaded_mark=self._mark
        ).changed

    def held(self, interface: str) -> Held:
        """Addresses on the LAN interface and on the dummy link."""
        lan = self._links.addresses(interface) if interface else ()
        return Held(frozenset(lan), frozenset(self._links.addresses(self._link)))

    def clean(self, interface: str, addresses: Iterable[IPAddress]) -> None:
        """Take addresses off the LAN interface."""
        self._links.remove(set(addresses), interface)

    def close(self) -> None:
        """Let go of sockets."""
        self._links.close()


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
        self._due = time.monotonic() + self._resync * random.uniform(0.9, 1.1)  # noqa: S311
        if self.state.applied != wanted.generation:
            self.state.applied = wanted.generation
            self._done(wanted.generation)

    def _apply(self, steps: Steps, wanted: Wanted) -> None:
        self.state.passes += 1
        changes = 0
        trouble: list[FairleadError | OSError] = []
        order: tuple[Callable[[], bool], ...] = (
            lambda: steps.masquerade(wanted.masquerade),
            lambda: steps.addresses(wanted.bgp, wanted.owned),
            lambda: wanted.vrrp_used and steps.vrrp(wanted.vrrp),
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
                    }
                },
            )
        if trouble:
            raise trouble[0]

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
        held = steps.held(wanted.interface if wanted.vrrp_used else "")
        stale = {a for a in held.lan if wanted.owned(a) or a in wanted.advertised}
        held = Held(frozenset(stale), frozenset(filter(wanted.owned, held.bgp)))
        # A killed master keeps its VIPs while the other edge announces them: two holders.
        if dead and stale and not self._keepalived.alive():
            with self._lock():
                steps.clean(wanted.interface, sorted(stale, key=int))
            self.state.cleanups += 1
            log.warning(
                "VIPs removed that a dead keepalived left behind",
                extra={"fields": {"addresses": len(stale)}},
            )
            held = Held(frozenset(), held.bgp)
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
