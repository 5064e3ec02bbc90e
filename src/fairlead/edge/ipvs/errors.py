# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between us and the kernel's IPVS, in sentences."""

import errno
import os

from fairlead.model.errors import FairleadError


class DecodeError(FairleadError):
    """Bytes that are no message of the kernel's: nothing was concluded from them."""


class IpvsUnavailableError(FairleadError):
    """The running kernel has no IPVS."""


class IpvsPermissionError(FairleadError):
    """The process may not read or change IPVS."""


class IpvsRequestError(FairleadError):
    """The kernel refused one request.

    Attributes:
        code: Its errno.
    """

    def __init__(self, what: str, code: int, detail: str = "") -> None:
        super().__init__(f"IPVS: {what}: {explain(code, detail)}")
        self.code = code


class NoAnswerError(FairleadError):
    """The kernel gave no answer, as it does where a request ended in EINTR (`netlink_rcv_skb`)."""


class RepliesLostError(FairleadError):
    """The socket's receive buffer overflowed: what the kernel answered is not known."""


_MEANINGS = {
    errno.EEXIST: "it exists already: someone else made it meanwhile",
    errno.ESRCH: "there is no such virtual server (any more)",
    errno.ENOENT: "there is no such real server, or the scheduler's module is not loaded "
    "(`modprobe ip_vs_mh`, or the name in the error)",
    errno.EINVAL: "the kernel does not accept these values",
    errno.EPERM: "not permitted: run as root or with CAP_NET_ADMIN",
    errno.ENOMEM: "the kernel is out of memory",
    errno.EAFNOSUPPORT: "this kernel's IPVS has no IPv6",
}


def explain(code: int, detail: str = "") -> str:
    """An errno in words that fit IPVS, with the kernel's own text where it gave one."""
    name = errno.errorcode.get(code, str(code))
    text = _MEANINGS.get(code, os.strerror(code))
    return f"{text} ({name}{f': {detail}' if detail else ''})"
