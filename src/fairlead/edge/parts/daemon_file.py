# SPDX-License-Identifier: Apache-2.0
"""A daemon's file as it is now: its text, and whether the daemon has read it."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fairlead.edge.parts.part import Difference
from fairlead.model.errors import ApplyError


@dataclass(frozen=True)
class DaemonFile:
    """What stands on disk, and what the daemon was told to load.

    Attributes:
        text: None where there is no file.
        running: Whether the daemon runs; one that starts later reads the file by itself.
        loaded: Digest of the text that it was told to load last, "" for none.
    """

    text: str | None
    running: bool
    loaded: str

    def differs(self, wanted: str) -> bool:
        """Whether a text has to be written or to be loaded."""
        return self.text != wanted or (self.running and self.loaded != digest(wanted))


@dataclass(frozen=True)
class FileDifference(Difference):
    """A text to be written and loaded; `before` and `after` show no secrets."""

    text: str = ""


def read_text(path: Path) -> str | None:
    """A file's text, None where there is none; raises `ApplyError`."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ApplyError(f"{path}: can't be read: {error.strerror}") from error


def digest(text: str) -> str:
    """What a mark says of a text."""
    return sha256(text.encode()).hexdigest()
