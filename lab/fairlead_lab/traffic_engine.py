# SPDX-License-Identifier: Apache-2.0
"""The traffic tool's engine: sends bounded traffic to one target and counts what comes back.

Requests are sent on a timetable (an open loop): a slow or dead target does not slow the sender
down, so an outage shows as as many lost requests as really would have been lost. Raw sockets on
asyncio: about 100 us of CPU per TCP request with its connection.
"""

import asyncio
import contextlib
import errno
import itertools
import json
import socket
import struct
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["short", "held", "udp"]
MAX_IN_FLIGHT = 4000
MAX_ANSWER = 64 * 1024
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER that closes with RST: a thousand connections a second leave no TIME_WAIT behind."""


@dataclass(frozen=True)
class TrafficSpec:
    """What to send. Every run is bounded, by ``duration`` and, when given, by ``count``."""

    address: str
    port: int
    mode: Mode = "short"
    rate: float = 100.0
    """Requests per second, all together (short, udp)."""
    duration: float = 10.0
    """Seconds."""
    count: int | None = None
    """Requests at most; held: per connection."""
    connections: int = 0
    """held: how many; udp: how many sockets (flows) take turns, 0 is a new one per request."""
    interval: float = 0.05
    """held: seconds between two lines on one connection."""
    timeout: float = 2.0
    """Seconds after which a request without an answer is lost."""
    stall: float = 1.0
    """held: seconds without an answer after which a connection counts as stalled."""
    sources: tuple[str, ...] = ()
    """Addresses of this machine to send from, in turn."""

    @property
    def family(self) -> socket.AddressFamily:
        """The target's family."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET


@dataclass
class Tally:
    """What happened so far."""

    sent: int = 0
    answered: int = 0
    opened: int = 0
    broken: int = 0
    stalled: int = 0
    pods: Counter[str] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    longest_gap: float = 0.0

    def answer(self, line: bytes, latency: float) -> bool:
        """Count one answer; False when it is not the responder's."""
        try:
            body = json.loads(line)
            pod, node, client = body["pod"], body["node"], body["client"]
        except (ValueError, KeyError, TypeError):
            self.errors["garbled"] += 1
            return False
        self.answered += 1
        self.pods[pod] += 1
        self.nodes[node] += 1
        self.clients[client] += 1
        self.latencies.append(latency)
        return True


class GapMeter:
    """The longest time between two successive answers, counting from the start to the end."""

    def __init__(self, tally: Tally, now: float) -> None:
        self._tally = tally
        self._last = now

    def mark(self, now: float) -> None:
        """An answer came, or the run ends."""
        self._tally.longest_gap = max(self._tally.longest_gap, now - self._last)
        self._last = now


class Engine:
    """One run of one spec."""

    def __init__(self, spec: TrafficSpec) -> None:
        self.spec = spec
        self.tally = Tally()
        self.started = 0.0
        self.finished = 0.0
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._sources: Iterator[str | None] = itertools.cycle(spec.sources or (None,))
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """End early: no new request, those under way may finish."""
        self._stopping.set()

    async def run(self) -> None:
        """Send all the traffic and wait for the last answers."""
        self.started = self._loop.time()
        await {"short": self._short, "udp": self._udp, "held": self._held}[self.spec.mode]()
        self.finished = self._loop.time()

    def _socket(self, kind: socket.SocketKind) -> socket.socket:
        sock = socket.socket(self.spec.family, kind)
        try:
            sock.setblocking(False)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source = next(self._sources)
            if source is not None:
                sock.bind((source, 0))
        except OSError:
            sock.close()
            raise
        return sock

    async def _pause(self, seconds: float) -> bool:
        """Wait; False when the run is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopping.wait()
        return not self._stopping.is_set()

    async def _timetable(self, request: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """Start one task per request, each at its time."""
        spec = self.spec
        total = int(spec.rate * spec.duration + 0.5)
        total = total if spec.count is None else min(total, spec.count)
        for number in range(total):
            wait = self.started + number / spec.rate - self._loop.time()
            if wait > 0 and not await self._pause(wait):
                break
            if self._stopping.is_set():
                break
            self.tally.sent += 1
            if len(self._tasks) >= MAX_IN_FLIGHT:
                self.tally.errors["too many in flight"] += 1
                continue
            task = asyncio.create_task(request(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if wait <= 0:
                await asyncio.sleep(0)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _counted(self, exchange: Coroutine[Any, Any, bytes], gap: GapMeter) -> None:
        """Do one exchange and count how it ended."""
        begin = self._loop.time()
        try:
            async with asyncio.timeout(self.spec.timeout):
                line = await exchange
        except (OSError, TimeoutError) as error:
            self.tally.errors[error_kind(error)] += 1
            return
        now = self._loop.time()
        if self.tally.answer(line, now - begin):
            gap.mark(now)

    async def _short(self) -> None:
        gap = GapMeter(self.tally, self.started)

        async def exchange(number: int) -> bytes:
            with self._socket(socket.SOCK_STREAM) as sock:
                await self._loop.sock_connect(sock, (self.spec.address, self.spec.port))
                self.tally.opened += 1
                await self._loop.sock_sendall(sock, b"%d\n" % number)
                line = await self._read_line(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                return line

        await self._timetable(lambda number: self._counted(exchange(number), gap))
        gap.mark(min(self._loop.time(), self._sending_ended()))

    def _sending_ended(self) -> float:
        return self.started + self.tally.sent / self.spec.rate

    async def _read_line(self, sock: socket.socket) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            chunk = await self._loop.sock_recv(sock, MAX_ANSWER)
            if not chunk:
                raise ConnectionAbortedError(errno.ECONNABORTED, "closed by the other end")
            data += chunk
        return data

    async def _udp(self) -> None:
        gap = GapMeter(self.tally, self.started)
        flows = [self._socket(socket.SOCK_DGRAM) for _ in range(self.spec.connections)]
        locks = [asyncio.Lock() for _ in flows]
        for sock in flows:
            sock.connect((self.spec.address, self.spec.port))

        async def exchange(number: int) -> bytes:
            if flows:
                turn = number % len(flows)
                async with locks[turn]:  # one question at a time on a flow
                    return await self._ask(flows[turn], number)
            with self._socket(socket.SOCK_DGRAM) as sock:
                sock.connect((self.spec.address, self.spec.port))
                return await self._ask(sock, number)

        try:
            await self._timetable(lambda number: self._counted(exchange(number), gap))
        finally:
            for sock in flows:
                sock.close()
        gap.mark(min(self._loop.time(), self._sending_ended()))

    async def _ask(self, sock: socket.socket, number: int) -> bytes:
        await self._loop.sock_sendall(sock, b"%d" % number)
        mark = b'"echo": "%d"' % number
        while True:
            answer = await self._loop.sock_recv(sock, MAX_ANSWER)
            if mark in answer:  # an older question's late answer is not this one's
                return answer

    async def _held(self) -> None:
        count = self.spec.connections or 1
        await asyncio.gather(*(self._hold(number / count) for number in range(count)))

    async def _hold(self, offset: float) -> None:
        """One connection that is held open and asked again and again."""
        await self._pause(offset * self.spec.interval)  # not all in one burst
        try:
            sock = self._socket(socket.SOCK_STREAM)
            async with asyncio.timeout(self.spec.timeout):
                await self._loop.sock_connect(sock, (self.spec.address, self.spec.port))
        except (OSError, TimeoutError) as error:
            self.tally.sent += 1
            self.tally.errors[f"connect: {error_kind(error)}"] += 1
            return
        self.tally.opened += 1
        with sock:
            try:
                await self._converse(sock)
            except OSError as error:
                self.tally.broken += 1
                self.tally.errors[error_kind(error)] += 1
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)

    async def _converse(self, sock: socket.socket) -> None:
        spec, loop = self.spec, self._loop
        end = self.started + spec.duration
        gap = GapMeter(self.tally, loop.time())
        stalled = False
        for number in itertools.count():
            begin = loop.time()
            if self._stopping.is_set() or begin >= end or number == spec.count:
                return
            self.tally.sent += 1
            await loop.sock_sendall(sock, b"%d\n" % number)
            reading = asyncio.ensure_future(self._read_line(sock))
            done, _ = await asyncio.wait({reading}, timeout=spec.stall)
            if not done and not stalled:
                stalled = True
                self.tally.stalled += 1
            if not done:  # it may come back; the run's end is the last moment for it
                done, _ = await asyncio.wait({reading}, timeout=max(0.0, end - loop.time()))
            if not done:
                reading.cancel()
                gap.mark(loop.time())
                self.tally.errors["no answer"] += 1
                return
            if self.tally.answer(reading.result(), loop.time() - begin):
                gap.mark(loop.time())
            await self._pause(begin + spec.interval - loop.time())


def error_kind(error: OSError) -> str:
    """A short, stable name: "timeout", "refused", "reset", "closed", or errno's own."""
    names = {
        errno.ECONNREFUSED: "refused",
        errno.ECONNRESET: "reset",
        errno.EPIPE: "reset",
        errno.ECONNABORTED: "closed",
        errno.EHOSTUNREACH: "unreachable",
        errno.ENETUNREACH: "unreachable",
        errno.ETIMEDOUT: "timeout",
    }
    number = error.errno
    if number is None:  # asyncio's own TimeoutError
        return "timeout"
    return names.get(number, errno.errorcode.get(number, str(number)))
