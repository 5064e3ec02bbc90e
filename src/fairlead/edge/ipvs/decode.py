# SPDX-License-Identifier: Apache-2.0
"""Bytes of IPVS replies -> values, by walking attributes: slow, general, the truth.

Every function takes a buffer and bounds and reads nothing outside of them. Whatever the bytes are,
the outcome is a value or a `DecodeError`, and each step of a walk goes forward.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from fairlead.edge.ipvs.constants import (
    CTRL_ATTR_FAMILY_ID,
    FWD_MASK,
    NLA_TYPE_MASK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSGERR_ATTR_MSG,
    CmdAttr,
    DestAttr,
    InfoAttr,
    StatsAttr,
    SvcAttr,
)
from fairlead.edge.ipvs.errors import DecodeError
from fairlead.model.ipvs import (
    AddressFamily,
    Counters,
    DestStatus,
    IpvsDest,
    IpvsInfo,
    IpvsService,
    ServiceFlag,
    ServiceKey,
    ServiceStatus,
)

Buffer = bytes | bytearray | memoryview
Span = tuple[int, int]
"""Start and end of an attribute's value in the buffer."""

_HEADER = Struct("=IHHI")
_ATTR = Struct("=HH")
_U8 = Struct("=B")
_U16 = Struct("=H")
_BE16 = Struct(">H")
_U32 = Struct("=I")
_S32 = Struct("=i")
_U64 = Struct("=Q")

PAYLOAD: Final = 20
"""Netlink and generic netlink header: where a message's attributes begin."""


class Message(NamedTuple):
    """A netlink message by its place in a buffer."""

    kind: int
    flags: int
    seq: int
    start: int
    end: int


def messages(buffer: Buffer, size: int, start: int = 0) -> Iterator[Message]:
    """The messages of one datagram of `size` bytes."""
    while start < size:
        if size - start < 16:
            raise DecodeError(f"netlink: {size - start} bytes behind the last message")
        length, kind, flags, seq = _HEADER.unpack_from(buffer, start)
        if length < 16 or length > size - start:
            raise DecodeError(f"netlink: message of {length} bytes in {size - start}")
        yield Message(kind, flags, seq, start, start + length)
        start += (length + 3) & ~3


def attributes(buffer: Buffer, start: int, end: int) -> dict[int, Span]:
    """The attributes between two places; of a repeated one the last counts, as in the kernel."""
    found: dict[int, Span] = {}
    while end - start >= 4:
        length, kind = _ATTR.unpack_from(buffer, start)
        if length < 4 or length > end - start:
            raise DecodeError(f"netlink: attribute of {length} bytes in {end - start}")
        found[kind & NLA_TYPE_MASK] = (start + 4, start + length)
        start += (length + 3) & ~3
    return found


def error_code(buffer: Buffer, message: Message) -> tuple[int, str]:
    """Errno (0 for an acknowledgement) and the kernel's text of an NLMSG_ERROR."""
    start = message.start + 16
    code = -_number(buffer, (start, message.end), _S32, "error")
    if not message.flags & NLM_F_ACK_TLVS:
        return code, ""
    offset = start + 20
    if not message.flags & NLM_F_CAPPED:
        offset = start + 4 + _number(buffer, (start + 4, message.end), _U32, "error")
    if offset > message.end:
        return code, ""
    span = attributes(buffer, offset, message.end).get(NLMSGERR_ATTR_MSG)
    return code, _text(buffer, span) if span else ""


def done_code(buffer: Buffer, message: Message) -> int:
    """Errno with which a dump ended, 0 for a good end."""
    if message.end - message.start < 20:
        return 0
    return -int(_S32.unpack_from(buffer, message.start + 16)[0])


def family_id(buffer: Buffer, message: Message) -> int:
    """Number of a generic netlink family from the controller's answer."""
    found = _payload(buffer, message)
    return _number(buffer, _need(found, CTRL_ATTR_FAMILY_ID, "family id"), _U16, "family id")


def service(buffer: Buffer, message: Message) -> IpvsService:
    """A virtual server from a GET_SERVICE reply."""
    return _service(buffer, _nest(buffer, message, CmdAttr.SERVICE))


def service_status(buffer: Buffer, message: Message) -> ServiceStatus:
    """A virtual server with its counters, without real servers."""
    found = _nest(buffer, message, CmdAttr.SERVICE)
    counters = _counters(buffer, found.get(SvcAttr.STATS64), found.get(SvcAttr.STATS))
    return ServiceStatus(_service(buffer, found), counters)


def dest(buffer: Buffer, message: Message, family: int = AddressFamily.INET) -> IpvsDest:
    """A real server from a GET_DEST reply.

    Args:
        buffer: What was received.
        message: Place of the reply in it.
        family: The virtual server's, for kernels before 3.18, which do not tell the real server's.
    """
    return _dest(buffer, _nest(buffer, message, CmdAttr.DEST), family)


def dest_status(buffer: Buffer, message: Message, family: int = AddressFamily.INET) -> DestStatus:
    """A real server with its connections and counters."""
    found = _nest(buffer, message, CmdAttr.DEST)

    def count(kind: DestAttr) -> int:
        return _number(buffer, _need(found, kind, kind.name), _U32, kind.name)

    return DestStatus(
        _dest(buffer, found, family),
        count(DestAttr.ACTIVE_CONNS),
        count(DestAttr.INACT_CONNS),
        count(DestAttr.PERSIST_CONNS),
        _counters(buffer, found.get(DestAttr.STATS64), found.get(DestAttr.STATS)),
    )


def info(buffer: Buffer, message: Message) -> IpvsInfo:
    """Version and table size from a GET_INFO reply."""
    found = _payload(buffer, message)
    version = _number(buffer, _need(found, InfoAttr.VERSION, "version"), _U32, "version")
    size = _number(buffer, _need(found, InfoAttr.CONN_TAB_SIZE, "table size"), _U32, "table size")
    return IpvsInfo((version >> 16 & 255, version >> 8 & 255, version & 255), size)


def _service(buffer: Buffer, found: dict[int, Span]) -> IpvsService:
    family = _number(buffer, _need(found, SvcAttr.AF, "family"), _U16, "family")
    if family not in (AddressFamily.INET, AddressFamily.INET6):
        raise DecodeError(f"IPVS: virtual server of address family {family}")
    engine = found.get(SvcAttr.PE_NAME)
    flags_at = _need(found, SvcAttr.FLAGS, "flags")
    return IpvsService(
        key=_key(buffer, found, family),
        scheduler=_text(buffer, _need(found, SvcAttr.SCHED_NAME, "scheduler")),
        flags=_number(buffer, flags_at, _U32, "flags") & ~int(ServiceFlag.HASHED),
        timeout=_number(buffer, _need(found, SvcAttr.TIMEOUT, "timeout"), _U32, "timeout"),
        prefix=_prefix(buffer, _need(found, SvcAttr.NETMASK, "netmask"), family),
        engine=_text(buffer, engine) if engine else "",
    )


def _key(buffer: Buffer, found: dict[int, Span], family: int) -> ServiceKey:
    mark = found.get(SvcAttr.FWMARK)
    if mark:
        return ServiceKey(family, 0, b"", 0, _number(buffer, mark, _U32, "fwmark"))
    return ServiceKey(
        family,
        _number(buffer, _need(found, SvcAttr.PROTOCOL, "protocol"), _U16, "protocol"),
        _address(buffer, _need(found, SvcAttr.ADDR, "address"), family),
        _number(buffer, _need(found, SvcAttr.PORT, "port"), _BE16, "port"),
    )


def _prefix(buffer: Buffer, span: Span, family: int) -> int:
    value = _number(buffer, span, _U32, "netmask")
    return value.bit_count() if family == AddressFamily.INET else value


def _dest(buffer: Buffer, found: dict[int, Span], family: int) -> IpvsDest:
    own = found.get(DestAttr.ADDR_FAMILY)
    if own:
        family = _number(buffer, own, _U16, "family")

    def number(kind: DestAttr, layout: Struct) -> int:
        return _number(buffer, _need(found, kind, kind.name), layout, kind.name)

    def optional(kind: DestAttr, layout: Struct) -> int:
        return number(kind, layout) if kind in found else 0

    return IpvsDest(
        _address(buffer, _need(found, DestAttr.ADDR, "address"), family),
        number(DestAttr.PORT, _BE16),
        number(DestAttr.WEIGHT, _U32),
        number(DestAttr.FWD_METHOD, _U32) & FWD_MASK,
        number(DestAttr.U_THRESH, _U32),
        number(DestAttr.L_THRESH, _U32),
        optional(DestAttr.TUN_TYPE, _U8),
        optional(DestAttr.TUN_PORT, _BE16),
        optional(DestAttr.TUN_FLAGS, _U16),
    )


def _counters(buffer: Buffer, wide: Span | None, narrow: Span | None) -> Counters:
    """From STATS64, or from the 32-bit STATS of kernels before 4.1; bytes are 64-bit in both."""
    span = wide or narrow
    if span is None:
        return Counters()
    found = attributes(buffer, *span)
    values = []
    for kind in range(StatsAttr.CONNS, StatsAttr.OUTBPS + 1):
        at = found.get(kind)
        if at is None:
            raise DecodeError(f"IPVS: counters without {StatsAttr(kind).name}")
        values.append(_number(buffer, at, _U64 if at[1] - at[0] >= 8 else _U32, "counter"))
    return Counters(*values)


def _address(buffer: Buffer, span: Span, family: int) -> bytes:
    size = 4 if family == AddressFamily.INET else 16
    if family not in (AddressFamily.INET, AddressFamily.INET6) or span[1] - span[0] < size:
        raise DecodeError(f"IPVS: address of {span[1] - span[0]} bytes, family {family}")
    return bytes(buffer[span[0] : span[0] + size])


def _text(buffer: Buffer, span: Span) -> str:
    raw = bytes(buffer[span[0] : span[1]]).split(b"\0", 1)[0]
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise DecodeError(f"IPVS: name {raw!r} is not ASCII") from error


def _payload(buffer: Buffer, message: Message) -> dict[int, Span]:
    return attributes(buffer, message.start + PAYLOAD, message.end)


def _nest(buffer: Buffer, message: Message, kind: CmdAttr) -> dict[int, Span]:
    return attributes(buffer, *_need(_payload(buffer, message), kind, kind.name))


def _need(found: dict[int, Span], kind: int, name: str) -> Span:
    try:
        return found[kind]
    except KeyError:
        raise DecodeError(f"IPVS: reply without {name.lower()}") from None


def _number(buffer: Buffer, span: Span, layout: Struct, name: str) -> int:
    if span[1] - span[0] < layout.size:
        raise DecodeError(f"IPVS: {name.lower()} of {span[1] - span[0]} bytes")
    return int(layout.unpack_from(buffer, span[0])[0])
