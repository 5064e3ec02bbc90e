# SPDX-License-Identifier: Apache-2.0
"""Which daemons of an edge run something older than what stands on disk.

A handler that a run was to notify is lost when the run is interrupted, and the next one finds the
file as it should be. So whoever asks here compares what runs with what is there: when a process
began (proc(5): `stat`, field 22, in clock ticks since boot), from which release it was started, and
when BIRD read its configuration last.
"""

import os
import re
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from fairlead.edge.bird_control import CONTROL_SOCKET, ask
from fairlead.model.errors import ApplyError

CURRENT: Final = Path("/opt/fairlead/current")
AGENT, KEEPALIVED, BIRD = "fairlead-agent", "keepalived", "bird"
_FILES: Final = {
    AGENT: (
        Path("/etc/fairlead/edges.yaml"),
        Path("/etc/fairlead/agent.yaml"),
        Path("/etc/systemd/system/fairlead-agent.service"),
    ),
    KEEPALIVED: (
        Path("/etc/keepalived/keepalived.conf"),
        Path("/etc/systemd/system/keepalived.service.d/fairlead.conf"),
    ),
    BIRD: (Path("/etc/bird/bird.conf"),),
}
UNITS: Final = tuple(sorted(_FILES))
_SECONDS = 10
_MOMENT = re.compile(r"Last reconfiguration on (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?)")


class Running(NamedTuple):
    """A daemon that runs.

    Attributes:
        since: When it read its files, in seconds since the epoch.
        program: First word of its command line.
    """

    since: float
    program: str


def outdated(unit: str) -> str:
    """Why a daemon has to be restarted (BIRD: reloaded), "" where it need not, or does not run.

    Raises:
        ApplyError: systemd can't be asked.
    """
    found = running(unit)
    return "" if found is None else why_outdated(unit, found, time.time())


def why_outdated(unit: str, found: Running, now: float) -> str:
    """The same of a daemon that was looked at; `now` in seconds since the epoch."""
    if unit == AGENT:
        wanted = Path(os.path.realpath(CURRENT)) / "bin/python"
        if CURRENT.exists() and Path(found.program) != wanted:
            return f"it runs {found.program}, current is {wanted}"
    for path in _FILES[unit]:
        try:
            written = path.stat().st_mtime
        except FileNotFoundError:
            continue
        # A moment in the future says nothing: a clock was set back since.
        if found.since < written <= now:
            return f"{path} is newer than what it runs"
    return ""


def running(unit: str) -> Running | None:
    """A daemon as it runs; None where it does not."""
    pid = _main_pid(unit)
    try:
        since = _started(pid) if pid else None
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (OSError, UnicodeDecodeError):
        return None
    if since is None:
        return None
    return Running(max(since, _reconfigured() if unit == BIRD else 0.0), program)


def _main_pid(unit: str) -> int:
    argv = ["systemctl", "show", "--property=MainPID", "--value", f"{unit}.service"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplyError(f"systemctl: {error}; is this machine run by systemd?") from error
    text = done.stdout.strip()
    return int(text) if text.isdecimal() else 0


def _started(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _reconfigured() -> float:
    try:
        answer = ask("show status", CONTROL_SOCKET)
    except ApplyError:
        return 0.0
    for line in answer:
        if moment := _MOMENT.search(line.text):
            return datetime.fromisoformat(moment[1]).timestamp()  # BIRD tells local time
    return 0.0
