# SPDX-License-Identifier: Apache-2.0
"""Numbers of the IPVS generic netlink interface and of netlink itself.

Sources: include/uapi/linux/ip_vs.h, netlink.h, genetlink.h of Linux 6.1.
"""

from enum import IntEnum
from typing import Final

GENL_NAME: Final = "IPVS"
GENL_VERSION: Final = 1

# nlmsghdr.nlmsg_type, netlink.h
NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NLMSG_MIN_TYPE: Final = 0x10  # below it, netlink's own messages

# nlmsghdr.nlmsg_flags
NLM_F_REQUEST: Final = 0x01
NLM_F_MULTI: Final = 0x02
NLM_F_ACK: Final = 0x04
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLMSGERR_ATTR_MSG: Final = 1

NLA_TYPE_MASK: Final = 0x3FFF
NLA_F_NESTED: Final = 0x8000

NETLINK_GENERIC: Final = 16

# setsockopt
SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11

# genetlink.h: the controller that resolves family names
GENL_ID_CTRL: Final = 0x10
CTRL_CMD_GETFAMILY: Final = 3
CTRL_ATTR_FAMILY_ID: Final = 1
CTRL_ATTR_FAMILY_NAME: Final = 2


class Cmd(IntEnum):
    """IPVS_CMD_*."""

    NEW_SERVICE = 1
    SET_SERVICE = 2
    DEL_SERVICE = 3
    GET_SERVICE = 4
    NEW_DEST = 5
    SET_DEST = 6
    DEL_DEST = 7
    GET_DEST = 8
    NEW_DAEMON = 9
    DEL_DAEMON = 10
    GET_DAEMON = 11
    SET_CONFIG = 12
    GET_CONFIG = 13
    SET_INFO = 14
    GET_INFO = 15
    ZERO = 16
    FLUSH = 17


class CmdAttr(IntEnum):
    """IPVS_CMD_ATTR_*: top level of a message."""

    SERVICE = 1
    DEST = 2


class SvcAttr(IntEnum):
    """IPVS_SVC_ATTR_*."""

    AF = 1
    PROTOCOL = 2
    ADDR = 3
    PORT = 4
    FWMARK = 5
    SCHED_NAME = 6
    FLAGS = 7
    TIMEOUT = 8
    NETMASK = 9
    STATS = 10
    PE_NAME = 11
    STATS64 = 12


class DestAttr(IntEnum):
    """IPVS_DEST_ATTR_*."""

    ADDR = 1
    PORT = 2
    FWD_METHOD = 3
    WEIGHT = 4
    U_THRESH = 5
    L_THRESH = 6
    ACTIVE_CONNS = 7
    INACT_CONNS = 8
    PERSIST_CONNS = 9
    STATS = 10
    ADDR_FAMILY = 11
    STATS64 = 12
    TUN_TYPE = 13
    TUN_PORT = 14
    TUN_FLAGS = 15


class StatsAttr(IntEnum):
    """IPVS_STATS_ATTR_*; PAD aligns 64-bit values on machines that need it."""

    CONNS = 1
    INPKTS = 2
    OUTPKTS = 3
    INBYTES = 4
    OUTBYTES = 5
    CPS = 6
    INPPS = 7
    OUTPPS = 8
    INBPS = 9
    OUTBPS = 10
    PAD = 11


class InfoAttr(IntEnum):
    """IPVS_INFO_ATTR_*."""

    VERSION = 1
    CONN_TAB_SIZE = 2


FWD_MASK: Final = 0x0007
"""IP_VS_CONN_F_FWD_MASK: the bits of FWD_METHOD that tell the method."""
