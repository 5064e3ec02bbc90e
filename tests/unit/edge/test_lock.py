# SPDX-License-Identifier: Apache-2.0
"""The edge's lock between real processes."""

import os
import subprocess
import sys
import threading
import time

import pytest

from fairlead.edge.lock import LockTimeoutError, edge_lock
from fairlead.model.errors import FairleadError

_HOLDER = """
import sys
from pathlib import Path
from fairlead.edge.lock import edge_lock
with edge_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "edge.lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock until its input ends."""
    argv = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_error_names_the_holder(path, holder):
    with pytest.raises(LockTimeoutError) as caught, edge_lock(path, timeout=0.05):
        pass
    assert f"process {holder.pid} (" in str(caught.value)
    assert "python" in str(caught.value)


def test_killed_holder_frees_the_lock(path, holder):
    holder.kill()
    holder.wait()
    with edge_lock(path, timeout=5):
        assert path.read_text() == f"{os.getpid()}\n"


def test_waits_for_the_holder_to_finish(path, holder):
    threading.Timer(0.2, holder.stdin.close).start()
    begun = time.monotonic()
    with edge_lock(path, timeout=10):
        assert time.monotonic() - begun > 0.15


def test_released_lock_names_nobody(path):
    with edge_lock(path):
        pass
    assert path.read_text() == ""


def test_unusable_place_is_told(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(FairleadError, match=r"edge\.lock"),
        edge_lock(tmp_path / "file" / "edge.lock"),
    ):
        pass
