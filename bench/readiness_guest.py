# SPDX-License-Identifier: Apache-2.0
"""The guest's half of the readiness benchmark: runs programs, reads the kernel's own time stamps.

Started by readiness_bench.py inside a User-Mode Linux guest with one network card. It obeys JSON
lines over TCP. Netlink messages are taken from an `nlmon` link and packets of the API server from
the card, both with the kernel's receive time stamps, and read only after a flip is over: a reader
that woke at every message would compete for the guest's one CPU.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
NLMSG_ERROR = 2
IPVS_CMD_SET_DEST = 6
API_PORT = 6443


def run(*argv: str) -> None:
    """Run a command of set-up."""
    subprocess.run(argv, check=True)


def tap(link: str, protocol: int) -> socket.socket:
    """A packet socket with kernel time stamps; nothing is lost for a second of messages."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind((link, protocol))
    sock.setblocking(False)
    return sock


def received(sock: socket.socket) -> list[tuple[float, bytes]]:
    """All packets that wait, each with its kernel time in seconds."""
    found = []
    while True:
        try:
            data, extra, _, _ = sock.recvmsg(256, 64)
        except BlockingIOError:
            return found
        for level, kind, value in extra:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanos = struct.unpack("ll", value)
                found.append((seconds + nanos / 1e9, data))


class Watched:
    """What the kernel saw: weights set, and data from the API server."""

    def __init__(self) -> None:
        run("modprobe", "nlmon")
        run("ip", "link", "add", "nlmon0", "type", "nlmon")
        run("ip", "link", "set", "nlmon0", "up")
        self._netlink = tap("nlmon0", ETH_P_ALL)
        self._packets = tap("vec0", ETH_P_IP)

    def take(self) -> dict[str, Any]:
        """Times since the last call: of data packets, of weight changes done, of first requests."""
        pending: dict[int, float] = {}
        done, asked = [], []
        for at, data in received(self._netlink):
            if len(data) < 20:
                continue
            _, kind, flags, seq, _ = struct.unpack_from("=IHHII", data)
            if kind == NLMSG_ERROR:
                echoed = struct.unpack_from("=iIHHII", data, 16)
                if echoed[0] == 0 and echoed[4] in pending:
                    done.append(at)
                    pending.clear()
            elif flags & 1 and kind > 16:
                asked.append(at)
                if data[16] == IPVS_CMD_SET_DEST:
                    pending[seq] = at
        return {"done": done, "asked": asked, "packets": self._api_data()}

    def _api_data(self) -> list[float]:
        times = []
        for at, data in received(self._packets):
            if len(data) < 54 or data[23] != 6:
                continue
            head = 14 + (data[14] & 15) * 4
            (source,) = struct.unpack_from(">H", data, head)
            (length,) = struct.unpack_from(">H", data, 16)
            payload = length - (head - 14) - (data[head + 12] >> 4) * 4
            if source == API_PORT and payload > 0:
                times.append(at)
        return times


class Guest:
    """Commands of the driver."""

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._watched = Watched()

    def start(self, name: str, argv: list[str]) -> None:
        """Start a program."""
        log = open(f"/out/{name}.log", "ab")  # noqa: SIM115 - the child's for its life
        self._children[name] = subprocess.Popen(argv, stdout=log, stderr=log)

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Stop a program and wait for it."""
        child = self._children.pop(name)
        child.send_signal(number)
        child.wait()

    def stat(self, name: str) -> dict[str, float]:
        """CPU seconds and memory of a program."""
        pid = self._children[name].pid
        with open(f"/proc/{pid}/schedstat") as file:
            nanos = int(file.read().split()[0])
        for task in os.listdir(f"/proc/{pid}/task"):
            if int(task) != pid:
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    nanos += int(file.read().split()[0])
        with open(f"/proc/{pid}/status") as file:
            rows = dict(line.split(":", 1) for line in file)
        rss = int(rows["VmRSS"].split()[0]) / 1024
        return {"cpu": nanos / 1e9, "rss_mb": rss, "peak_mb": int(rows["VmHWM"].split()[0]) / 1024}

    def take(self) -> dict[str, Any]:
        """See Watched.take."""
        return self._watched.take()

    def clock(self) -> float:
        """The guest's wall clock."""
        return time.time()

    def read(self, path: str) -> str:
        """A file's text."""
        with open(path) as file:
            return file.read()

    def run(self, argv: list[str]) -> str:
        """Output of a command."""
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def serve(port: int) -> None:
    """Obey one driver until it hangs up."""
    guest = Guest()
    with socket.create_server(("0.0.0.0", port)) as server:
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = connection.makefile("rb")
    for line in lines:
        verb, args = json.loads(line)
        action: Callable[..., Any] = getattr(guest, verb)
        try:
            answer: Any = {"ok": action(*args)}
        except Exception as error:  # noqa: BLE001 - the driver decides
            answer = {"error": repr(error)}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Set the card up and serve: readiness_guest.py ADDRESS/LENGTH PORT."""
    run("ip", "link", "set", "vec0", "up")
    run("ip", "addr", "add", sys.argv[1], "dev", "vec0")
    serve(int(sys.argv[2]))


if __name__ == "__main__":
    main()
