# SPDX-License-Identifier: Apache-2.0
"""A control plane and one guest with a card on the same LAN: the smallest real chain to measure.

Everything lives in namespaces of a lab of its own name, so the ordinary lab may be up beside it
(but then it competes for the CPUs, and the figures say so little).
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fairlead_lab import cluster, controlplane, kubebuild, netns, network, process, uml
from fairlead_lab.config import LabConfig

ROOT = Path(__file__).resolve().parent.parent
GUEST_PORT = 7000


class GuestError(Exception):
    """The guest could not do what it was told."""


class GuestLink:
    """Commands to readiness_guest.py."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = sock.makefile("rb")

    def __call__(self, verb: str, *args: Any) -> Any:
        """Let the guest do one thing and return its answer."""
        self._sock.sendall(json.dumps([verb, args]).encode() + b"\n")
        answer = json.loads(self._lines.readline() or b'{"error": "the guest hung up"}')
        if "error" in answer:
            raise GuestError(f"{verb}: {answer['error']}")
        return answer["ok"]

    def clock_offset(self) -> tuple[float, float]:
        """Guest clock minus ours, and half the round trip that bounds its error."""
        best = (1e9, 0.0)
        for _ in range(200):
            begun = time.time()
            there = self("clock")
            back = time.time()
            best = min(best, (back - begun, there - (begun + back) / 2))
        return best[1], best[0] / 2


class BenchLab:
    """The running environment."""

    def __init__(self, cfg: LabConfig, guest: GuestLink, out: Path) -> None:
        self.cfg, self.guest, self.out = cfg, guest, out

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.cfg.admin_kubeconfig


@contextlib.contextmanager
def bench_lab(cfg: LabConfig) -> Iterator[BenchLab]:
    """Control plane on CPU 0, guest on the last CPU; this process moves into their LAN."""
    out = cfg.state_dir / "guest"
    tear_down(cfg)
    out.mkdir(parents=True, exist_ok=True)
    link = "tapguest"
    try:
        controlplane.start(cfg, kubebuild.ensure(cfg))
        lan = cfg.netns("lan")
        netns.batch(lan, f"tuntap add dev {link} mode tap")
        netns.batch(lan, f"link set {link} addrgenmode none master {network.BRIDGE} up")
        controlplane.wait_ready(cfg)
        guest = _start_guest(cfg, lan, link, out)
        try:
            (out / "kubeconfig").write_text(cfg.admin_kubeconfig.read_text())
            yield BenchLab(cfg, _connect(cfg), out)
        finally:
            guest.kill()
            guest.wait()
    finally:
        tear_down(cfg)


def tear_down(cfg: LabConfig) -> None:
    """Remove what a run left, also a killed one."""
    cluster.down(cfg)
    for record in process.list_all(cfg):
        process.stop(cfg, record.name, grace=0.0)
    for host in ("cp", "lan"):
        netns.delete_netns(cfg.netns(host))


def _start_guest(cfg: LabConfig, lan: str, link: str, out: Path) -> subprocess.Popen[bytes]:
    """The guest runs in a child of its own: uml.run waits for its end."""
    argv = [
        *(sys.executable, str(Path(__file__).with_name("readiness_guest.py"))),
        *(f"{cfg.address('edge1')}/24", str(GUEST_PORT)),
    ]
    code = (
        "import sys, pathlib\n"
        "from fairlead_lab import uml\n"
        f"sys.exit(uml.run({argv!r}, mem='1536M', out=pathlib.Path({str(out)!r}), timeout=None,"
        f" netns={lan!r}, cwd=pathlib.Path({str(ROOT)!r}),"
        f" kernel_args=['vec0:transport=tap,ifname={link},depth=128,gro=1']))\n"
    )
    log = (out / "console.log").open("wb")
    return subprocess.Popen(["setpriv", "--pdeathsig", "TERM", sys.executable, "-c", code],
                            stdout=log, stderr=log)  # fmt: skip


def _connect(cfg: LabConfig) -> GuestLink:
    deadline = time.monotonic() + 30
    while True:
        sock = netns.open_socket(cfg.netns("cp"))
        try:
            sock.settimeout(2)
            sock.connect((cfg.address("edge1"), GUEST_PORT))
        except OSError:
            sock.close()
            if time.monotonic() > deadline:
                raise GuestError("the guest does not answer; see console.log") from None
            time.sleep(0.1)
        else:
            sock.settimeout(120)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return GuestLink(sock)
