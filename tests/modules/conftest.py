# SPDX-License-Identifier: Apache-2.0
"""An edge of a test's own: namespaces in which the package is installed where edges have it.

`/etc`, `/opt` and `/run` are the test's own (what it writes there is gone with it), so are network
and processes. systemd is not there.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.modules import REPOSITORY

ADDRESS = "192.0.2.11"
_SET_UP = f"""
mount -t tmpfs tmpfs /run
for name in etc opt; do
    own=/run/$name
    mkdir -p $own/upper $own/work
    mount -t overlay overlay -o lowerdir=/$name,upperdir=$own/upper,workdir=$own/work /$name
done
ip link set lo up
ip link add eth0 type veth peer name lan
ip address add {ADDRESS}/24 dev eth0
ip link set eth0 up
ip link set lan up
"""
_INSTALL = f"""
mkdir -p /opt/fairlead/releases /etc/fairlead/keepalived /etc/fairlead/bird /run/fairlead /run/bird
ln -s {Path(sys.prefix)} /opt/fairlead/releases/0.1.0-test
ln -s releases/0.1.0-test /opt/fairlead/current
"""


class Edge:
    """A running edge; `path` reaches into its file system."""

    def __init__(self, *scripts: str) -> None:
        script = "set -e\n" + "".join(scripts) + "echo ready\nexec sleep infinity\n"
        argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            [*argv, "sh", "-c", script],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        first = self._holder.stdout.readline()
        assert first == "ready\n", first + self._holder.stdout.read()
        pid = self._holder.pid
        self._pid = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]

    def enter(self) -> Sequence[str]:
        """The command that runs another one here."""
        return ("nsenter", "--target", self._pid, "--mount", "--net", "--pid")

    def run(self, *argv: str) -> str:
        """Run a command here; returns its output."""
        done = subprocess.run(
            [*self.enter(), *argv], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def path(self, text: str) -> Path:
        """A file of this edge, as seen from the test."""
        return Path(f"/proc/{self._pid}/root{text}")

    def files(self) -> dict[str, str]:
        """Every file that somebody wrote below /etc, /opt/fairlead and /run/fairlead: its text."""
        roots = ("/run/etc/upper", "/run/opt/upper", "/run/fairlead")
        return {
            str(file).removeprefix(f"/proc/{self._pid}/root"): file.read_text()
            for root in roots
            for file in sorted(self.path(root).rglob("*"))
            if file.is_file() and not file.is_symlink()
        }

    def stop(self) -> None:
        """End everything that runs here."""
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


@pytest.fixture
def edge() -> Iterator[Edge]:
    """An edge with the package, as the roles leave it."""
    made = Edge(_SET_UP, _INSTALL)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def bare() -> Iterator[Edge]:
    """A machine without anything of ours."""
    made = Edge(_SET_UP)
    yield made
    made.stop()
