# SPDX-License-Identifier: Apache-2.0
"""The guest's half of the readiness benchmark: the kernel's own time stamps.

Netlink messages are taken from an `nlmon` link and packets of the API server from the card, both
with the kernel's receive time stamps, and read only after a flip is over: a reader that woke at
every message would compete for the guest's one CPU.
"""

import os
import socket
import struct
import subprocess
import time
from ipaddress import ip_address
from typing import Any

from fairlead.diff.ipvs import desired_entry, service_key
from fairlead.edge.ipvs import IpvsTable, reconcile_virtual_server
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer
from fairlead_lab.solo_guest import Guest

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


class MeasuringGuest(Guest):
    """Three more verbs."""

    def __init__(self) -> None:
        super().__init__()
        self._watched = Watched()

    def system_call_us(self) -> float:
        """Mean cost of a system call in this guest, in microseconds (the clock is one, too)."""
        count = 5000
        begun = time.perf_counter()
        for _ in range(count):
            os.getppid()
        return (time.perf_counter() - begun) / count * 1e6

    def build(self, vip: str, port: int, weights: dict[str, int]) -> int:
        """The virtual server that is to be flipped, as the agent would make it, and no other.

        The floor needs it before there is an agent; the agent adopts it.
        """
        server = VirtualServer(
            address=ip_address(vip),
            protocol=Protocol.TCP,
            port=port,
            scheduler="mh",
            flags=("fallback", "port"),
            forwarding=Forwarding.DSR,
            service=ObjectKey("default", "s0"),
            real_servers=tuple(
                RealServer(ip_address(text), port, weight) for text, weight in weights.items()
            ),
        )
        done = reconcile_virtual_server(IpvsTable(), service_key(server), desired_entry(server))
        return len(done.changes)

    def take(self) -> dict[str, Any]:
        """See Watched.take."""
        return self._watched.take()


def make_guest() -> Guest:
    """For solo_guest."""
    return MeasuringGuest()
