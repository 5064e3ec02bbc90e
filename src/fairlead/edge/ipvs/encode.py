# SPDX-License-Identifier: Apache-2.0
"""Values -> bytes of IPVS requests. No socket: what is returned can be compared to a capture.

A body is the generic netlink header and the attributes; `frame` puts the netlink header before it.
Attribute order and widths are ipvsadm's (libipvs.c, `ipvs_nl_fill_service_attr` and
`ipvs_nl_fill_dest_attr`), except that a request about a real server names its virtual server by key
alone, which is all that the kernel reads there. One precompiled struct per message: attribute by
attribute costs eight times as much.
"""

from struct import Struct
from typing import Final

from fairlead.edge.ipvs.constants import (
    CTRL_ATTR_FAMILY_NAME,
    CTRL_CMD_GETFAMILY,
    GENL_VERSION,
    NLA_F_NESTED,
    Cmd,
    CmdAttr,
    DestAttr,
    SvcAttr,
)
from fairlead.model.ipvs import (
    AddressFamily,
    IpvsDest,
    IpvsService,
    ServiceKey,
)

HEADER: Final = Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port id."""

GENL: Final = Struct("=BBH")
"""genlmsghdr: command, version, reserved."""

_ATTR = Struct("=HH")
_U16 = Struct("=HHHxx")
_U32 = Struct("=HHI")
_GENL_BYTES = {int(cmd): GENL.pack(cmd, GENL_VERSION, 0) for cmd in Cmd}

# SERVICE { AF u16, PROTOCOL u16, ADDR 16 bytes, PORT be16 }
_SVC_KEY = Struct("=HHHxx HHHxx HH16s HH2sxx")

# DEST { ADDR_FAMILY, ADDR, PORT, FWD_METHOD, WEIGHT, TUN_TYPE, TUN_PORT, TUN_FLAGS, U_, L_THRESH }
_DEST = Struct("=4s 4sHxx 4s16s 4s2sxx 4sI 4sI 4sBxxx 4s2sxx 4sHxx 4sI 4sI")
_DEST_KEY = Struct("=4s 4sHxx 4s16s 4s2sxx")


def _head(length: int, kind: int) -> bytes:
    return _ATTR.pack(length, kind)


_D_NEST = _head(_DEST.size, CmdAttr.DEST | NLA_F_NESTED)
_D_KEY_NEST = _head(_DEST_KEY.size, CmdAttr.DEST | NLA_F_NESTED)
_D_AF = _head(6, DestAttr.ADDR_FAMILY)
_D_ADDR = _head(20, DestAttr.ADDR)
_D_PORT = _head(6, DestAttr.PORT)
_D_FWD = _head(8, DestAttr.FWD_METHOD)
_D_WEIGHT = _head(8, DestAttr.WEIGHT)
_D_TTYPE = _head(5, DestAttr.TUN_TYPE)
_D_TPORT = _head(6, DestAttr.TUN_PORT)
_D_TFLAGS = _head(6, DestAttr.TUN_FLAGS)
_D_UPPER = _head(8, DestAttr.U_THRESH)
_D_LOWER = _head(8, DestAttr.L_THRESH)


def frame(body: bytes, kind: int, flags: int, seq: int) -> bytes:
    """A whole netlink message; `kind` is the family's number."""
    return HEADER.pack(16 + len(body), kind, flags, seq, 0) + body


def get_family(name: str) -> bytes:
    """Body that asks the controller for the number of a generic netlink family."""
    return GENL.pack(CTRL_CMD_GETFAMILY, 1, 0) + _string(CTRL_ATTR_FAMILY_NAME, name)


def command(cmd: Cmd) -> bytes:
    """Body without attributes: flush, dumps of services, info."""
    return _GENL_BYTES[cmd]


def service_key(key: ServiceKey) -> bytes:
    """The SERVICE attribute that names a virtual server."""
    return _nest(CmdAttr.SERVICE, _key_attrs(key))


def service_request(cmd: Cmd, key: ServiceKey) -> bytes:
    """Body about one virtual server named by key: delete, get, zero, dump of its real servers."""
    return _GENL_BYTES[cmd] + service_key(key)


def service(cmd: Cmd, value: IpvsService) -> bytes:
    """Body of NEW_SERVICE or SET_SERVICE.

    The netmask is a be32 mask for IPv4 and, in the same field, a prefix length in host order for
    IPv6; the kernel refuses an IPv6 service without it (`ip_vs_add_service`).
    """
    key = value.key
    attrs = _key_attrs(key) + _string(SvcAttr.SCHED_NAME, value.scheduler)
    if value.engine:
        attrs += _string(SvcAttr.PE_NAME, value.engine)
    if key.family == AddressFamily.INET:
        mask = ((0xFFFFFFFF << (32 - value.prefix)) & 0xFFFFFFFF).to_bytes(4, "big")
    else:
        mask = Struct("=I").pack(value.prefix)
    attrs += (
        Struct("=HHII").pack(12, SvcAttr.FLAGS, value.flags, 0xFFFFFFFF)
        + _U32.pack(8, SvcAttr.TIMEOUT, value.timeout)
        + _ATTR.pack(8, SvcAttr.NETMASK)
        + mask
    )
    return _GENL_BYTES[cmd] + _nest(CmdAttr.SERVICE, attrs)


def dest_attr(value: IpvsDest) -> bytes:
    """The DEST attribute with everything: a SET_DEST resets what it does not name."""
    address = value.address
    return _DEST.pack(
        _D_NEST,
        _D_AF,
        2 if len(address) == 4 else 10,
        _D_ADDR,
        address,
        _D_PORT,
        value.port.to_bytes(2, "big"),
        _D_FWD,
        value.method,
        _D_WEIGHT,
        value.weight,
        _D_TTYPE,
        value.tunnel_type,
        _D_TPORT,
        value.tunnel_port.to_bytes(2, "big"),
        _D_TFLAGS,
        value.tunnel_flags,
        _D_UPPER,
        value.upper,
        _D_LOWER,
        value.lower,
    )


def dest_key_attr(value: IpvsDest) -> bytes:
    """The DEST attribute that names a real server, for DEL_DEST."""
    address = value.address
    family = 2 if len(address) == 4 else 10
    port = value.port.to_bytes(2, "big")
    return _DEST_KEY.pack(_D_KEY_NEST, _D_AF, family, _D_ADDR, address, _D_PORT, port)


def dest_prefix(cmd: Cmd, key: ServiceKey) -> bytes:
    """Everything of a request about a real server that comes before its DEST attribute.

    Callers that send many real servers of one virtual server keep it.
    """
    return _GENL_BYTES[cmd] + service_key(key)


def _key_attrs(key: ServiceKey) -> bytes:
    if key.fwmark:
        return _U16.pack(6, SvcAttr.AF, key.family) + _U32.pack(8, SvcAttr.FWMARK, key.fwmark)
    return _SVC_KEY.pack(
        6,
        SvcAttr.AF,
        key.family,
        6,
        SvcAttr.PROTOCOL,
        key.protocol,
        20,
        SvcAttr.ADDR,
        key.address,
        6,
        SvcAttr.PORT,
        key.port.to_bytes(2, "big"),
    )


def _nest(kind: int, attrs: bytes) -> bytes:
    return _ATTR.pack(4 + len(attrs), kind | NLA_F_NESTED) + attrs


def _string(kind: int, text: str) -> bytes:
    # Names are not judged here: an odd one is refused by the kernel, for its own message alone.
    raw = text.encode(errors="replace") + b"\0"
    return _ATTR.pack(4 + len(raw), kind) + raw + bytes(-len(raw) % 4)
