# SPDX-License-Identifier: Apache-2.0
"""Waiting for a state by looking, with a deadline."""

import time
from collections.abc import Callable

from fairlead_lab.process import ProcessError


def wait_until(what: str, reached: Callable[[], bool], timeout: float, every: float = 0.05) -> None:
    """Poll until `reached` says so.

    Raises:
        ProcessError: `timeout` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > deadline:
            raise ProcessError(f"{what}: not there within {timeout:.0f} s")
        time.sleep(every)
