# SPDX-License-Identifier: Apache-2.0
"""Writes to the cluster that may fail: told once in the log, tried again where that has a point."""

import logging
from collections.abc import Callable, Collection

import msgspec

from fairlead.cluster.client import ApiError, ApiUnavailableError


class Attempts:
    """Runs actions for one writer; the same trouble is logged once.

    Args:
        log: Of the writer.
        what: What it writes, in words.
        final: HTTP statuses that the next try would get again.

    Attributes:
        complaint: The last trouble, "" before the first.
    """

    def __init__(self, log: logging.Logger, what: str, final: Collection[int]) -> None:
        self._log, self._what, self._final = log, what, final
        self.complaint = ""

    def attempt(self, action: Callable[[], bool | None]) -> bool:
        """True when done, or when trying again before the next resync would be pointless.

        An action that returns False asks to be tried again.
        """
        try:
            return action() is not False
        except ApiError as error:
            self.complain(error)
            return error.status in self._final
        except (ApiUnavailableError, msgspec.MsgspecError) as error:
            self.complain(error)
            return False

    def complain(self, error: Exception) -> None:
        """Log what went wrong, unless it is what went wrong before."""
        if str(error) != self.complaint:
            self._log.warning("%s: %s", self._what, error)
        self.complaint = str(error)
