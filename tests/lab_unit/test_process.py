# SPDX-License-Identifier: Apache-2.0
"""Records of processes: found again, ended with all they started, never mistaken for strangers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead_lab import config, process
from fairlead_lab.config import LabConfig


def wait_for(probe: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabConfig]:
    monkeypatch.setattr(config, "STATE_ROOT", tmp_path)
    lab = LabConfig(f"u{os.getpid() % 10**7}")
    yield lab
    process.sweep(lab)


def gone(pid: int) -> bool:
    """Whether a process has ended (it may be a zombie while its parent does not look)."""
    try:
        return not process.parse_stat(Path(f"/proc/{pid}/stat").read_text())[1]
    except FileNotFoundError:
        return True


def test_a_process_is_found_by_its_name_and_ends(cfg: LabConfig):
    started = process.spawn(cfg, "sleeper", ["sleep", "60"])
    assert process.load(cfg, "sleeper") == started
    assert process.alive(cfg, "sleeper")
    assert [record.name for record in process.list_all(cfg)] == ["sleeper"]
    process.stop(cfg, "sleeper")
    assert gone(started.pid)
    assert process.list_all(cfg) == []
    process.stop(cfg, "sleeper")


def test_a_second_start_finds_the_first(cfg: LabConfig):
    first = process.spawn(cfg, "sleeper", ["sleep", "60"])
    assert process.spawn(cfg, "sleeper", ["sleep", "61"]) == first


def test_what_a_process_started_ends_with_it(cfg: LabConfig, tmp_path: Path):
    script = f"trap '' TERM; sleep 61 & echo $! >{tmp_path}/child; wait; sleep 62"
    started = process.spawn(cfg, "stubborn", ["sh", "-c", script])
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    process.stop(cfg, "stubborn", grace=0.2)
    assert gone(started.pid)
    wait_for(lambda: gone(child))


def test_a_stopped_process_ends_too(cfg: LabConfig):
    started = process.spawn(cfg, "sleeper", ["sleep", "60"])
    process.send(cfg, "sleeper", signal.SIGSTOP)
    process.stop(cfg, "sleeper", grace=2.0)
    assert gone(started.pid)


def test_a_stale_record_does_not_touch_the_stranger_that_has_its_number(cfg: LabConfig):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            folder = cfg.state_dir / "pids"
            folder.mkdir(parents=True)
            record = {"name": "old", "pid": stranger.pid, "start": 1, "argv": ["sleep", "60"]}
            (folder / "old.json").write_text(json.dumps(record))
            assert not process.alive(cfg, "old")
            process.stop(cfg, "old")
            process.kill_groups(process.list_all(cfg))
            process.sweep(cfg)
            with pytest.raises(process.ProcessError, match="not running"):
                process.send(cfg, "old", signal.SIGKILL)
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"name":"x","pid":"y"}'])
def test_a_record_cut_short_counts_as_none(cfg: LabConfig, text: str):
    folder = cfg.state_dir / "pids"
    folder.mkdir(parents=True)
    (folder / "cut.json").write_text(text)
    assert process.load(cfg, "cut") is None
    assert process.list_all(cfg) == []
    assert process.spawn(cfg, "cut", ["sleep", "60"]).alive()


def test_a_process_without_a_record_is_found_by_its_mark(cfg: LabConfig):
    kept = process.spawn(cfg, "kept", ["sh", "-c", "setsid sleep 63 & wait"])
    lost = process.spawn(cfg, "lost", ["sleep", "60"])
    (cfg.state_dir / "pids" / "lost.json").unlink()
    mark = f"FAIRLEAD_LAB_OWNER={cfg.name}".encode()
    # A program that was executed a moment ago may have no environment to read yet.
    wait_for(lambda: lost.pid in process.marked(mark))
    assert process.sweep(cfg, unrecorded_for=60.0) == []
    assert process.sweep(cfg, unrecorded_for=0.0) == [lost.pid]
    assert gone(lost.pid)
    assert kept.alive()
    wait_for(lambda: len(process.marked(mark)) == 2)
    assert len(process.sweep(cfg)) == 2
    assert gone(kept.pid)


def test_a_program_that_is_not_there_is_a_sentence(cfg: LabConfig):
    with pytest.raises(process.ProcessError, match="ghost: cannot start no-such-program"):
        process.spawn(cfg, "ghost", ["no-such-program"])


def test_output_goes_to_the_log(cfg: LabConfig):
    process.spawn(cfg, "talker", ["sh", "-c", "echo out; echo err >&2; echo $EXTRA"],
                  env={"EXTRA": "more"})  # fmt: skip
    wait_for(lambda: not process.alive(cfg, "talker"))
    assert (cfg.log_dir / "talker.log").read_text() == "out\nerr\nmore\n"


def test_a_command_name_may_hold_anything():
    fields = " ".join(str(number) for number in range(4, 53))
    assert process.parse_stat(f"12 (a) S 1 (b) S {fields}") == (22, True)
    assert process.parse_stat(f"12 (x) Z {fields}")[1] is False
