# SPDX-License-Identifier: Apache-2.0
"""One benchmark as a program of its own: bounded in time, and ended in a way that it can clean up.

Namespaces and guests outlive a program that is killed, so a benchmark that must end is told so by
one SIGTERM, which it takes as an exception (`ends_cleanly`), and has a minute to remove what it
made. It has a session of its own: Ctrl-C reaches the runner alone, which then tells it once.
"""

import argparse
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import Figure, table

ROOT = Path(__file__).resolve().parent.parent
OUT_OF_TIME = 124
FAREWELL_SECONDS = 60.0


class Report(msgspec.Struct, frozen=True):
    """What a benchmark hands back: figures for the table, and all that it measured."""

    figures: tuple[Figure, ...]
    details: dict[str, Any]


def ends_cleanly() -> None:
    """Let a SIGTERM unwind this program, so that every `finally` is reached; the first one only."""

    def leave(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


def run_bounded(
    argv: Sequence[str], *, limit: float, cwd: Path = ROOT, farewell: float = FAREWELL_SECONDS
) -> int:
    """Run a program with its output on screen; its exit status, 124 when its time was over.

    Args:
        argv: The program.
        limit: Seconds after which it is told to end.
        cwd: Where it runs.
        farewell: Seconds that it then has for cleaning up, before it is killed.
    """
    child = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return OUT_OF_TIME
    finally:
        _end(child, farewell)


def _end(child: "subprocess.Popen[bytes]", farewell: float) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(farewell)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def write(report: Report, target: Path | None) -> None:
    """Print a benchmark's figures when it runs alone; otherwise leave them where it was told to."""
    if target is None:
        print(f"\n{table(report.figures)}")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def read(target: Path) -> Report:
    """What `write` left.

    Raises:
        OSError, msgspec.MsgspecError: Nothing, or something else.
    """
    return msgspec.json.decode(target.read_bytes(), type=Report)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    return made
