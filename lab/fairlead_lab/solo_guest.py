# SPDX-License-Identifier: Apache-2.0
"""The guest's half of a solo edge: obeys JSON lines over TCP, one driver at a time.

python solo_guest.py ADDRESS/LENGTH PORT [MODULE], where MODULE may bring a `Guest` with more verbs.
"""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Guest:
    """What a driver may ask; every public method is a verb."""

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: list[str]) -> int:
        """Start a program; its output goes to NAME.log in the folder shared with the driver."""
        with Path(f"/out/{name}.log").open("ab") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._children[name] = child
        return child.pid

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """Signal a program and wait for its end; returns its status."""
        child = self._children.pop(name)
        child.send_signal(number)
        return child.wait()

    def alive(self, name: str) -> bool:
        """Whether a program runs."""
        return name in self._children and self._children[name].poll() is None

    def stat(self, name: str) -> dict[str, float]:
        """CPU seconds of all threads, and memory, of a program."""
        pid = self._children[name].pid
        tasks = Path(f"/proc/{pid}/task").iterdir()
        nanos = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        rows = dict(line.split(":", 1) for line in status)
        megabytes = {key: int(rows[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM")}
        return {"cpu": nanos / 1e9, "rss_mb": megabytes["VmRSS"], "peak_mb": megabytes["VmHWM"]}

    def clock(self) -> float:
        """The guest's wall clock."""
        return time.time()

    def read(self, path: str) -> str:
        """A file's text."""
        return Path(path).read_text()

    def run(self, argv: list[str], check: bool = True) -> str:
        """Output of a command."""
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{argv[0]}: status {done.returncode}: {done.stdout[-500:]}")
        return done.stdout


def serve(guest: Guest, port: int) -> None:
    """Obey one driver until it hangs up."""
    with socket.create_server(("0.0.0.0", port)) as server:
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for line in connection.makefile("rb"):
        verb, args = json.loads(line)
        try:
            action: Callable[..., Any] = getattr(guest, verb)
            answer: Any = {"ok": action(*args)}
        except Exception as error:  # noqa: BLE001 - the driver decides what an error means
            answer = {"error": repr(error)}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Set the card up and serve."""
    for argv in (["link", "set", "vec0", "up"], ["addr", "add", sys.argv[1], "dev", "vec0"]):
        subprocess.run(["ip", *argv], check=True)
    guest = Guest()
    if len(sys.argv) > 3:
        spec = importlib.util.spec_from_file_location("guest_verbs", sys.argv[3])
        if spec is None or spec.loader is None:
            raise SystemExit(f"{sys.argv[3]}: no Python module")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        guest = module.make_guest()
    serve(guest, int(sys.argv[2]))


if __name__ == "__main__":
    main()
