# SPDX-License-Identifier: Apache-2.0
"""Real servers decoded by a layout learned from the first message of its shape.

The kernel writes every GET_DEST reply with the same attributes in the same order, so one
precompiled struct reads what a walk would read, ten times as fast. Where 64-bit counters are padded
(machines without efficient unaligned access) the shape depends on where the message begins, so
layouts are kept by (length, start modulo 8). A layout is used only on a message whose attribute
headers are all equal to those that it was learned from; any other goes the long way.
"""

from struct import Struct
from typing import NamedTuple

from fairlead.adapters.ipvs import decode
from fairlead.adapters.ipvs.constants import FWD_MASK, CmdAttr, DestAttr
from fairlead.adapters.ipvs.decode import Buffer, Message
from fairlead.model.ipvs import AddressFamily, IpvsDest

_FIELDS: tuple[tuple[DestAttr, str, int], ...] = (
    (DestAttr.ADDR, "16s", 16),
    (DestAttr.PORT, "2s", 2),
    (DestAttr.FWD_METHOD, "I", 4),
    (DestAttr.WEIGHT, "I", 4),
    (DestAttr.TUN_TYPE, "B", 1),
    (DestAttr.TUN_PORT, "2s", 2),
    (DestAttr.TUN_FLAGS, "H", 2),
    (DestAttr.U_THRESH, "I", 4),
    (DestAttr.L_THRESH, "I", 4),
    (DestAttr.ADDR_FAMILY, "H", 2),
)
_MOST_LAYOUTS = 64
"""Shapes that are worth remembering; a kernel has one or eight."""


class Layout(NamedTuple):
    """Where the values stand, and the headers that must stand between them."""

    values: Struct
    headers: Struct
    expected: tuple[int, ...]


class DestDecoder:
    """Decodes real servers; remembers layouts. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, int], Layout] = {}

    def decode(
        self, buffer: Buffer, message: Message, family: int = AddressFamily.INET
    ) -> IpvsDest:
        """The same value that `decode.dest` gives, or its error."""
        start = message.start
        shape = (message.end - start, start & 7)
        layout = self._layouts.get(shape)
        if layout is None or layout.headers.unpack_from(buffer, start) != layout.expected:
            value = decode.dest(buffer, message, family)
            if layout is None and len(self._layouts) < _MOST_LAYOUTS:
                learned = learn(buffer, message)
                if learned is not None:
                    self._layouts[shape] = learned
            return value
        (address, port, method, weight, t_type, t_port, t_flags, upper, lower, own) = (
            layout.values.unpack_from(buffer, start)
        )
        if own == 2:
            address = address[:4]
        elif own != 10:
            return decode.dest(buffer, message, family)
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


def learn(buffer: Buffer, message: Message) -> Layout | None:
    """Layout of a message, None where it has not all fields of full size in the usual order."""
    start = message.start
    outer = decode.attributes(buffer, start + decode.PAYLOAD, message.end)
    span = outer.get(CmdAttr.DEST)
    if span is None or len(outer) != 1:
        return None
    found = decode.attributes(buffer, *span)
    values: list[tuple[int, str, int]] = []
    for kind, code, size in _FIELDS:
        at = found.get(kind)
        if at is None or at[1] - at[0] != size:
            return None
        values.append((at[0] - start, code, size))
    if values != sorted(values):
        return None
    places = [span[0] - 4 - start, *(at[0] - 4 - start for at in found.values())]
    headers = _skipping([(place, "I", 4) for place in sorted(places)])
    return Layout(_skipping(values), headers, headers.unpack_from(buffer, start))


def _skipping(fields: list[tuple[int, str, int]]) -> Struct:
    """A struct of (offset, code, size) fields with the bytes between them skipped."""
    text, position = "=", 0
    for offset, code, size in fields:
        text += f"{offset - position}x{code}"
        position = offset + size
    return Struct(text)
