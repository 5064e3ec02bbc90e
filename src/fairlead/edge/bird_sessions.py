# SPDX-License-Identifier: Apache-2.0
"""The BGP and BFD sessions of a running BIRD, as it tells them itself."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from fairlead.edge.bird_control import CONTROL_SOCKET, Line, ask

ESTABLISHED = "Established"
_PROTOCOL, _DETAIL, _BFD = 1002, 1006, 1020
_EXPORTED = re.compile(r"Routes:.* (\d+) exported")
_UPDATES = re.compile(r"Export updates:(?:\s+\S+){4}\s+(\d+)")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One BGP session.

    Attributes:
        name: Of BIRD's protocol.
        state: BIRD's own word, e.g. Established, or the protocol's state where BGP has none.
        neighbor: Address of the router, "" where BIRD waits for one.
        exported: Prefixes that the router was told and not taken back.
        updates: Announcements sent since the session came up.
        last_error: Why it is not up, in BIRD's words.
        bfd: State of the BFD session to the same address, None without one.
    """

    name: str
    state: str
    neighbor: str = ""
    exported: int = 0
    updates: int = 0
    last_error: str = ""
    bfd: str | None = None

    @property
    def up(self) -> bool:
        """Whether routes are exchanged."""
        return self.state == ESTABLISHED


def sessions(control: Path = CONTROL_SOCKET) -> tuple[Session, ...]:
    """Return the BGP sessions of a running BIRD; empty where none runs.

    Raises:
        ApplyError: BIRD does not answer.
    """
    if not control.is_socket():
        return ()
    found = parse_protocols(ask("show protocols all", control))
    bfd = parse_bfd(ask("show bfd sessions", control))
    return tuple(
        msgspec.structs.replace(one, bfd=bfd.get(one.neighbor)) if one.neighbor else one
        for one in found
    )


def parse_protocols(lines: Iterable[Line]) -> tuple[Session, ...]:
    """BGP sessions from `show protocols all`, in BIRD's order."""
    found: list[Session] = []
    ours = False
    for line in lines:
        if line.code == _PROTOCOL:
            # Columns: name, protocol, table, state, since, info; info is missing while it is down.
            row = line.text.split()
            ours = len(row) > 3 and row[1] == "BGP"
            if ours:
                found.append(Session(name=row[0], state=row[5] if len(row) > 5 else row[3]))
        elif line.code == _DETAIL and ours:
            found[-1] = _detail(found[-1], line.text)
    return tuple(found)


def _detail(session: Session, text: str) -> Session:
    name, _, value = text.strip().partition(":")
    value = value.strip()
    if name == "Neighbor address":
        # A link-local one is followed by %interface.
        return msgspec.structs.replace(session, neighbor=value.partition("%")[0])
    if name == "Last error":
        return msgspec.structs.replace(session, last_error=value)
    if match := _EXPORTED.search(text):
        return msgspec.structs.replace(session, exported=session.exported + int(match[1]))
    if match := _UPDATES.search(text):
        return msgspec.structs.replace(session, updates=session.updates + int(match[1]))
    return session


def parse_bfd(lines: Iterable[Line]) -> dict[str, str]:
    """State by address from `show bfd sessions`; empty where BFD is not configured."""
    rows = (line.text.split() for line in lines if line.code == _BFD)
    # Columns: address, interface, state, since, interval, timeout.
    return {row[0]: row[2] for row in rows if len(row) >= 6 and row[0] != "IP"}
