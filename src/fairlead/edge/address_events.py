# SPDX-License-Identifier: Apache-2.0
"""Wake-up calls when addresses of this machine change (rtnetlink multicast, rtnetlink(7)).

Only the fact is used, never the message: whoever is woken reads the addresses anew.
"""

import errno
import socket

_NETLINK_ROUTE = 0
_RTMGRP_IPV4_IFADDR = 0x10
_RTMGRP_IPV6_IFADDR = 0x100


class AddressEvents:
    """A pollable source of wake-up calls."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._socket.bind((0, _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))

    def fileno(self) -> int:
        """For poll(2)."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Forget the calls so far; whether there were any."""
        called = False
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return called
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # an overflow is just one more call
                    raise
            called = True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
