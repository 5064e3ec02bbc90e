# SPDX-License-Identifier: Apache-2.0
"""keepalived and nftables, real ones, inside a network namespace of the test's own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from fairlead.agent.config import AgentConfig
from fairlead.edge import source_nat as nft
from fairlead.edge.parts.vrrp import write_vrrp
from fairlead.model.errors import ApplyError, ValidationError
from fairlead.render import render_keepalived
from golden import cases

NETNS = "fairlead-daemons"
ROLES = Path(__file__).resolve().parents[3] / "roles"
(INSTANCE,) = cases.KEEPALIVED["no-vips"]


def _ip(*argv: str) -> str:
    return subprocess.run(["ip", *argv], capture_output=True, text=True, check=True).stdout


def _until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def netns() -> Iterator[str]:
    _ip("netns", "add", NETNS)
    try:
        _ip("-n", NETNS, "link", "set", "lo", "up")
        _ip("-n", NETNS, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        for link in ("eth0", "eth1"):
            _ip("-n", NETNS, "link", "set", link, "up")
        _ip("-n", NETNS, "addr", "add", "192.0.2.11/24", "dev", "eth0")
        yield NETNS
    finally:
        _ip("netns", "del", NETNS)


@pytest.fixture
def keepalived(netns: str, tmp_path: Path) -> Iterator[Path]:
    """A running keepalived that includes `vrrp.conf` of a directory; yields the directory."""
    (tmp_path / "main.conf").write_text(
        f"global_defs {{\n    router_id edge1\n}}\ninclude {tmp_path}/vrrp.conf\n"
    )
    (tmp_path / "vrrp.conf").write_text(render_keepalived((INSTANCE,)))
    files = ["-p", f"{tmp_path}/pid", "-r", f"{tmp_path}/vrrp.pid", "-c", f"{tmp_path}/checker.pid"]
    argv = ["ip", "netns", "exec", netns, "keepalived", "-n", "-P", "-l"]
    daemon = subprocess.Popen(
        [*argv, "-f", f"{tmp_path}/main.conf", *files], stdout=subprocess.DEVNULL
    )
    try:
        _until((tmp_path / "pid").exists, "keepalived's pid file")
        _until((tmp_path / "vrrp.pid").exists, "the VRRP process")
        yield tmp_path
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(10)


def test_the_unit_s_pid_file_is_the_agent_s_wherever_the_operator_would_have_it(
    netns: str, tmp_path: Path
) -> None:
    unit = (ROLES / "edge_keepalived/templates/override.conf.j2").read_text()
    command = re.findall(r"^ExecStart=/usr/sbin/(.+) \$DAEMON_ARGS$", unit, re.MULTILINE)[0]
    wanted = AgentConfig(edge="edge1").keepalived_pid
    assert f" --pid={wanted}" in command
    (tmp_path / "main.conf").write_text(f"use_pid_dir\n{render_keepalived((INSTANCE,))}")
    own = [f"--vrrp_pid={tmp_path}/vrrp.pid", "-f", f"{tmp_path}/main.conf"]
    argv = command.replace(str(wanted), f"{tmp_path}/pid").split()
    daemon = subprocess.Popen(["ip", "netns", "exec", netns, *argv, *own])
    try:
        _until((tmp_path / "pid").exists, "the pid file of the command line")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(10)


def _in_netns(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the validator run inside the namespace, where the interface is."""
    wrapper = directory / "bin" / "keepalived"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(f'#!/bin/sh\nexec ip netns exec {NETNS} /usr/sbin/keepalived "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")


def test_a_new_vip_is_a_reload_and_a_lost_signal_is_repaired(
    keepalived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_netns(keepalived, monkeypatch)
    paths = {
        "path": keepalived / "vrrp.conf",
        "pid_file": keepalived / "pid",
        "loaded_mark": keepalived / "loaded",
    }

    def held(vip: str) -> bool:
        return vip in _ip("-n", NETNS, "addr", "show", "dev", "eth0")

    with_vip = msgspec.structs.replace(INSTANCE, addresses=(ip_address("192.0.2.200"),))
    assert write_vrrp(render_keepalived((with_vip,)), **paths).changed
    _until(lambda: held("192.0.2.200/32"), "the VIP on the only edge")
    assert not write_vrrp(render_keepalived((with_vip,)), **paths).changed

    # Written, then killed before the signal: the mark still names the older text.
    two = msgspec.structs.replace(
        INSTANCE, addresses=(ip_address("192.0.2.200"), ip_address("192.0.2.201"))
    )
    write_vrrp(render_keepalived((two,)), **{**paths, "pid_file": keepalived / "no-such-pid"})
    assert not held("192.0.2.201/32")
    assert not write_vrrp(render_keepalived((two,)), **paths).changed
    _until(lambda: held("192.0.2.201/32"), "the second VIP")


@pytest.mark.usefixtures("netns")
def test_keepalived_refuses_and_the_live_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_netns(tmp_path, monkeypatch)
    live = tmp_path / "vrrp.conf"
    live.write_text("# old\n")
    elsewhere = msgspec.structs.replace(INSTANCE, interface="nosuch0")
    with pytest.raises(ValidationError, match="nosuch0"):
        write_vrrp(
            render_keepalived((elsewhere,)),
            path=live,
            pid_file=tmp_path / "pid",
            loaded_mark=tmp_path / "m",
        )
    assert live.read_text() == "# old\n"


_MASQUERADE = """
import sys
sys.path.insert(0, "tests")
from fairlead.agent.config import AgentConfig
from fairlead.edge import source_nat as nft
from fairlead.edge.filter_tools import nftables_usable
from golden import cases
from pathlib import Path
nft.CONNTRACK_SYSCTL = Path(sys.argv[1])
targets = frozenset(cases.NFT["both-families"])
assert nftables_usable()
assert nft.reconcile_masquerade(targets, check=True).changed
assert nft.masqueraded() == frozenset()
assert nft.reconcile_masquerade(targets).changed
assert nft.masqueraded() == targets
assert not nft.reconcile_masquerade(targets).changed
one = frozenset(list(targets)[:1])
assert nft.reconcile_masquerade(one).changed and nft.masqueraded() == one
assert nft.reconcile_masquerade(()).changed and nft.masqueraded() == frozenset()
assert not nft.reconcile_masquerade(()).changed
"""


def test_masquerade_targets_are_read_back_from_the_kernel(netns: str, tmp_path: Path) -> None:
    sysctl = tmp_path / "conntrack"
    sysctl.write_text("0\n")
    argv = ["ip", "netns", "exec", netns, sys.executable, "-c", _MASQUERADE, str(sysctl)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sysctl.read_text() == "1"


def test_without_ipvs_masquerade_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nft, "CONNTRACK_SYSCTL", tmp_path / "missing")
    with pytest.raises(ApplyError, match="load ip_vs"):
        nft.reconcile_masquerade(cases.NFT["both-families"])
