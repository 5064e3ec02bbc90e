# SPDX-License-Identifier: Apache-2.0
"""BIRD's control socket: one question, one answer, without starting a program.

The answer's lines are `CODE-text`, a line that begins with a blank belongs to the code before it,
and `CODE text` is the last one (BIRD's doc/reply_codes).
"""

import socket
import time
from pathlib import Path
from typing import Final, NamedTuple

from fairlead.model.errors import ApplyError

CONTROL_SOCKET: Final = Path("/run/bird/bird.ctl")
_SECONDS = 5.0
_MOST = 16 * 1024 * 1024  # far more than any table of sessions


class Line(NamedTuple):
    """One line of an answer and its code, e.g. 1002 for a protocol."""

    code: int
    text: str


def ask(command: str, control: Path = CONTROL_SOCKET, *, seconds: float = _SECONDS) -> list[Line]:
    """Return BIRD's answer to one command.

    Raises:
        ApplyError: Nobody answers on the socket, or not in time.
    """
    deadline = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(seconds)
            stream.connect(str(control))
            _read(stream, deadline)
            stream.sendall(f"{command}\n".encode())
            return _read(stream, deadline)
    except OSError as error:
        why = error.strerror or f"no answer in {seconds:g} s"
        raise ApplyError(
            f"BIRD can't be asked ({control}): {why}; does bird.service run, and is this user in "
            "its group?"
        ) from error


def _read(stream: socket.socket, deadline: float) -> list[Line]:
    """Lines up to the last one of an answer."""
    data = b""
    while not _complete(data):
        stream.settimeout(max(0.001, deadline - time.monotonic()))
        piece = stream.recv(65536)
        if not piece or len(data) > _MOST:
            raise OSError(0, "the answer broke off")
        data += piece
    found: list[Line] = []
    for row in data.decode("utf-8", "replace").splitlines():
        if row[:4].isdecimal() and row[4:5] in ("-", " "):
            found.append(Line(int(row[:4]), row[5:]))
        elif found and row.startswith(" "):
            found.append(Line(found[-1].code, row[1:]))
    return found


def _complete(data: bytes) -> bool:
    last = data[data.rfind(b"\n", 0, -1) + 1 :]
    return data.endswith(b"\n") and last[:4].isdigit() and last[4:5] == b" "
