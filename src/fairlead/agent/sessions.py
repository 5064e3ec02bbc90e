# SPDX-License-Identifier: Apache-2.0
"""The thread that asks BIRD for its sessions, for metrics, status and log.

Apart from the announcer, so that a BIRD that hangs delays no announcement.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from fairlead.agent.worker import Worker
from fairlead.edge.bird_control import CONTROL_SOCKET
from fairlead.edge.bird_sessions import Session, sessions
from fairlead.edge.status_file import SessionReport
from fairlead.model.bgp import BgpPeer
from fairlead.model.errors import ApplyError
from fairlead.render import session_name

log = logging.getLogger(__name__)

_SECONDS = 2.0


class SessionWatch:
    """What BIRD said last; `reports` and `bird` may be read from any thread.

    Attributes:
        reports: Sessions of this edge by name of the peer; one that BIRD does not have (yet) is
            down.
        bird: Whether BIRD answers; None before the first answer.
    """

    def __init__(
        self, peers: Callable[[], Iterable[BgpPeer]], control: Path = CONTROL_SOCKET
    ) -> None:
        """Watch the sessions of these peers; nothing runs before `start`."""
        self._peers, self._control = peers, control
        self._worker = Worker("sessions", self._again)
        self.reports: tuple[SessionReport, ...] = ()
        self.bird: bool | None = None

    def start(self) -> None:
        """Begin to look."""
        self._worker.start()
        self._worker.look()

    def stop(self) -> None:
        """End soon."""
        self._worker.stop()

    def look(self) -> None:
        """Ask once."""
        try:
            found, bird = sessions(self._control), self._control.is_socket()
        except ApplyError as error:
            if self.bird is not False:
                log.warning("%s", error)
            found, bird = (), False
        if bird is not self.bird and self.bird is not None:
            log.log(logging.INFO if bird else logging.WARNING, "BIRD %s",
                    "answers" if bird else "does not answer")  # fmt: skip
        reports = session_reports(self._peers(), found)
        self._log_changes(reports)
        self.reports, self.bird = reports, bird

    def _again(self) -> float:
        self.look()
        return _SECONDS

    def _log_changes(self, reports: tuple[SessionReport, ...]) -> None:
        before = {one.peer: one.up for one in self.reports}
        for one in reports:
            if before.get(one.peer, False) is not one.up:
                log.log(
                    logging.INFO if one.up else logging.WARNING,
                    "BGP session is %s",
                    "up" if one.up else "down",
                    extra={"fields": {"peer": one.peer, "address": one.address,
                                      "state": one.state, "error": one.error or "none"}},
                )  # fmt: skip


def session_reports(
    peers: Iterable[BgpPeer], found: Iterable[Session]
) -> tuple[SessionReport, ...]:
    """One report for each peer; those of an interface are known by the first neighbour there."""
    by_name = {one.name: one for one in found}
    return tuple(
        _report(peer, _session(session_name(peer.name), by_name))
        for peer in sorted(peers, key=lambda peer: peer.name)
    )


def _session(name: str, by_name: dict[str, Session]) -> Session:
    # A session of a range is named by BIRD: ours, a dot and a number; ours itself only waits.
    born = [one for key, one in by_name.items() if key.startswith(f"{name}.") and one.up]
    waiting = by_name.get(name, Session(name=name, state="missing"))
    return born[0] if born and not waiting.up else waiting


def _report(peer: BgpPeer, session: Session) -> SessionReport:
    where = peer.interface if peer.address is None else _endpoint(str(peer.address), peer.port)
    return SessionReport(
        peer=peer.name,
        address=where,
        state=session.state,
        up=session.up,
        exported=session.exported,
        updates=session.updates,
        bfd=(session.bfd or "missing") if peer.bfd is not None else None,
        error="" if session.up else session.last_error,
    )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
