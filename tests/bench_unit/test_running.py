# SPDX-License-Identifier: Apache-2.0
"""A benchmark is bounded in time, and told to end in a way that it can clean up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from bench.figures import Figure
from bench.running import OUT_OF_TIME, ROOT, Report, read, run_bounded, write

CLEANS_UP = """
import sys, time
from pathlib import Path
from bench.running import ends_cleanly
ends_cleanly()
mark = Path(sys.argv[1])
try:
    mark.write_text("made")
    time.sleep(60)
finally:
    time.sleep(0.2)
    mark.unlink()
"""
IS_DEAF = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).write_text("made")
time.sleep(60)
"""
RUNNER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from bench.running import ends_cleanly, run_bounded
ends_cleanly()
run_bounded([sys.executable, "-c", sys.argv[1], sys.argv[2]], limit=60)
"""


def _wait_for(mark: Path) -> None:
    until = time.monotonic() + 20
    while not mark.exists():
        assert time.monotonic() < until, "the program did not start"
        time.sleep(0.02)


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_the_programs(status: int) -> None:
    argv = [sys.executable, "-c", f"raise SystemExit({status})"]
    assert run_bounded(argv, limit=30) == status


def test_out_of_time_it_cleans_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    begun = time.monotonic()
    assert run_bounded([sys.executable, "-c", CLEANS_UP, str(mark)], limit=3) == OUT_OF_TIME
    assert time.monotonic() - begun < 30
    assert not mark.exists()


def test_the_deaf_are_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", IS_DEAF, str(tmp_path / "mark")]
    begun = time.monotonic()
    assert run_bounded(argv, limit=1, farewell=0.2) == OUT_OF_TIME
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_runner_that_is_told_to_end_tells_it_on(tmp_path: Path, number: int) -> None:
    mark = tmp_path / "mark"
    argv = [sys.executable, "-c", RUNNER, CLEANS_UP, str(mark)]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL) as runner:
        _wait_for(mark)
        os.kill(runner.pid, number)
        assert runner.wait(30) != 0
    assert not mark.exists()


def test_a_report_comes_back_as_it_was(tmp_path: Path) -> None:
    report = Report((Figure("one", 1.5, "ms", "1 run", 2.0), Figure("two", 2, "x", "1 run")), {})
    write(report, tmp_path / "deep" / "one.json")
    assert read(tmp_path / "deep" / "one.json") == report


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"figures": [{"what": "one"}], "details": {}}')
    with pytest.raises(msgspec.ValidationError, match="value"):
        read(tmp_path / "one.json")
