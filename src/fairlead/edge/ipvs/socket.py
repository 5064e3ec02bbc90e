# SPDX-License-Identifier: Apache-2.0
"""A generic netlink socket to IPVS: requests out, replies in, errors attributed to their message.

Bytes and sequence numbers only; what they mean is for `encode`, `decode` and `table`.
The kernel works off a batch inside `send`, and goes on with a dump inside `recv`, so an answer is
there at once or never comes: the socket does not block.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from fairlead.edge.ipvs import decode, encode
from fairlead.edge.ipvs.constants import (
    GENL_ID_CTRL,
    GENL_NAME,
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_GENERIC,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    SOL_NETLINK,
)
from fairlead.edge.ipvs.decode import Message
from fairlead.edge.ipvs.errors import (
    IpvsPermissionError,
    IpvsRequestError,
    IpvsUnavailableError,
    NoAnswerError,
    RepliesLostError,
)
from fairlead.edge.netns import entered

BATCH_MESSAGES: Final = 1000
BATCH_BYTES: Final = 1 << 20
"""A batch is one datagram and must fit the send buffer; 1000 real servers are 170 kB."""

_SEND_BUFFER_BYTES = 4 << 20
_RECEIVE_BUFFER_BYTES = 8 << 20
"""A thousand refusals take 0.8 MB of it, a datagram of a dump 32 kB."""

_RECEIVE_BYTES = 1 << 16
"""More than the 32 kB that the kernel puts into one datagram of a dump."""

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_DUMP_ATTEMPTS = 5

OnMessage = Callable[[bytearray, Message], None]
Run = Callable[[bytearray, int, int, int], int]
"""Takes (datagram, start, size, sequence number); returns where it stopped understanding."""


def _no_run(_buffer: bytearray, start: int, _size: int, _seq: int) -> int:
    return start


class IpvsSocket:
    """A socket bound to the network namespace that it was opened in; not for threads to share."""

    def __init__(self, netns: str | None = None) -> None:
        """Open the socket and resolve the family (which loads the module where that is allowed).

        Args:
            netns: Name below /run/netns or path of a network namespace; None for our own.

        Raises:
            IpvsUnavailableError: The kernel has no IPVS.
            FairleadError: The namespace does not exist.
        """
        with entered(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC
            )
        self._seq = 0
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._family = 0
        try:
            self._prepare()
            self._family = self._resolve()
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket; twice does no harm."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def batch(self, bodies: Sequence[bytes]) -> list[tuple[int, str]]:
        """Send requests in as few datagrams as possible and return each one's outcome.

        Only the last message of a datagram asks for an acknowledgement: the kernel reports every
        failure of its own accord, and one datagram per acknowledgement would cost ten times the
        work itself.

        Returns:
            (errno, kernel's text) for each body in order, (0, "") for success.

        Raises:
            RepliesLostError: Failures overflowed the receive buffer.
        """
        outcomes = [(0, "")] * len(bodies)
        first = 0
        while first < len(bodies):
            last, size = first, 0
            while last < len(bodies) and last - first < BATCH_MESSAGES and size < BATCH_BYTES:
                size += 16 + len(bodies[last])
                last += 1
            self._send_batch(bodies[first:last], outcomes, first)
            first = last
        return outcomes

    def request(self, body: bytes, on_message: OnMessage, what: str) -> None:
        """Send one request and hand over its replies.

        Raises:
            IpvsRequestError: The kernel refused it; `what` begins the sentence.
        """
        self._seq += 1
        flags = NLM_F_REQUEST | NLM_F_ACK
        self._send(encode.frame(body, self._family or GENL_ID_CTRL, flags, self._seq))
        for message in self._replies(self._seq):
            if message.kind == NLMSG_ERROR:
                code, detail = decode.error_code(self._buffer, message)
                if code:
                    raise _request_error(what, code, detail)
                return
            on_message(self._buffer, message)

    def dump(
        self,
        body: bytes,
        on_message: OnMessage,
        restart: Callable[[], None],
        run: Run = _no_run,
    ) -> None:
        """Run a dump.

        Args:
            body: The request.
            on_message: Takes each reply.
            restart: Called before each attempt, to forget an interrupted one.
            run: A fast way for replies that follow each other; what it stops at goes to
                `on_message`.

        Raises:
            IpvsRequestError: The kernel refused it.
            RepliesLostError: The table kept changing under the dump.
        """
        for _ in range(_DUMP_ATTEMPTS):
            restart()
            with suppress(_InterruptedDump):
                self._dump_once(body, on_message, run)
                return
        raise RepliesLostError(
            f"IPVS: the table changed during each of {_DUMP_ATTEMPTS} dumps; "
            "another program writes it without pause"
        )

    def _dump_once(self, body: bytes, on_message: OnMessage, run: Run) -> None:
        self._seq += 1
        self._send(encode.frame(body, self._family, NLM_F_REQUEST | NLM_F_DUMP, self._seq))
        interrupted = False
        for message in self._dump_replies(run):
            interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
            if message.kind == NLMSG_DONE:
                code = decode.done_code(self._buffer, message)
                if code:
                    raise _request_error("dump", code, "")
                break
            if message.kind == NLMSG_ERROR:
                code, detail = decode.error_code(self._buffer, message)
                if code:
                    raise _request_error("dump", code, detail)
                continue
            on_message(self._buffer, message)
        if interrupted:
            raise _InterruptedDump

    def _send_batch(
        self, bodies: Sequence[bytes], outcomes: list[tuple[int, str]], offset: int
    ) -> None:
        base = self._seq + 1
        self._seq += len(bodies)
        family, pack, flags = self._family, encode.HEADER.pack, NLM_F_REQUEST
        parts: list[bytes] = []
        for seq, body in enumerate(bodies[:-1], base):
            parts += (pack(16 + len(body), family, flags, seq, 0), body)
        parts.append(encode.frame(bodies[-1], family, flags | NLM_F_ACK, self._seq))
        self._send(b"".join(parts))
        for message in self._replies(self._seq, base):
            if message.kind != NLMSG_ERROR:
                continue
            outcome = decode.error_code(self._buffer, message)
            if outcome[0] == errno.EPERM:
                raise _request_error("change", *outcome)
            outcomes[offset + message.seq - base] = outcome
            if message.seq == self._seq:
                return

    def _send(self, data: bytes) -> None:
        # Answers that nobody read (after an error) must not be taken for ours: sequence numbers
        # tell them apart, so nothing needs to be drained here.
        self._socket.send(data)

    def _replies(self, seq: int, first: int | None = None) -> Iterator[Message]:
        """Messages that answer `first`..`seq` (default: `seq` alone), until the caller stops."""
        lowest = seq if first is None else first
        while True:
            size = self._receive()
            for message in decode.messages(self._buffer, size):
                if message.kind == NLMSG_OVERRUN:
                    raise _lost()
                if lowest <= message.seq <= seq:
                    yield message

    def _dump_replies(self, run: Run) -> Iterator[Message]:
        """Messages of the dump that runs now which `run` did not take."""
        seq, buffer = self._seq, self._buffer
        while True:
            size = self._receive()
            start = run(buffer, 0, size, seq)
            while start < size:
                message = next(decode.messages(buffer, size, start))
                if message.kind == NLMSG_OVERRUN:
                    raise _lost()
                if message.seq == seq:
                    yield message
                start = run(buffer, (message.end + 3) & ~3, size, seq)

    def _receive(self) -> int:
        while True:
            try:
                size, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError as error:
                raise NoAnswerError(
                    "IPVS: the kernel was interrupted and gave no answer; read before repeating"
                ) from error
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise _lost() from error
                raise
            if sender[0] == 0:  # the kernel; any process may send to our port id
                return size

    def _prepare(self) -> None:
        for forced, plain, size in (
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER_BYTES),
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES),
        ):
            try:  # beyond net.core.*mem_max, with CAP_NET_ADMIN
                self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, plain, size)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            with suppress(OSError):  # kernels before 4.12 answer in the older form
                self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.setblocking(False)
        self._socket.bind((0, 0))

    def _resolve(self) -> int:
        found: list[int] = []

        def take(buffer: bytearray, message: Message) -> None:
            found.append(decode.family_id(buffer, message))

        try:
            self.request(encode.get_family(GENL_NAME), take, "family")
        except IpvsRequestError as error:
            raise IpvsUnavailableError(
                f"the running kernel ({os.uname().release}) has no IPVS: load it with "
                "`modprobe ip_vs` (Debian: package linux-image-*, not a cloud or container kernel "
                "without modules)"
            ) from error
        return found[0]


class _InterruptedDump(Exception):  # noqa: N818  (a signal between two functions, not an error)
    pass


def _lost() -> RepliesLostError:
    return RepliesLostError(
        "IPVS: the kernel's answers overflowed the socket's receive buffer; "
        "the table must be read again"
    )


def _request_error(what: str, code: int, detail: str) -> IpvsRequestError | IpvsPermissionError:
    if code in (errno.EPERM, errno.EACCES):
        return IpvsPermissionError(
            f"IPVS: {what}: not permitted; run as root or with CAP_NET_ADMIN"
        )
    return IpvsRequestError(what, code, detail)
