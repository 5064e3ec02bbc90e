# SPDX-License-Identifier: Apache-2.0
"""Edges of IPv6: the stable address of a VRRP group is link-local, and seen all the same.

A real keepalived in a namespace; it is killed so hard that it can't take its addresses with it.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_interface
from pathlib import Path
from typing import Any

import pytest

from fairlead.agent.announcer import Announcer, Tools
from fairlead.cli.status import _vrrp
from fairlead.edge.links import Links
from fairlead.edge.netns import entered
from fairlead.edge.parts import Target
from fairlead.edge.process import DaemonWatch
from fairlead.edge.vips import LinkVipReader
from fairlead.model.names import Announce
from fairlead.planned import checked_plan
from fairlead.render import render_keepalived
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from unit.agent.test_announcer import FakeEdge
from unit.cluster.scripted_api import eventually

NETNS = f"fairlead-ipv6-{os.getpid()}"
OWN = IPv6Address("2001:db8::11")
INVENTORY = inventory_from_dict(
    {
        "edges": [
            {"name": "edge1", "address": str(OWN)},
            {"name": "edge2", "address": "2001:db8::12"},
        ],
        "pools": [{"name": "lan", "addresses": ["2001:db8::a0-2001:db8::a9"]}],
        "vrrp": {"advertised_address": "fe80::9/64"},
    }
)
OBJECTS = [
    {
        "kind": "L2Advertisement",
        "apiVersion": "metallb.io/v1beta1",
        "metadata": {"name": "one", "namespace": "metallb-system"},
        "spec": {"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "edge1"}}]},
    },
    {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "ipFamilies": ["IPv6"],
            "ports": [{"port": 80}],
        },
    },
]
PLAN = checked_plan(
    snapshot_from_documents([Document("m", number, one) for number, one in enumerate(OBJECTS)]),
    INVENTORY,
)
TARGET = Target(INVENTORY.edges[0], frozenset({Announce.VRRP}), PLAN.edges["edge1"])


def ip(*argv: str) -> None:
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(argv)}: {done.stdout}{done.stderr}"


@pytest.fixture
def master(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A keepalived that is alone in its network, hence master of both groups."""
    ip("netns", "add", NETNS)
    (tmp_path / "vrrp.conf").write_text(render_keepalived(TARGET.vrrp))
    try:
        ip("-n", NETNS, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        for link in ("lo", "eth0", "eth1"):
            ip("-n", NETNS, "link", "set", link, "up")
        ip("-n", NETNS, "addr", "add", f"{OWN}/64", "dev", "eth0", "nodad")
        files = [f"--pid={tmp_path}/pid", f"--vrrp_pid={tmp_path}/vrrp.pid"]
        argv = ["ip", "netns", "exec", NETNS, "keepalived", "--dont-fork", "--vrrp", *files]
        daemon = subprocess.Popen([*argv, "-f", f"{tmp_path}/vrrp.conf"])
        try:
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(10)
    finally:
        ip("netns", "del", NETNS)


@contextmanager
def announcing(pid_file: Path) -> Iterator[Announcer]:
    """An announcer that looks at the namespace; its thread inherits it."""

    @contextmanager
    def tools() -> Iterator[Tools]:
        with Links() as links:
            yield Tools(FakeEdge().parts, LinkVipReader(links))

    def ignore(*_told: Any) -> None:
        pass

    watch = DaemonWatch(pid_file, "keepalived")
    announcer = Announcer(tools, FreeLock(), watch, done=ignore, vips=ignore)  # type: ignore[arg-type]
    with entered(NETNS):
        announcer.start()
    try:
        yield announcer
    finally:
        announcer.stop()


class FreeLock:
    """Nobody else writes here."""

    @contextmanager
    def __call__(self) -> Iterator[None]:
        yield


def test_the_role_shows_and_nothing_is_left_of_a_dead_master(
    master: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    stable = {ip_interface(one.advertised_address).ip for one in TARGET.vrrp}
    assert len(stable) == 2
    assert all(address.is_link_local for address in stable)
    with Links(NETNS) as links, announcing(tmp_path / "pid") as announcer:
        eventually(lambda: stable <= set(links.addresses("eth0", link_local=True)), 10.0)
        (shown,) = _vrrp(INVENTORY, INVENTORY.edges[0], None, links)
        assert shown.role == "master"
        announcer.announce(1, TARGET)
        eventually(lambda: announcer.state.vips is not None)
        assert announcer.state.vips.lan >= stable
        own = set(links.addresses("eth0", link_local=True)) - stable

        child = int((tmp_path / "vrrp.pid").read_text())
        master.send_signal(signal.SIGSTOP)  # it would start another one
        os.kill(child, signal.SIGKILL)
        master.kill()
        master.wait(10)
        eventually(lambda: announcer.state.cleanups == 1, 5.0)
        assert set(links.addresses("eth0", link_local=True)) == own
        assert OWN in own
        (shown,) = _vrrp(INVENTORY, INVENTORY.edges[0], None, links)
        assert shown.role == "backup"
