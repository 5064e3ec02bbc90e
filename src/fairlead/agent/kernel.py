# SPDX-License-Identifier: Apache-2.0
"""IPVS as the agent keeps it true: changes of single virtual servers, full passes, second tries.

The wanted virtual servers are held here by key; what the kernel holds is read from it each time.
A virtual server that the kernel refuses is tried again later and disturbs no other.
"""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fairlead.agent.edgelock import SharedEdgeLock
from fairlead.agent.ramps import Ramps
from fairlead.backoff import Backoff
from fairlead.diff.ipvs import desired_entry, is_ours, service_key
from fairlead.edge.ipvs import (
    AppliedChanges,
    IpvsPort,
    reconcile_ipvs,
    reconcile_virtual_server,
)
from fairlead.model.errors import FairleadError
from fairlead.model.ipvs import IpvsEntry, ServiceKey
from fairlead.model.names import IPAddress
from fairlead.model.plan import VirtualServer

log = logging.getLogger(__name__)

Owned = Callable[[IPAddress], bool]
Answer = TypeVar("Answer")


@dataclass
class KernelCounts:
    """Totals for the metrics."""

    outcomes: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)


@dataclass
class _Retry:
    """A virtual server that the kernel refused."""

    backoff: Backoff
    due: float
    error: str


class KernelTable:
    """The IPVS table of this edge; used by the main loop alone.

    Args:
        open_table: Opens the kernel's table; called again after it failed.
    """

    def __init__(
        self,
        open_table: Callable[[], IpvsPort],
        lock: SharedEdgeLock,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._lock, self._clock = open_table, lock, clock
        self._table: IpvsPort | None = None
        self._retries: dict[ServiceKey, _Retry] = {}
        self._ramps = Ramps()
        self.wanted: dict[ServiceKey, VirtualServer] = {}
        self.counts = KernelCounts()

    @property
    def failures(self) -> dict[str, str]:
        """Virtual servers that the kernel refuses, and why."""
        return {str(key): retry.error for key, retry in self._retries.items()}

    # -- wanted -----------------------------------------------------------------------------

    def want(self, server: VirtualServer) -> ServiceKey:
        """Replace one wanted virtual server; changes nothing yet."""
        key = service_key(server)
        self.wanted[key] = server
        return key

    def drop(self, key: ServiceKey) -> None:
        """Want a virtual server no more; changes nothing, nor does a second try that was due."""
        self._ramps.forget(key)
        self._retries.pop(key, None)
        self.wanted.pop(key, None)

    # -- making it true ---------------------------------------------------------------------

    def apply(self, keys: Iterable[ServiceKey]) -> int:
        """Make single virtual servers true; return how many changes were sent.

        Raises:
            FairleadError: Nothing could be done at all (no IPVS, lock held by another).
        """
        sent = 0
        with self._lock():
            for key in keys:
                sent += self._one(self._opened(), key)
        return sent

    def apply_all(self, owned: Owned, *, prune: bool) -> int:
        """One full pass over the table; return how many changes were sent.

        Args:
            owned: Whether an address is a VIP of ours.
            prune: Whether virtual servers that are not wanted are removed; False on the way up,
                while their addresses are still announced.

        Raises:
            FairleadError: As for `apply`.
        """
        failed: dict[ServiceKey, str] = {}
        with self._lock():
            done = self._guarded(
                lambda: reconcile_ipvs(
                    self._opened(),
                    self._desired_all(self._opened(), failed),
                    owned if prune else None,
                )
            )
        self._count(done)
        failed |= {result.change.key: str(result) for result in done.failed}
        for key, text in failed.items():
            self._failed(key, text)
        for key in list(self._retries):
            if key not in failed:
                del self._retries[key]
        return len(done.changes)

    def due(self) -> list[ServiceKey]:
        """Virtual servers of which a second try or a weight of a slow start is due."""
        if not self._retries and not self._ramps.due_at:
            return []
        now = self._clock()
        tries = [key for key, retry in self._retries.items() if retry.due <= now]
        return [*tries, *self._ramps.due(now)]

    def next_due(self) -> float | None:
        """When the next second try or weight is due, on the clock; None without one."""
        if not self._retries and not self._ramps.due_at:
            return None
        times = [retry.due for retry in self._retries.values()]
        if (weight := self._ramps.next_due()) is not None:
            times.append(weight)
        return min(times, default=None)

    def strays(self, owned: Owned) -> Iterator[ServiceKey]:
        """Virtual servers of ours that nobody wants.

        Raises:
            FairleadError: The table can't be read.
        """
        for key in self._guarded(lambda: self._opened().service_keys()):
            if key not in self.wanted and is_ours(key, owned):
                yield key

    def _one(self, table: IpvsPort, key: ServiceKey) -> int:
        server = self.wanted.get(key)
        try:
            done = self._guarded(lambda: self._reconcile(table, key, server))
        except FairleadError as error:
            self._failed(key, str(error))
            return 0
        except Exception as error:  # noqa: BLE001 - a defect of ours: it fails this one alone
            self._failed(key, _defect(error))
            return 0
        self._count(done)
        if done.failed:
            self._failed(key, str(done.failed[0]))
        else:
            self._retries.pop(key, None)
        return len(done.changes)

    def _reconcile(
        self, table: IpvsPort, key: ServiceKey, server: VirtualServer | None
    ) -> AppliedChanges:
        desired = self._desired(table, server) if server is not None else None
        return reconcile_virtual_server(table, key, desired)

    def _desired(self, table: IpvsPort, server: VirtualServer) -> IpvsEntry:
        """What the kernel should hold of a virtual server now."""
        desired = desired_entry(server)
        if server.slow_start_seconds is None:
            if desired.service.key in self._ramps.begun:
                self._ramps.forget(desired.service.key)
            return desired
        actual = table.dump_service(desired.service.key)
        return self._ramps.ease(desired, actual, server.slow_start_seconds, self._clock())

    def _desired_all(
        self, table: IpvsPort, failed: dict[ServiceKey, str]
    ) -> dict[ServiceKey, IpvsEntry]:
        """All that is wanted, but what fails; that is noted in `failed`."""
        desired = {}
        for key, server in self.wanted.items():
            try:
                desired[key] = self._desired(table, server)
            except (FairleadError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - as in `_one`
                failed[key] = _defect(error)
        return desired

    def _opened(self) -> IpvsPort:
        if self._table is None:
            try:
                self._table = self._open()
            except OSError as error:
                raise FairleadError(f"IPVS: {error}") from error
        return self._table

    def _guarded(self, action: Callable[[], Answer]) -> Answer:
        """Ask the kernel; a socket in an unknown state is not used again."""
        try:
            return action()
        except OSError as error:
            self._table = None
            raise FairleadError(f"IPVS: {error}") from error

    def _count(self, done: AppliedChanges) -> None:
        outcome = "failed" if done.failed else "changed" if done.changes else "unchanged"
        self.counts.outcomes[outcome] += 1
        for change in done.changes:
            self.counts.changes[type(change).__name__] += 1

    def _failed(self, key: ServiceKey, text: str) -> None:
        self.counts.outcomes["error"] += 1
        retry = self._retries.get(key)
        if retry is None or retry.error != text:
            log.error("IPVS refused", extra={"fields": {"virtual_server": key, "error": text}})
        backoff = retry.backoff if retry else Backoff(first=0.5, limit=30.0)
        self._retries[key] = _Retry(backoff, self._clock() + backoff.next(), text)


def _defect(error: Exception) -> str:
    """A defect of ours, called by its type and place: an operator can only report it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
