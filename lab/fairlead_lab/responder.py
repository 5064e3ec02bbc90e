# SPDX-License-Identifier: Apache-2.0
"""The program that runs in every pod of the lab: it answers, and says who answered whom.

Whatever image a Pod names, this is what runs: a listener on every containerPort. Each request is
answered with one line of JSON that names the pod, its node, the client's address as the pod sees
it, and a counter, so that a test can prove where a packet went and what happened to its source.

* TCP: a line protocol that can be held open (one line in, one line of JSON out); a first line
  that looks like HTTP makes the connection HTTP/1.1 with keep-alive, for curl and httpGet probes.
  ``/healthz`` answers 200, or 503 between ``/unready`` and ``/ready``.
* UDP: each datagram is answered from the address and port it was sent to.

SIGTERM begins the drain: listeners stay open (an application that closes them at once breaks
every connection that a load balancer, not yet told, still sends), HTTP connections are closed
after their answer, and the program ends when nothing is open and nothing new came for a while.
The kubelet kills it when the Pod's grace period is over.

Only the standard library, and little of it: a pod starts in some 40 ms and holds 11 MB.
"""

import argparse
import errno
import json
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable

MAX_LINE = 64 * 1024
MAX_PENDING_OUTPUT = 1024 * 1024
DRAIN_QUIET_SECONDS = 2.0
"""A draining responder ends when it has been silent for this long."""

HTTP_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ")
PKTINFO_SPACE = socket.CMSG_SPACE(20)
"""struct in6_pktinfo: 16 bytes of address and an int, see RFC 3542 section 6.2."""


class Identity:
    """Who answers: the constant part of each answer, and the counters."""

    def __init__(self, pod: str, node: str) -> None:
        self.namespace, _, self.pod = pod.partition("/")
        self.node = node
        self.counter = 0
        self.healthy = True
        self.draining = False
        self.last_arrival = time.monotonic()

    def drain(self) -> None:
        """Begin the end: whoever still sends has from now on to notice."""
        self.draining = True
        self.last_arrival = time.monotonic()

    def answer(self, protocol: str, port: int, peer: tuple[str, int], echo: bytes | None) -> bytes:
        """One line of JSON for one request; the client's text comes back as ``echo``."""
        self.counter += 1
        self.last_arrival = time.monotonic()  # probes do not come here: they go on in a drain
        body = {
            "namespace": self.namespace,
            "pod": self.pod,
            "node": self.node,
            "client": peer[0],
            "client_port": peer[1],
            "protocol": protocol,
            "port": port,
            "counter": self.counter,
        }
        if echo is not None:
            body["echo"] = echo.decode("utf-8", "replace")
        return json.dumps(body).encode() + b"\n"


def plain_address(address: str) -> str:
    """``::ffff:192.0.2.1`` (an IPv4 client on a dual-stack socket) as ``192.0.2.1``."""
    return address.removeprefix("::ffff:") if "." in address else address.partition("%")[0]


class Connection:
    """One accepted TCP connection: lines in, answers out, HTTP when it looks like HTTP."""

    def __init__(self, loop: "Responder", sock: socket.socket, port: int) -> None:
        self.loop = loop
        self.sock = sock
        self.port = port
        host, peer_port = sock.getpeername()[:2]
        self.peer = (plain_address(host), peer_port)
        self.inbox = b""
        self.outbox = b""
        self.skip = 0
        self.closing = False

    def on_event(self, mask: int) -> None:
        """Read, answer and write as far as the socket lets us."""
        try:
            if mask & selectors.EVENT_READ:
                self._read()
            self._flush()
        except OSError:
            self.closing, self.outbox = True, b""
        if self.closing and not self.outbox:
            self.loop.forget(self)

    def _read(self) -> None:
        try:
            data = self.sock.recv(MAX_LINE)
        except BlockingIOError:
            return
        if not data:
            self.closing = True
        self.inbox += data
        while not self.closing and self._consume():
            pass
        if len(self.inbox) > MAX_LINE or len(self.outbox) > MAX_PENDING_OUTPUT:
            self.closing = True

    def _consume(self) -> bool:
        """Take one request off the inbox and queue its answer; False when none is complete."""
        if self.skip:
            taken = min(self.skip, len(self.inbox))
            self.inbox, self.skip = self.inbox[taken:], self.skip - taken
            return not self.skip
        if self.inbox.startswith(HTTP_METHODS):
            head, found, rest = self.inbox.partition(b"\r\n\r\n")
            if found:
                self.inbox = rest
                self._answer_http(head)
            return bool(found)
        line, found, rest = self.inbox.partition(b"\n")
        if found:
            self.inbox = rest
            self.outbox += self.loop.who.answer("TCP", self.port, self.peer, line.rstrip(b"\r"))
        return bool(found)

    def _answer_http(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        method, _, rest = lines[0].partition(b" ")
        path, _, version = rest.partition(b" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        length = headers.get(b"content-length", b"0")
        self.skip = int(length) if length.isdigit() else 0
        asked = headers.get(b"connection", b"").lower()
        close = self.loop.who.draining or asked == b"close" or version == b"HTTP/1.0"
        probe = headers.get(b"user-agent", b"").startswith(b"kube-probe/")
        status, body = self._http_body(path.partition(b"?")[0], probe=probe)
        connection = "close" if close else "keep-alive"
        self.outbox += (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
        ).encode()
        if method != b"HEAD":
            self.outbox += body
        self.closing = close

    def _http_body(self, path: bytes, *, probe: bool) -> tuple[str, bytes]:
        who = self.loop.who
        if path in (b"/ready", b"/unready"):
            who.healthy = path == b"/ready"
        if path == b"/healthz" and not who.healthy:
            return "503 Service Unavailable", b"unready\n"
        if probe:
            return "200 OK", b"ok\n"
        return "200 OK", who.answer("TCP", self.port, self.peer, None)

    def _flush(self) -> None:
        if self.outbox:
            try:
                sent = self.sock.send(self.outbox)
            except BlockingIOError:
                sent = 0
            self.outbox = self.outbox[sent:]
        self.loop.watch_writes(self, wanted=bool(self.outbox))


class Responder:
    """The event loop of one pod."""

    def __init__(self, who: Identity) -> None:
        self.who = who
        self.selector = selectors.DefaultSelector()
        self.connections: set[Connection] = set()
        self._writing: set[Connection] = set()

    def listen(self, protocol: str, port: int) -> None:
        """Open one port on every address of both families."""
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        if protocol == "UDP":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.bind(("::", port))
        handler: Callable[[int], None]
        if protocol == "TCP":
            sock.listen(1024)
            handler = lambda _mask: self._accept(sock, port)  # noqa: E731
        else:
            handler = lambda _mask: self._datagrams(sock, port)  # noqa: E731
        self.selector.register(sock, selectors.EVENT_READ, handler)

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(self, sock, port)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    return
                continue  # the client was gone before we came to it
            self.connections.add(connection)
            self.selector.register(sock, selectors.EVENT_READ, connection.on_event)

    def _datagrams(self, sock: socket.socket, port: int) -> None:
        while True:
            try:
                data, extra, _flags, peer = sock.recvmsg(MAX_LINE, PKTINFO_SPACE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier answer
            client = (plain_address(peer[0]), peer[1])
            answer = self.who.answer("UDP", port, client, data.rstrip(b"\r\n"))
            # The address it was sent to becomes the source of the answer; interface 0 leaves
            # the way out to the routing table.
            source = [
                (level, kind, value[:16] + bytes(4))
                for level, kind, value in extra
                if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
            ]
            try:
                sock.sendmsg([answer], source, 0, peer)
            except OSError:
                continue  # a full buffer or no way back: a datagram may be lost

    def watch_writes(self, connection: Connection, *, wanted: bool) -> None:
        """Ask for writability only while there is output: otherwise epoll would spin."""
        if wanted == (connection in self._writing):
            return
        (self._writing.add if wanted else self._writing.discard)(connection)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
        self.selector.modify(connection.sock, events, connection.on_event)

    def forget(self, connection: Connection) -> None:
        """Close and drop a connection."""
        self._writing.discard(connection)
        self.connections.discard(connection)
        self.selector.unregister(connection.sock)
        connection.sock.close()

    def drained(self) -> bool:
        """Whether a draining responder may end."""
        quiet = time.monotonic() - self.who.last_arrival
        return self.who.draining and not self.connections and quiet > DRAIN_QUIET_SECONDS

    def run(self) -> None:
        """Serve until SIGTERM and the end of the drain."""
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self.who.drain())
        self.selector.register(wake_read, selectors.EVENT_READ, lambda _: wake_read.recv(64))
        print("listening", flush=True)  # from here on SIGTERM drains
        while not self.drained():
            for key, mask in self.selector.select(0.2 if self.who.draining else None):
                key.data(mask)


def parse_port(text: str) -> tuple[str, int]:
    """``TCP/80`` as ("TCP", 80)."""
    protocol, _, port = text.partition("/")
    if protocol not in ("TCP", "UDP") or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not TCP/<port> or UDP/<port>")
    return protocol, int(port)


def main() -> int:
    """Entry point: open every port, say so on stdout, serve."""
    parser = argparse.ArgumentParser(description="answers on the ports of one pod of the lab")
    parser.add_argument("--pod", required=True, help="NAMESPACE/NAME")
    parser.add_argument("--node", required=True)
    parser.add_argument("ports", nargs="*", type=parse_port, metavar="TCP/80")
    options = parser.parse_args()
    responder = Responder(Identity(options.pod, options.node))
    for protocol, port in dict.fromkeys(options.ports):
        try:
            responder.listen(protocol, port)
        except OSError as error:
            print(f"cannot listen on {protocol} port {port}: {error.strerror}", file=sys.stderr)
            return 1
    responder.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
