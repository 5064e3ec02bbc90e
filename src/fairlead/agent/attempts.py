# SPDX-License-Identifier: Apache-2.0
"""Writes to the cluster that may fail: which are worth another try, and what the log says of it.

The one place where answers of the API server are judged for all writers.
"""

import logging
from collections.abc import Callable
from enum import Enum

import msgspec

from fairlead.cluster.client import ApiError, ApiUnavailableError

# Answers that the same request would get again: not acceptable, no right (an older account, or a
# namespace that is being deleted), gone or not served, too large.
_FINAL = frozenset({400, 403, 404, 405, 410, 413, 415, 422})
_CONFLICT = 409
# Answers that say nothing of the object: who we are is not known (any more), too many requests.
_UNAVAILABLE = frozenset({401, 429})
_REMEMBERED = 1000


class Outcome(Enum):
    """What became of a write."""

    DONE = "done"
    FINAL = "the same request would get the same answer"
    CONFLICT = "the object changed meanwhile"
    RETRY = "this object could not be written"
    UNAVAILABLE = "nothing can be written"


class Attempts:
    """Runs actions for one writer; the same trouble is logged once.

    Args:
        log: Of the writer.
        what: What it writes, in words.

    Attributes:
        error: Why the last action failed, "" where it went well.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log, self._what = log, what
        self._logged: set[str] = set()
        self._before: set[str] = set()
        self.error = ""

    def outcome(self, action: Callable[[], object]) -> Outcome:
        """Run an action; every failure of a request becomes an outcome."""
        try:
            action()
        except (ApiError, ApiUnavailableError, msgspec.MsgspecError) as error:
            return self._failed(error)
        self.error = ""
        return Outcome.DONE

    def one_of_many(self, action: Callable[[], object]) -> bool:
        """Write one object of a pass; False where it must be done again.

        What concerns this object alone is logged and must not hold up the others.

        Raises:
            ApiError, ApiUnavailableError, MsgspecError: The whole pass must be done again.
        """
        try:
            action()
        except ApiError as error:
            if _judge(error) in (Outcome.RETRY, Outcome.UNAVAILABLE):
                raise
            return self._failed(error) is not Outcome.CONFLICT
        return True

    def whole_pass(self, work: Callable[[], bool | None]) -> bool:
        """True when done, or when another try before the next resync would be pointless.

        Work that returns False asks to be done again. Trouble that the last pass had, too, is not
        logged again.
        """
        self._before, self._logged = self._logged, set()
        try:
            return work() is not False
        except (ApiError, ApiUnavailableError, msgspec.MsgspecError) as error:
            return self._failed(error) is Outcome.FINAL
        finally:
            self._before = set()

    def all_well(self) -> None:
        """Nothing is left to write: trouble that comes now is news."""
        self._logged.clear()

    def _failed(self, error: Exception) -> Outcome:
        """Judge and log a failure."""
        outcome = _judge(error)
        text = self.error = str(error)
        if text not in self._logged | self._before:
            gone = isinstance(error, ApiError) and error.status == 404
            level = logging.DEBUG if gone or outcome is Outcome.CONFLICT else logging.WARNING
            self._log.log(level, "%s: %s", self._what, error)
        if len(self._logged) >= _REMEMBERED:
            self._logged.clear()
        self._logged.add(text)
        return outcome


def _judge(error: Exception) -> Outcome:
    if isinstance(error, ApiUnavailableError):
        return Outcome.UNAVAILABLE
    if not isinstance(error, ApiError):
        return Outcome.RETRY
    if error.status in _FINAL:
        return Outcome.FINAL
    if error.status == _CONFLICT:
        return Outcome.CONFLICT
    return Outcome.UNAVAILABLE if error.status in _UNAVAILABLE else Outcome.RETRY
