# SPDX-License-Identifier: Apache-2.0
"""The edge's lock, shared by the threads of the agent.

Towards playbooks the agent is one writer. Inside it, the main loop changes IPVS while another
thread may be writing keepalived's file, which takes a tenth of a second with validation: weights
must not wait for that, and the two touch different things, so they hold the lock together.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fairlead.edge.lock import edge_lock


class SharedEdgeLock:
    """Taken by the first thread that needs it, released by the last.

    The file stays open between takings: on the way from an event to the kernel the free lock costs
    three system calls. Only when another process holds it, the waiting kind of `edge_lock` is used.
    """

    def __init__(self, path: Path, timeout: float = 5.0) -> None:
        """Use the lock file at `path`; wait `timeout` seconds for other processes."""
        self._path, self._timeout = path, timeout
        self._mutex = threading.Lock()
        self._holders = 0
        self._descriptor: int | None = None
        self._waited = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            LockTimeoutError: Another process kept it.
            FairleadError: The lock file can't be opened.
        """
        with self._mutex:
            if self._holders == 0:
                self._take()
            self._holders += 1
        try:
            yield
        finally:
            with self._mutex:
                self._holders -= 1
                if self._holders == 0:
                    self._release()

    def _take(self) -> None:
        # A file that somebody removed can be locked for ever without keeping anybody out.
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        # The first time (it makes the file, with the right owner), and when somebody holds it.
        self._waited.enter_context(edge_lock(self._path, self._timeout))
        self._forget()
        with suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def _release(self) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._waited.close()

    def _forget(self) -> None:
        """Another file may stand at the path by now."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
