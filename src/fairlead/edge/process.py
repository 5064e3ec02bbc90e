# SPDX-License-Identifier: Apache-2.0
"""Knowing at once that a daemon died: pidfd_open(2) instead of asking again and again."""

import os
from contextlib import suppress
from pathlib import Path


class DaemonWatch:
    """A daemon known by its pid file; `fileno` becomes readable when it exits."""

    def __init__(self, pid_file: Path, name: str) -> None:
        """Watch the process of this name (comm) whose pid stands in the file."""
        self._pid_file, self._name = pid_file, name
        self._fd: int | None = None
        self._pid = 0

    def fileno(self) -> int | None:
        """A pidfd of the process last seen alive, None without one."""
        return self._fd

    def alive(self) -> bool:
        """Whether the daemon runs now; notices a new one and watches that."""
        pid = self._read()
        if pid != self._pid:
            self.close()
        if pid and self._fd is None:
            with suppress(OSError):  # it died between reading and opening
                self._fd = os.pidfd_open(pid)
                self._pid = pid
        return self._fd is not None

    def close(self) -> None:
        """Stop watching."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._pid = None, 0

    def _read(self) -> int:
        """Pid of the living daemon, 0 where there is none; a stale file names nobody."""
        try:
            pid = int(self._pid_file.read_text())
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (OSError, ValueError):
            return 0
        name, _, rest = stat.partition("(")[2].rpartition(")")
        # Z and X: it is dead and only its parent has not looked yet.
        return pid if name == self._name and rest.split()[0] not in "ZX" else 0
