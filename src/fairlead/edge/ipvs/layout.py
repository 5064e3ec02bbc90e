# SPDX-License-Identifier: Apache-2.0
"""Real servers decoded by a layout learned from the first message of its shape.

The kernel writes every GET_DEST reply with the same attributes in the same order, so one
precompiled struct reads what a walk would read, ten times as fast. Where 64-bit counters are padded
(machines without efficient unaligned access) the shape depends on where the message begins, so
layouts are kept by (length, start modulo 8). A layout is used only on a message whose attribute
headers are all equal to those that it was learned from; any other goes the long way.
"""

from collections.abc import Callable
from struct import Struct
from sys import byteorder
from typing import Any, Final, Generic, NamedTuple, TypeVar

from fairlead.edge.ipvs import decode
from fairlead.edge.ipvs.constants import (
    FWD_MASK,
    NLM_F_MULTI,
    NLMSG_MIN_TYPE,
    CmdAttr,
    DestAttr,
    StatsAttr,
)
from fairlead.edge.ipvs.decode import Buffer, Message
from fairlead.model.ipvs import AddressFamily, Counters, DestStatus, IpvsDest

_T = TypeVar("_T")
_Values = tuple[Any, ...]
_Field = tuple[tuple[int, ...], str, int]
"""Path of an attribute below DEST, struct code and size of its value."""

_DEST_FIELDS: Final[tuple[_Field, ...]] = (
    ((DestAttr.ADDR,), "16s", 16),
    ((DestAttr.PORT,), "2s", 2),
    ((DestAttr.FWD_METHOD,), "I", 4),
    ((DestAttr.WEIGHT,), "I", 4),
    ((DestAttr.TUN_TYPE,), "B", 1),
    ((DestAttr.TUN_PORT,), "2s", 2),
    ((DestAttr.TUN_FLAGS,), "H", 2),
    ((DestAttr.U_THRESH,), "I", 4),
    ((DestAttr.L_THRESH,), "I", 4),
    ((DestAttr.ADDR_FAMILY,), "H", 2),
)
_STATUS_FIELDS: Final[tuple[_Field, ...]] = (
    *_DEST_FIELDS[:-1],
    ((DestAttr.ACTIVE_CONNS,), "I", 4),
    ((DestAttr.INACT_CONNS,), "I", 4),
    ((DestAttr.PERSIST_CONNS,), "I", 4),
    _DEST_FIELDS[-1],
    *(((DestAttr.STATS64, kind), "Q", 8) for kind in range(StatsAttr.CONNS, StatsAttr.PAD)),
)
_MOST_LAYOUTS = 64
"""Shapes that are worth remembering; a kernel has one or eight."""

_HEADER = Struct("=IHHI")


class Layout(NamedTuple):
    """Where the values stand, and the headers that must stand between them."""

    values: Struct
    headers: Struct
    expected: tuple[int, ...]


class LayoutDecoder(Generic[_T]):
    """Decodes replies about real servers; remembers layouts. Not for threads to share."""

    def __init__(
        self,
        fields: tuple[_Field, ...],
        build: Callable[[_Values], _T | None],
        walk: Callable[[Buffer, Message, int], _T],
    ) -> None:
        """Make one.

        Args:
            fields: What `build` wants, in the order in which the kernel writes it.
            build: Value from the fields; None where they are for the long way.
            walk: The long way.
        """
        self._fields, self._build, self._walk = fields, build, walk
        self._layouts: dict[tuple[int, int], Layout] = {}

    def decode(self, buffer: Buffer, message: Message, family: int = AddressFamily.INET) -> _T:
        """The same value that the long way gives, or its error."""
        start = message.start
        shape = (message.end - start, start & 7)
        layout = self._layouts.get(shape)
        if layout is None:
            value = self._walk(buffer, message, family)
            if len(self._layouts) < _MOST_LAYOUTS:
                learned = learn(buffer, message, self._fields)
                if learned is not None:
                    self._layouts[shape] = learned
            return value
        if layout.headers.unpack_from(buffer, start) == layout.expected:
            built = self._build(layout.values.unpack_from(buffer, start))
            if built is not None:
                return built
        return self._walk(buffer, message, family)

    def decode_run(self, buffer: Buffer, start: int, size: int, seq: int, found: list[_T]) -> int:
        """Decode replies with known layouts, one after the other; where the first other one begins.

        Args:
            buffer: A datagram of a dump.
            start: Where to begin in it.
            size: Its length.
            seq: Sequence number of the dump.
            found: Takes the values.
        """
        layouts, build, header = self._layouts, self._build, _HEADER.unpack_from
        while size - start >= 16:
            length, kind, flags, number = header(buffer, start)
            layout = layouts.get((length, start & 7))
            if (
                layout is None
                or number != seq
                or flags != NLM_F_MULTI
                or kind < NLMSG_MIN_TYPE
                or length > size - start
                or layout.headers.unpack_from(buffer, start) != layout.expected
            ):
                return start
            built = build(layout.values.unpack_from(buffer, start))
            if built is None:
                return start
            found.append(built)
            start += (length + 3) & ~3
        return start


class DestDecoder(LayoutDecoder[IpvsDest]):
    """Real servers without what they carry."""

    def __init__(self) -> None:
        super().__init__(_DEST_FIELDS, _build_dest, decode.dest)


class DestStatusDecoder(LayoutDecoder[DestStatus]):
    """Real servers with connections and 64-bit counters."""

    def __init__(self) -> None:
        super().__init__(_STATUS_FIELDS, _build_status, decode.dest_status)


def learn(buffer: Buffer, message: Message, fields: tuple[_Field, ...]) -> Layout | None:
    """Layout of a message, None where it has not all fields of full size in the usual order."""
    start = message.start
    outer = decode.attributes(buffer, start + decode.PAYLOAD, message.end)
    span = outer.get(CmdAttr.DEST)
    if span is None or len(outer) != 1:
        return None
    found = decode.attributes(buffer, *span)
    spans: dict[tuple[int, ...], decode.Span] = {(kind,): at for kind, at in found.items()}
    places = [span[0] - 4 - start, *_header_places(buffer, span, start)]
    counters = found.get(DestAttr.STATS64)
    if counters is not None and any(len(path) > 1 for path, _, _ in fields):
        inner = decode.attributes(buffer, *counters)
        spans |= {(int(DestAttr.STATS64), kind): at for kind, at in inner.items()}
        places += _header_places(buffer, counters, start)
    values: list[tuple[int, str, int]] = []
    for path, code, size in fields:
        at = spans.get(path)
        if at is None or at[1] - at[0] != size:
            return None
        values.append((at[0] - start, code, size))
    if values != sorted(values):
        return None
    places.sort()
    headers = _skipping([(place, "I", 4) for place in places])
    return Layout(_skipping(values), headers, headers.unpack_from(buffer, start))


def _header_places(buffer: Buffer, span: decode.Span, start: int) -> list[int]:
    """Offset of every attribute header in a checked nest: of repeated ones and padding too."""
    places, place = [], span[0]
    while span[1] - place >= 4:
        places.append(place - start)
        place += (int.from_bytes(buffer[place : place + 2], byteorder) + 3) & ~3
    return places


def _build_dest(values: _Values) -> IpvsDest | None:
    (address, port, method, weight, t_type, t_port, t_flags, upper, lower, family) = values
    if family == 2:
        address = address[:4]
    elif family != 10:
        return None
    return IpvsDest(
        address,
        port[0] << 8 | port[1],
        weight,
        method & FWD_MASK,
        upper,
        lower,
        t_type,
        t_port[0] << 8 | t_port[1],
        t_flags,
    )


def _build_status(values: _Values) -> DestStatus | None:
    dest = _build_dest((*values[:9], values[12]))
    if dest is None:
        return None
    return DestStatus(dest, values[9], values[10], values[11], Counters(*values[13:]))


def _skipping(fields: list[tuple[int, str, int]]) -> Struct:
    """A struct of (offset, code, size) fields with the bytes between them skipped."""
    text, position = "=", 0
    for offset, code, size in fields:
        text += f"{offset - position}x{code}"
        position = offset + size
    return Struct(text)
