# SPDX-License-Identifier: Apache-2.0
"""status.json for `fairlead status`: the published view as a document, written in a thread."""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from fairlead import __version__
from fairlead.agent.view import AgentView
from fairlead.agent.worker import Worker
from fairlead.cluster.watch import WatchState
from fairlead.edge.status_file import (
    StatusDocument,
    VrrpReport,
    WatchReport,
    write_status_file,
)
from fairlead.model.addresses import address_order
from fairlead.model.names import IPAddress

log = logging.getLogger(__name__)

_MAX_SECONDS = 10.0
_MOST_ERRORS = 200  # of errors listed one by one


class StatusWriter:
    """Writes status.json when something changed, and at the least every ten seconds.

    Args:
        view: The present view; read in this writer's thread.
    """

    def __init__(
        self,
        path: Path,
        view: Callable[[], AgentView],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._view, self._clock = path, view, clock
        self._started, self._last, self._shown = time.time(), float("-inf"), b""
        self._complaint = ""
        self._worker = Worker("status-file", self.write, gather=0.0)

    def start(self) -> None:
        """Begin to write."""
        self._worker.start()

    def stop(self) -> None:
        """End after the write under way."""
        self._worker.stop()

    def look(self) -> None:
        """Write soon, if something changed; called about once a second."""
        self._worker.look()

    def write(self) -> bool:
        """Write it if something changed; a full disk must not stop the traffic."""
        now = self._clock()
        document = status_document(self._view(), self._started, now)
        # A number of seconds that grows is no news every second.
        still = {"written": 0.0, "out_of_step": bool(document.out_of_step)}
        shown = msgspec.json.encode(msgspec.to_builtins(document) | still)
        if shown == self._shown and now - self._last < _MAX_SECONDS:
            return True
        try:
            write_status_file(self._path, document)
        except OSError as error:
            if str(error) != self._complaint:
                log.warning("%s: %s", self._path, error)
            self._complaint = str(error)
        else:
            self._last, self._shown, self._complaint = now, shown, ""
        return True


def status_document(view: AgentView, started: float, now: float) -> StatusDocument:
    """The view as a document; its times are seconds since the epoch, `now` is monotonic."""
    around = view.around
    announce = around.announce
    return StatusDocument(
        version=__version__,
        release=Path(sys.prefix).name,
        edge=view.edge,
        pid=os.getpid(),
        started=started,
        written=time.time(),
        synced=view.synced,
        leader=view.leading,
        lease_holder=around.lease_holder,
        resyncs=view.resyncs,
        last_sync=view.last_sync,
        trouble=view.trouble,
        announce_error=announce.error,
        parts=dict(announce.failures),
        keepalived=announce.keepalived,
        vips_on_lan=_texts(view.standing.lan),
        vips_on_link=_texts(view.standing.link),
        virtual_servers=len(view.virtual_servers),
        real_servers=sum(len(server.real_servers) for server in view.virtual_servers),
        write_errors=around.writes.get("error", 0),
        write_error=around.write_error,
        failures=dict(view.failures),
        pools=view.usage,
        errors=view.all_errors[:_MOST_ERRORS],
        watches={watch.kind: _watch(watch) for watch in around.watches},
        missing_interfaces=tuple(sorted(view.standing.missing)),
        vrrp=tuple(
            VrrpReport(
                instance=one.instance,
                interface=one.interface,
                advertised_address=one.advertised_address,
            )
            for one in view.vrrp
        ),
        bird=around.bird,
        sessions=around.sessions,
        out_of_step=view.out_of_step(now),
        kubeconfig_error=around.kubeconfig_error,
    )


def _watch(state: WatchState) -> WatchReport:
    return WatchReport(
        connected=state.following,
        listed=state.listed,
        served=state.served,
        refused=state.refused,
        events=state.events,
        relists=state.relists,
        errors=state.errors,
        last_error=state.last_error,
    )


def _texts(addresses: frozenset[IPAddress]) -> tuple[str, ...]:
    ordered = sorted(addresses, key=address_order)
    return tuple(str(address) for address in ordered)
