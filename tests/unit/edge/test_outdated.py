# SPDX-License-Identifier: Apache-2.0
"""Whether a daemon runs what stands on disk."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from fairlead.edge import daemons
from fairlead.edge.daemons import AGENT, BIRD, KEEPALIVED, Running, why_outdated


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release that is current, and a file of each daemon that was written at 1000."""
    (tmp_path / "releases/two").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/two")
    monkeypatch.setattr(daemons, "CURRENT", tmp_path / "current")
    files = {unit: (tmp_path / unit, tmp_path / "missing") for unit in daemons.UNITS}
    for path, _ in files.values():
        path.write_text("x")
        os.utime(path, (1000.0, 1000.0))
    monkeypatch.setattr(daemons, "_FILES", files)
    return tmp_path


@pytest.mark.parametrize("unit", [AGENT, KEEPALIVED, BIRD])
@pytest.mark.parametrize(
    ("since", "now", "old"),
    [(999.0, 2000.0, True), (1001.0, 2000.0, False), (500.0, 900.0, False)],
    ids=["before the file", "after the file", "clock was set back"],
)
def test_a_file_that_is_newer_than_the_process(
    disk: Path, unit: str, since: float, now: float, old: bool
) -> None:
    program = str(disk / "releases/two/bin/python")
    why = why_outdated(unit, Running(since, program), now)
    assert bool(why) is old
    assert not old or str(disk / unit) in why


def test_an_agent_of_another_release(disk: Path) -> None:
    other = Running(1500.0, str(disk / "releases/one/bin/python"))
    assert "releases/one" in why_outdated(AGENT, other, 2000.0)
    assert why_outdated(KEEPALIVED, other, 2000.0) == ""
    (disk / "current").unlink()
    assert why_outdated(AGENT, other, 2000.0) == "", "nothing is current: nothing to go over to"


def test_start_of_a_real_process() -> None:
    before = time.time()
    with subprocess.Popen(["sleep", "30"]) as process:
        started = daemons._started(process.pid)
        process.kill()
    assert before - 0.1 <= started <= time.time() + 0.1
