# SPDX-License-Identifier: Apache-2.0
"""The edge's lock, shared by the threads of the agent.

Towards playbooks the agent is one writer. Inside it, the main loop changes IPVS while another
thread may be writing keepalived's file, which takes a tenth of a second with validation: weights
must not wait for that, and the two touch different things, so they hold the lock together.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fairlead.adapters.lock import edge_lock


class SharedEdgeLock:
    """Taken by the first thread that needs it, released by the last."""

    def __init__(self, path: Path, timeout: float = 5.0) -> None:
        """Use the lock file at `path`; wait `timeout` seconds for other processes."""
        self._path, self._timeout = path, timeout
        self._mutex = threading.Lock()
        self._holders = 0
        self._held = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            LockTimeoutError: Another process kept it.
        """
        with self._mutex:
            if self._holders == 0:
                self._held.enter_context(edge_lock(self._path, self._timeout))
            self._holders += 1
        try:
            yield
        finally:
            with self._mutex:
                self._holders -= 1
                if self._holders == 0:
                    self._held.close()
