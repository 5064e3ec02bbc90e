# SPDX-License-Identifier: Apache-2.0
"""The edge's lock: whoever changes IPVS, addresses or rendered files holds it, one at a time.

`flock` on a file that stays: the kernel releases it when its holder dies, however it dies. The
holder's pid is written into the file for the error of whoever waits in vain.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fairlead.model.errors import FairleadError

EDGE_LOCK: Final = Path("/run/fairlead/edge.lock")
_POLL_SECONDS = 0.02


class LockTimeoutError(FairleadError):
    """Somebody else held the edge's lock for the whole wait."""


@contextmanager
def edge_lock(path: Path = EDGE_LOCK, timeout: float = 30.0) -> Iterator[None]:
    """Hold the edge's lock during the body.

    Args:
        path: The lock file; made with its directory where absent.
        timeout: Seconds to wait; 0 tries once.

    Raises:
        LockTimeoutError: Names the holder's pid and command.
        FairleadError: The file cannot be opened.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, timeout)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    except OSError as error:
        raise FairleadError(
            f"lock {path}: {error.strerror}; run as root or as the agent's user"
        ) from error
    with suppress(PermissionError):  # the agent's group must be able to take what root has made
        os.fchown(descriptor, -1, path.parent.stat().st_gid)
        os.fchmod(descriptor, 0o660)
    return descriptor


def _acquire(descriptor: int, path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockTimeoutError(_message(descriptor, path, timeout)) from None
            time.sleep(_POLL_SECONDS)
        else:
            return


def _message(descriptor: int, path: Path, timeout: float) -> str:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    holder = "another process"
    if text.isdecimal():
        holder = f"process {text}"
        with suppress(OSError):
            raw = Path(f"/proc/{text}/cmdline").read_bytes()
            holder += f" ({raw.replace(bytes(1), b' ').decode('utf-8', 'replace').strip()[:120]})"
    return (
        f"the edge is being changed by {holder}, which held {path} for all of {timeout:g} s; "
        "try again when it has finished, or look what it waits for"
    )
