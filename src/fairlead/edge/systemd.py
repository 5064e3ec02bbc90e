# SPDX-License-Identifier: Apache-2.0
"""sd_notify(3): readiness, watchdog and status text towards systemd, in thirty lines of our own.

Protocol: one datagram of `KEY=value` lines to the socket named by NOTIFY_SOCKET; a leading "@"
means the abstract namespace. Without the variable (a terminal, a test) every call does nothing.
"""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends state to the service manager."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        env = os.environ if environment is None else environment
        path = env.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._status = ""
        self.watchdog_interval = self._interval(env)

    @staticmethod
    def _interval(env: Mapping[str, str]) -> float | None:
        """Seconds between keep-alives (half of what systemd waits), None without a watchdog."""
        if env.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        text = env.get("WATCHDOG_USEC", "")
        return int(text) / 2e6 if text.isdecimal() and int(text) > 0 else None

    def send(self, state: str) -> None:
        """Send lines such as `READY=1`; failures are ignored, as sd_notify(3) advises."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(state.encode(), self._address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def ready(self) -> None:
        """Start-up is complete."""
        self.send("READY=1")

    def stopping(self) -> None:
        """Shut-down has begun."""
        self.send("STOPPING=1")

    def keep_alive(self) -> None:
        """Feed the watchdog."""
        self.send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changed."""
        if text != self._status:
            self._status = text
            self.send(f"STATUS={text}")
