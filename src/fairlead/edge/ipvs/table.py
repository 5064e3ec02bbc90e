# SPDX-License-Identifier: Apache-2.0
"""The kernel's IPVS table: read it as values, change it by changes.

Nothing is remembered between calls but the socket and the layout of replies.
"""

import errno
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

import msgspec

from fairlead.diff.changes import (
    AddDest,
    AddService,
    DelDest,
    DelService,
    IpvsChange,
    SetDest,
    SetService,
)
from fairlead.edge.ipvs import decode, encode
from fairlead.edge.ipvs.constants import Cmd
from fairlead.edge.ipvs.decode import Message
from fairlead.edge.ipvs.errors import IpvsRequestError, explain
from fairlead.edge.ipvs.layout import DestDecoder, DestStatusDecoder, LayoutDecoder
from fairlead.edge.ipvs.socket import IpvsSocket
from fairlead.model.ipvs import (
    IpvsDest,
    IpvsEntries,
    IpvsEntry,
    IpvsInfo,
    IpvsService,
    ServiceKey,
    ServiceStatus,
)

_T = TypeVar("_T")

_GONE = frozenset({errno.ESRCH, errno.ENOENT})
"""What a removal may fail with and still have reached its end."""


class ChangeResult(msgspec.Struct, frozen=True, gc=False):
    """What became of one change: `code` is an errno, 0 where it is true now."""

    change: IpvsChange
    code: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.change}: {explain(self.code, self.detail) if self.code else 'ok'}"


class IpvsPort(Protocol):
    """What appliers need of a table; `IpvsTable` and `fake.FakeIpvsTable` have it."""

    def dump(self) -> IpvsEntries:
        """The whole table."""
        ...

    def service_keys(self) -> Sequence[ServiceKey]:
        """Every virtual server there is, without its real servers."""
        ...

    def dump_service(self, key: ServiceKey) -> IpvsEntry | None:
        """One virtual server, None where it does not exist."""
        ...

    def apply(self, changes: Sequence[IpvsChange]) -> Sequence[ChangeResult]:
        """Make changes in order; one that fails does not stop the others."""
        ...


class IpvsTable:
    """The table of one network namespace, over one netlink socket; not for threads to share."""

    def __init__(self, netns: str | None = None) -> None:
        """Open it.

        Args:
            netns: Name or path of a network namespace, None for our own.

        Raises:
            IpvsUnavailableError: The kernel has no IPVS.
        """
        self._socket = IpvsSocket(netns)
        self._dests = DestDecoder()
        self._dest_status = DestStatusDecoder()

    def close(self) -> None:
        """Close the socket."""
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

    # Reading

    def dump(self) -> dict[ServiceKey, IpvsEntry]:
        """The whole table: one dump of services, one dump of real servers for each."""
        services = self._services(decode.service)
        return {one.key: IpvsEntry(one, self._dump_dests(one.key)) for one in services}

    def service_keys(self) -> list[ServiceKey]:
        """Every virtual server there is, without its real servers: one dump, however large."""
        return [service.key for service in self._services(decode.service)]

    def dump_service(self, key: ServiceKey) -> IpvsEntry | None:
        """One virtual server with its real servers; None where it does not exist.

        Raises:
            IpvsRequestError: The kernel refused for another reason.
        """
        found: list[IpvsService] = []

        def take(buffer: bytearray, message: Message) -> None:
            found.append(decode.service(buffer, message))

        try:
            request = encode.service_request(Cmd.GET_SERVICE, key)
            self._socket.request(request, take, f"read {key}")
        except IpvsRequestError as error:
            if error.code == errno.ESRCH:
                return None
            raise
        return IpvsEntry(found[0], self._dump_dests(key)) if found else None

    def status(self) -> list[ServiceStatus]:
        """The whole table with connections and 64-bit counters, in the kernel's order."""
        found = []
        for one in self._services(decode.service_status):
            dests = self._dump_by_layout(one.service.key, self._dest_status)
            found.append(ServiceStatus(one.service, one.counters, dests))
        return found

    def info(self) -> IpvsInfo:
        """Version and connection table size."""
        return self._get(Cmd.GET_INFO, decode.info)

    # Changing

    def apply(self, changes: Sequence[IpvsChange]) -> list[ChangeResult]:
        """Send changes in order, in batches; one that fails does not stop the others.

        Removing what is gone already counts as done.

        Raises:
            RepliesLostError: It is not known what succeeded: read the table again.
            IpvsPermissionError: Not allowed to change it.
        """
        refused: dict[int, str] = {}
        bodies = encode_changes(changes, refused)
        outcomes = self._socket.batch(bodies)
        for index, why in sorted(refused.items()):
            outcomes.insert(index, (errno.EINVAL, why))
        return [
            ChangeResult(change)
            if code == 0 or (code in _GONE and isinstance(change, DelService | DelDest))
            else ChangeResult(change, code, detail)
            for change, (code, detail) in zip(changes, outcomes, strict=True)
        ]

    def flush(self) -> None:
        """Remove every virtual server, foreign ones too: never part of a reconciliation."""
        self._command(encode.command(Cmd.FLUSH), "flush")

    def _command(self, body: bytes, what: str) -> None:
        self._socket.request(body, lambda _buffer, _message: None, what)

    def _get(self, cmd: Cmd, decoder: Callable[[bytearray, Message], _T]) -> _T:
        found: list[_T] = []

        def take(buffer: bytearray, message: Message) -> None:
            found.append(decoder(buffer, message))

        self._socket.request(encode.command(cmd), take, cmd.name.lower())
        return found[0]

    def _services(self, decoder: Callable[[bytearray, Message], _T]) -> list[_T]:
        return self._dump(encode.command(Cmd.GET_SERVICE), decoder)

    def _dump(self, body: bytes, decoder: Callable[[bytearray, Message], _T]) -> list[_T]:
        found: list[_T] = []

        def take(buffer: bytearray, message: Message) -> None:
            found.append(decoder(buffer, message))

        self._socket.dump(body, take, found.clear)
        return found

    def _dump_dests(self, key: ServiceKey) -> tuple[IpvsDest, ...]:
        return self._dump_by_layout(key, self._dests)

    def _dump_by_layout(self, key: ServiceKey, decoder: LayoutDecoder[_T]) -> tuple[_T, ...]:
        """Real servers of a virtual server, oldest first."""
        found: list[_T] = []

        def take(buffer: bytearray, message: Message) -> None:
            found.append(decoder.decode(buffer, message, key.family))

        def run(buffer: bytearray, start: int, size: int, seq: int) -> int:
            return decoder.decode_run(buffer, start, size, seq, found)

        self._socket.dump(encode.service_request(Cmd.GET_DEST, key), take, found.clear, run)
        found.reverse()
        return tuple(found)


def encode_changes(
    changes: Sequence[IpvsChange], refused: dict[int, str] | None = None
) -> list[bytes]:
    """Request bodies for changes, in order.

    Args:
        changes: Neighbouring ones of one virtual server share the bytes that name it.
        refused: Takes up changes that no message can hold, by index, and why; they have no body.
            None raises instead.
    """
    bodies: list[bytes] = []
    of = _Prefixes(None)
    for index, change in enumerate(changes):
        try:
            if change.key is not of.key and change.key != of.key:
                of = _Prefixes(change.key)
            bodies.append(_encode(change, of))
        except Exception as error:
            if refused is None:
                raise
            # Whatever it is: of all that is sent, it concerns this one alone.
            refused[index] = f"{type(error).__name__}: {error}"
    return bodies


class _Prefixes:
    """Beginnings of requests about real servers of one virtual server."""

    __slots__ = ("edit", "key", "new", "remove")

    def __init__(self, key: ServiceKey | None) -> None:
        self.key = key
        if key is not None:
            self.new = encode.dest_prefix(Cmd.NEW_DEST, key)
            self.edit = encode.dest_prefix(Cmd.SET_DEST, key)
            self.remove = encode.dest_prefix(Cmd.DEL_DEST, key)


def _encode(change: IpvsChange, of: _Prefixes) -> bytes:
    match change:
        case AddDest():
            return of.new + encode.dest_attr(change.dest)
        case SetDest():
            return of.edit + encode.dest_attr(change.dest)
        case DelDest():
            return of.remove + encode.dest_key_attr(change.dest)
        case AddService():
            return encode.service(Cmd.NEW_SERVICE, change.service)
        case SetService():
            return encode.service(Cmd.SET_SERVICE, change.service)
        case DelService():
            return encode.service_request(Cmd.DEL_SERVICE, change.key)
