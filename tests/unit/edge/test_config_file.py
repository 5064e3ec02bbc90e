# SPDX-License-Identifier: Apache-2.0
"""A live file is replaced whole, after its parser accepted the candidate, or not at all."""

import stat
from pathlib import Path

import pytest

from fairlead.edge.config_file import write_config
from fairlead.model.errors import ApplyError, ValidationError

ACCEPT_A = ("grep", "-q", "a")


def test_a_new_file_is_written_with_its_mode_and_nothing_beside_it(tmp_path: Path) -> None:
    live = tmp_path / "daemon.conf"
    change = write_config(live, "a\n", validate=ACCEPT_A, mode=0o640)
    assert change.changed
    assert (change.before, change.after) == ("", "a\n")
    assert live.read_text() == "a\n"
    assert stat.S_IMODE(live.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [live]


def test_the_second_write_changes_nothing_not_even_the_inode(tmp_path: Path) -> None:
    live = tmp_path / "daemon.conf"
    write_config(live, "a\n")
    inode = live.stat().st_ino
    assert not write_config(live, "a\n").changed
    assert live.stat().st_ino == inode


def test_a_lost_mode_is_a_change(tmp_path: Path) -> None:
    live = tmp_path / "daemon.conf"
    write_config(live, "a\n", mode=0o640)
    live.chmod(0o666)
    assert write_config(live, "a\n", mode=0o640).changed
    assert stat.S_IMODE(live.stat().st_mode) == 0o640


def test_a_refused_text_leaves_the_live_file_alone(tmp_path: Path) -> None:
    live = tmp_path / "daemon.conf"
    write_config(live, "a\n")
    with pytest.raises(ValidationError, match=r"daemon\.conf: not replaced, grep refused"):
        write_config(live, "b\n", validate=ACCEPT_A)
    assert live.read_text() == "a\n"
    assert list(tmp_path.iterdir()) == [live]


def test_a_missing_parser_is_an_error_and_in_check_mode_it_is_not(tmp_path: Path) -> None:
    live = tmp_path / "daemon.conf"
    with pytest.raises(ValidationError, match="could not run"):
        write_config(live, "a\n", validate=("no-such-parser",))
    assert write_config(live, "a\n", validate=("no-such-parser",), check=True).changed
    assert not live.exists()


def test_check_mode_validates_and_writes_nothing(tmp_path: Path) -> None:
    live = tmp_path / "missing" / "daemon.conf"
    assert write_config(live, "a\n", validate=ACCEPT_A, check=True).changed
    with pytest.raises(ValidationError):
        write_config(live, "b\n", validate=ACCEPT_A, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="missing"):
        write_config(tmp_path / "missing" / "daemon.conf", "a\n")
