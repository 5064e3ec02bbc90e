# SPDX-License-Identifier: Apache-2.0
"""Configuration files of daemons: validated as a candidate, then moved into place atomically.

A file that the daemon's own parser refuses never becomes the live file, and a reader sees either
the whole old text or the whole new one.
"""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fairlead.model.errors import ApplyError, ValidationError

_VALIDATE_SECONDS = 30

Ids = tuple[int, int]
"""User and group id."""


@dataclass(frozen=True)
class FileChange:
    """What a write did, or would do in check mode.

    Attributes:
        before: Text of the live file, "" where there was none.
    """

    path: Path
    changed: bool
    before: str
    after: str


def write_config(
    path: Path,
    text: str,
    *,
    validate: Sequence[str] = (),
    mode: int = 0o640,
    owner: Ids | None = None,
    check: bool = False,
) -> FileChange:
    """Make a file hold a text, after its daemon's parser accepted it.

    Args:
        path: The live file; its directory must exist, except in check mode.
        text: Whole content.
        validate: Argument list of the parser; the candidate's path is put last. A parser that is
            not installed is an error, except in check mode (a bare machine).
        mode: Permission bits.
        owner: User and group id; None keeps whoever runs this.
        check: Report only; the candidate is validated outside the live directory.

    Raises:
        ValidationError: The parser refused the text; the live file is as it was.
        ApplyError: The file could not be read or written.
    """
    before = read_text(path)
    same = before == text and _has_attributes(path, mode, owner)
    change = FileChange(path, not same, before or "", text)
    if same:
        return change
    try:
        if check:
            _validate_only(text, validate, path)
        else:
            _replace(path, text, validate, mode, owner)
    except OSError as error:
        raise ApplyError(f"{path}: {error.strerror}: {error.filename}") from error
    return change


def load_config(
    path: Path,
    text: str,
    tell: Callable[[], bool],
    *,
    mark: Path,
    validate: Sequence[str],
    owner: Ids | None = None,
    mark_owner: Ids | None = None,
    check: bool = False,
) -> FileChange:
    """Make a daemon run a text.

    The mark remembers which text the daemon was told to load, so that a crash between the write and
    the telling is repaired by the next call. A daemon that starts later reads the file by itself.

    Args:
        path: The live file.
        text: Whole content.
        tell: Has a running daemon read its file; False where none runs.
        mark: Holds the digest of what it was told last.
        validate: As for `write_config`.
        owner: User and group of the file; None keeps whoever runs this.
        mark_owner: The same for the mark.
        check: Report only.

    Raises:
        ValidationError: The parser refused the text; the live file is as it was.
        ApplyError: The file could not be written, or what `tell` raises.
    """
    change = write_config(path, text, validate=validate, owner=owner, check=check)
    wanted = digest(text)
    if not check and (change.changed or read_text(mark) != wanted) and tell():
        write_config(mark, wanted, mode=0o644, owner=mark_owner)
    return change


def _has_attributes(path: Path, mode: int, owner: Ids | None) -> bool:
    found = path.stat()
    same_owner = owner is None or (found.st_uid, found.st_gid) == owner
    return stat.S_IMODE(found.st_mode) == mode and same_owner


def _validate_only(text: str, validate: Sequence[str], path: Path) -> None:
    if validate and (complaint := refusal(text, validate, path)):
        raise ValidationError(
            f"{path}: not replaced, {validate[0]} refused the new text: {complaint}"
        )


def _replace(path: Path, text: str, validate: Sequence[str], mode: int, owner: Ids | None) -> None:
    # The leading dot and the random end keep the candidate out of `include *.conf` globs.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    candidate = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if validate:
            _run_validator(validate, candidate, path)
        candidate.replace(path)
    finally:
        candidate.unlink(missing_ok=True)


def refusal(text: str, validate: Sequence[str], path: Path) -> str:
    """What a parser has against a text, "" for nothing, or where there is no parser.

    Args:
        text: Whole content.
        validate: As for `write_config`.
        path: The live file, as it stands in the answer.

    Raises:
        ValidationError: The parser could not run.
    """
    if shutil.which(validate[0]) is None:
        return ""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix=f".{path.name}.") as candidate:
        candidate.write(text)
        candidate.flush()
        return _complaint(validate, Path(candidate.name), path)


def _run_validator(validate: Sequence[str], candidate: Path, path: Path) -> None:
    if complaint := _complaint(validate, candidate, path):
        raise ValidationError(
            f"{path}: not replaced, {validate[0]} refused the new text: {complaint}"
        )


def _complaint(validate: Sequence[str], candidate: Path, path: Path) -> str:
    # Exit statuses differ between versions, so anything but 0 is a refusal.
    try:
        done = subprocess.run(
            [*validate, str(candidate)],
            capture_output=True,
            text=True,
            timeout=_VALIDATE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValidationError(
            f"{path}: not replaced, its parser {validate[0]} could not run: {error}"
        ) from error
    if done.returncode == 0:
        return ""
    said = (done.stderr + done.stdout).replace(str(candidate), str(path)).strip()
    return said or f"status {done.returncode}"


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
