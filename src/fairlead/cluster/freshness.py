# SPDX-License-Identifier: Apache-2.0
"""Whether the agent knows the cluster as it is: each watch lives, and was heard of not long ago.

Pure. A watch that fails says so at once. One that only keeps silent is believed for a while, since
a kind that does not change has bookmarks alone to tell of it, about one a minute (API concepts,
"Watch bookmarks", kubernetes.io); a right that is gone shows when the watch is opened anew, which
is within the same time (`watch.WATCH_SECONDS`).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from fairlead.cluster.watch import SILENCE_SECONDS, WatchState

LIMIT_SECONDS: Final = SILENCE_SECONDS
"""How old the last word of a kind may be."""


class StaleWatch(msgspec.Struct, frozen=True):
    """A kind that may have changed without our knowing.

    Attributes:
        seconds: For how long.
        why: A sentence without a full stop, e.g. the API server's answer.
    """

    kind: str
    seconds: float
    why: str


def stale(
    watches: Iterable[WatchState], now: float, *, limit: float = LIMIT_SECONDS
) -> tuple[StaleWatch, ...]:
    """The kinds of which the present state is not known, in the order of the watches.

    Nothing is in step while there are any. A kind that is not served, or refused from the start, is
    known to be empty for us and looked for again and again: it is stale only when that stops.

    Args:
        watches: State of every kind that a plan is made from.
        now: Monotonic seconds, of the clock of the watches.
        limit: Seconds for which silence is believed.
    """
    found = ((watch.kind, _why(watch, now, limit)) for watch in watches)
    return tuple(StaleWatch(kind, *known) for kind, known in found if known)


def _why(watch: WatchState, now: float, limit: float) -> tuple[float, str] | None:
    if not watch.listed:
        return now - watch.started, watch.last_error or "not listed yet"
    if watch.failing_since is not None:
        return now - watch.failing_since, watch.last_error
    silence = now - watch.last_word
    if silence > limit:
        return silence, f"the API server has kept silent for more than {limit:g} s"
    return None
