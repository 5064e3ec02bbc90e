# SPDX-License-Identifier: Apache-2.0
"""What the lab is doing and how long it took, one line when a step starts and one when it ends.

Several threads may be at work: whole lines only, and every line names its step. All of it goes to
standard error, so that the output of verbs stays machine-readable.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_lock = threading.Lock()
_began = time.monotonic()


def say(text: str) -> None:
    """Print one line with the time since the command began."""
    with _lock:
        print(f"[{time.monotonic() - _began:6.1f}] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(text: str, *, every: float = 15.0) -> Iterator[None]:
    """Announce a step, say every `every` seconds that it goes on, and how long it took."""
    began = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(every):
            say(f"... {text}: {time.monotonic() - began:.0f} s so far")

    reminder = threading.Thread(target=remind, daemon=True)
    say(f"    {text}")
    reminder.start()
    try:
        yield
    except BaseException:
        done.set()
        say(f"!!! {text}: failed after {time.monotonic() - began:.1f} s")
        raise
    else:
        done.set()
        say(f"ok  {text} ({time.monotonic() - began:.1f} s)")
    finally:
        reminder.join()
