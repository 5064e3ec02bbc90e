# SPDX-License-Identifier: Apache-2.0
"""What BIRD tells, read for tests."""

import datetime as dt

MOMENT = 0.005
"""Seconds by which two answers about one moment may differ: BIRD keeps monotonic time and adds the
offset to the wall clock anew each time it is asked."""


def up_since(protocols: str, name: str) -> float:
    """Seconds since midnight at which a protocol reached its state, from `show protocols`."""
    rows = [line.split() for line in protocols.splitlines()]
    text = next(row[4] for row in rows if row and row[0] == name)
    at = dt.time.fromisoformat(text)
    return at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6
