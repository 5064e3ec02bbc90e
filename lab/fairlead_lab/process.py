# SPDX-License-Identifier: Apache-2.0
"""Processes of the lab that outlive the command that started them.

Each has a record `pids/<name>.json` with its pid and its start time: a pid alone may belong to a
stranger by now, both together cannot. A command that dies between start and record leaves no trace
there, so every process also carries a mark in its environment, by which `sweep` finds it.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fairlead_lab.config import LabConfig

MARK = "FAIRLEAD_LAB_OWNER"
_POLL = 0.02


class ProcessError(Exception):
    """A process could not be started or ended; the message says which and why."""


@dataclass(frozen=True)
class Pid:
    """A process that cannot be mistaken for another one."""

    name: str
    pid: int
    start: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""
    argv: tuple[str, ...] = ()

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        found = _stat(self.pid)
        return found is not None and found == (self.start, True)

    def age(self) -> float:
        """Seconds since the process started."""
        ticks = os.sysconf("SC_CLK_TCK")
        # A start is rounded to a tick; it must not lie in the future.
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - self.start / ticks)


def spawn(
    cfg: LabConfig,
    name: str,
    argv: Sequence[str],
    *,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Pid:
    """Start a detached process in a session of its own and record it.

    Returns the process of that name if one runs already. `env` is added to the environment; output
    goes to `log` (default: logs/<name>.log), appended.

    Raises:
        ProcessError: the program cannot be executed.
    """
    if (known := load(cfg, name)) and known.alive():
        return known
    target = log or cfg.log_dir / f"{name}.log"
    target.parent.mkdir(parents=True, exist_ok=True)
    _pid_dir(cfg).mkdir(parents=True, exist_ok=True)
    full = (*(("ip", "netns", "exec", netns) if netns else ()), *argv)
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        number = os.posix_spawnp(
            full[0],
            full,
            {**os.environ, **(env or {}), MARK: mark(cfg)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(target), output, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
        )
    except OSError as error:
        raise ProcessError(f"{name}: cannot start {full[0]}: {error}") from error
    found = _stat(number)
    record = Pid(name, number, found[0] if found else 0, full)
    file = _pid_dir(cfg) / f"{name}.json"
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record)))
    temporary.rename(file)
    return record


def stop(cfg: LabConfig, name: str, grace: float = 5.0) -> None:
    """End a recorded process and its process group; nothing happens where none runs.

    Raises:
        ProcessError: it outlives SIGKILL by five seconds.
    """
    record = load(cfg, name)
    if record and record.alive():
        _signal_group(record, signal.SIGCONT)
        _signal_group(record, signal.SIGTERM)
        if not _gone(record, grace):
            _signal_group(record, signal.SIGKILL)
            if not _gone(record, 5.0):
                raise ProcessError(f"{name}: process {record.pid} does not end, even by SIGKILL")
    (_pid_dir(cfg) / f"{name}.json").unlink(missing_ok=True)


def send(cfg: LabConfig, name: str, number: signal.Signals) -> None:
    """Send a signal to a recorded process and its process group.

    Raises:
        ProcessError: no such process runs.
    """
    record = load(cfg, name)
    if record is None or not record.alive():
        raise ProcessError(f"{name}: not running")
    _signal_group(record, number)


def alive(cfg: LabConfig, name: str) -> bool:
    """Whether the recorded process of that name runs."""
    record = load(cfg, name)
    return record is not None and record.alive()


def load(cfg: LabConfig, name: str) -> Pid | None:
    """The record of that name; one that cannot be read counts as none."""
    return _load(_pid_dir(cfg) / f"{name}.json")


def list_all(cfg: LabConfig) -> list[Pid]:
    """Every record, alive or not, by name."""
    found = (_load(file) for file in sorted(_pid_dir(cfg).glob("*.json")))
    return [record for record in found if record is not None]


def mark(cfg: LabConfig) -> str:
    """Value of the environment mark of this lab's processes."""
    return cfg.name


def sweep(cfg: LabConfig, *, unrecorded_for: float | None = None) -> list[int]:
    """Kill processes that carry this lab's mark; returns their pids.

    All of them, or with `unrecorded_for` those older than so many seconds that neither have a
    living record nor come from one that has: what a killed command had just started.
    """
    found = [pid for pid in marked(f"{MARK}={mark(cfg)}".encode()) if pid != os.getpid()]
    if unrecorded_for is not None:
        known = {record.pid for record in list_all(cfg) if record.alive()}
        found = [pid for pid in found if _is_stray(pid, known, unrecorded_for)]
    kill_all(found)
    return found


def _is_stray(pid: int, known: set[int], age: float) -> bool:
    """Whether neither the process nor one it comes from is known.

    Sessions would not tell: User-Mode Linux makes one of its own.
    """
    found = _stat(pid)
    if found is None or Pid("", pid, found[0]).age() < age:
        return False
    while pid > 1:
        if pid in known:
            return False
        pid = _parent(pid)
    return True


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])


def kill_groups(records: Sequence[Pid]) -> None:
    """SIGKILL recorded processes with their groups, all at once, and wait until they are gone.

    Raises:
        ProcessError: one is left after ten seconds.
    """
    living = [record for record in records if record.alive()]
    for record in living:
        _signal_group(record, signal.SIGKILL)
    for record in living:
        if not _gone(record, 10.0):
            raise ProcessError(f"{record.name}: process {record.pid} does not end, even by SIGKILL")


def marked(wanted: bytes) -> list[int]:
    """Pids whose environment has exactly this entry."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
    return pids


def kill_all(pids: Sequence[int], timeout: float = 5.0) -> None:
    """SIGKILL processes and wait until they are gone.

    Raises:
        ProcessError: one is left after `timeout` seconds.
    """
    handles = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles.append((pid, os.pidfd_open(pid)))
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout
    try:
        for pid, _ in handles:
            while (found := _stat(pid)) is not None and found[1]:
                if time.monotonic() > deadline:
                    raise ProcessError(f"process {pid} does not end, even by SIGKILL")
                time.sleep(_POLL)
    finally:
        for _, handle in handles:
            os.close(handle)


def _pid_dir(cfg: LabConfig) -> Path:
    return cfg.state_dir / "pids"


def _load(file: Path) -> Pid | None:
    try:
        raw = json.loads(file.read_text())
        return Pid(str(raw["name"]), int(raw["pid"]), int(raw["start"]), tuple(raw["argv"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def parse_stat(text: str) -> tuple[int, bool]:
    """Start time, and whether it runs (no zombie), from the text of /proc/PID/stat.

    The second field is the command's name in brackets and may hold anything, brackets too.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[19]), fields[0] not in "ZX"


def _stat(pid: int) -> tuple[int, bool] | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError, IndexError):
        return None


def _signal_group(record: Pid, number: signal.Signals) -> None:
    """To the group when the process leads one (all that `spawn` started do)."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(record.pid) == record.pid:
            os.killpg(record.pid, number)
        else:
            os.kill(record.pid, number)


def _gone(record: Pid, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while record.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
