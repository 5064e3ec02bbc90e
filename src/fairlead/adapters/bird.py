# SPDX-License-Identifier: Apache-2.0
"""BIRD's configuration on this edge: write, validate, `configure`.

Only peers and pools change this file. VIPs come and go on the dummy link, which BIRD watches.
"""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from fairlead.adapters.configfile import FileChange, write_config
from fairlead.model.errors import ApplyError
from fairlead.render.bird import SESSION_PREFIX

BIRD_CONF = Path("/etc/bird/bird.conf")
CONTROL_SOCKET = Path("/run/bird/bird.ctl")
_VALIDATOR = ("bird", "-p", "-c")
_BIRDC_SECONDS = 10


class Session(NamedTuple):
    """One BGP session, by its peer's name; `state` is BIRD's own word, e.g. Established."""

    name: str
    state: str


def apply_bird(
    text: str,
    *,
    path: Path = BIRD_CONF,
    control: Path = CONTROL_SOCKET,
    owner: tuple[int, int] | None = None,
    check: bool = False,
) -> FileChange:
    """Make BIRD run a configuration.

    Raises:
        ValidationError: BIRD refused the text; the live file is as it was.
        ApplyError: The file could not be written or BIRD did not take it.
    """
    change = write_config(path, text, validate=_VALIDATOR, owner=owner, check=check)
    if change.changed and not check and control.is_socket():
        configure(control)
    return change


def configure(control: Path = CONTROL_SOCKET) -> None:
    """Let a running BIRD read its file; unchanged sessions stay up.

    Raises:
        ApplyError: BIRD answered anything but success.
    """
    answer = _birdc(control, "configure")
    if "Reconfigur" not in answer:
        raise ApplyError(f"BIRD did not take its new configuration: {answer.strip()}")


def sessions(control: Path = CONTROL_SOCKET) -> tuple[Session, ...]:
    """Return the BGP sessions of a running BIRD; empty where none runs."""
    if not control.is_socket():
        return ()
    rows = (line.split() for line in _birdc(control, "show protocols").splitlines())
    # Columns: name, protocol, table, state, since, info; info is missing while a session is down.
    return tuple(
        Session(row[0].removeprefix(SESSION_PREFIX), row[5] if len(row) > 5 else row[3])
        for row in rows
        if len(row) > 3 and row[1] == "BGP"
    )


def _birdc(control: Path, command: str) -> str:
    if shutil.which("birdc") is None:
        raise ApplyError("birdc is not installed; install the package bird2")
    try:
        done = subprocess.run(
            ["birdc", "-s", str(control), *command.split()],
            capture_output=True,
            text=True,
            timeout=_BIRDC_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ApplyError(f"birdc {command}: no answer in {_BIRDC_SECONDS} s") from error
    if done.returncode != 0:
        raise ApplyError(f"birdc {command}: {(done.stderr + done.stdout).strip()}")
    return done.stdout
