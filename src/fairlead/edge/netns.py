# SPDX-License-Identifier: Apache-2.0
"""Entering a network namespace for as long as it takes to open a socket there."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fairlead.model.errors import FairleadError

_CLONE_NEWNET = 0x40000000


@contextmanager
def entered(netns: str | None) -> Iterator[None]:
    """Run the body in a network namespace; sockets opened there stay there.

    Only this thread moves (`setns` is by thread; `os.setns` exists from Python 3.12 on).

    Args:
        netns: Name below /run/netns, or a path such as /proc/1/ns/net; None for our own.

    Raises:
        FairleadError: No such namespace, or not permitted.
    """
    if netns is None:
        yield
        return
    path = netns if "/" in netns else f"/run/netns/{netns}"
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FairleadError(f"network namespace {netns}: {error.strerror}") from error
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target, netns)
        try:
            yield
        finally:
            _setns(home, "of this process")
    finally:
        os.close(target)
        os.close(home)


def _setns(descriptor: int, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise FairleadError(f"network namespace {name}: {os.strerror(code)}")
