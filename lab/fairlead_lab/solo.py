# SPDX-License-Identifier: Apache-2.0
"""One edge without provisioning: a control plane, and a guest with a card on the same LAN.

The smallest real chain: etcd and API server, a kernel with IPVS, and whatever programs the driver
starts in the guest. For tests of the agent alone, and for benchmarks. It has namespaces of a lab
name of its own, so the ordinary lab may be up beside it (and competes for the CPUs).

    with solo_edge(LabConfig(name="solo", index=9)) as edge:
        edge.guest("run", ["ipvsadm", "-Ln"])
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead_lab import cluster, controlplane, kubebuild, netns, network, process
from fairlead_lab.config import LabConfig

ROOT = Path(__file__).resolve().parents[2]
GUEST_PORT = 7000
LINK = "tapguest"
MAC = "02:fa:1e:ad:ff:01"  # the LAN is the cluster's own
START_SECONDS = 40.0


class GuestError(Exception):
    """The guest could not do what it was told."""


class GuestLink:
    """Commands to `solo_guest`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._lines = sock, sock.makefile("rb")

    def __call__(self, verb: str, *args: Any) -> Any:
        """Let the guest do one thing and return its answer.

        Raises:
            GuestError: it failed, or the guest is gone.
        """
        self._sock.sendall(json.dumps([verb, args]).encode() + b"\n")
        answer = json.loads(self._lines.readline() or b'{"error": "the guest hung up"}')
        if "error" in answer:
            raise GuestError(f"{verb}: {answer['error']}")
        return answer["ok"]

    def clock_offset(self) -> tuple[float, float]:
        """Guest clock minus ours, and half the best round trip, which bounds its error."""
        best = (1e9, 0.0)
        for _ in range(200):
            begun = time.time()
            there = self("clock")
            back = time.time()
            best = min(best, (back - begun, there - (begun + back) / 2))
        return best[1], best[0] / 2

    def close(self) -> None:
        """Hang up: the guest ends."""
        self._lines.close()
        self._sock.close()


@dataclass(frozen=True)
class SoloEdge:
    """The running environment; `shared` is /out in the guest."""

    cfg: LabConfig
    guest: GuestLink
    shared: Path

    @property
    def address(self) -> str:
        """The guest's own address on `vec0`."""
        return self.cfg.address("edge1")


@contextlib.contextmanager
def solo_edge(
    cfg: LabConfig, *, verbs: Path | None = None, mem: str = "1536M"
) -> Iterator[SoloEdge]:
    """Bring it up, take it down.

    Args:
        cfg: Name and index that no other lab uses.
        verbs: Module with `make_guest()` for more verbs than `solo_guest.Guest` has.
        mem: Memory of the guest.
    """
    with solo_cluster(cfg), solo_guest(cfg, verbs=verbs, mem=mem) as edge:
        yield edge


@contextlib.contextmanager
def solo_api(cfg: LabConfig) -> Iterator[None]:
    """An API server (its etcd, its LAN) and nothing else: it costs a few seconds."""
    tear_down(cfg)
    try:
        controlplane.start(cfg, kubebuild.ensure(cfg))
        controlplane.wait_ready(cfg)
        yield
    finally:
        tear_down(cfg)


@contextlib.contextmanager
def solo_cluster(cfg: LabConfig) -> Iterator[None]:
    """The control plane and the LAN, without a guest."""
    shared = _shared(cfg)
    tear_down(cfg)
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    try:
        controlplane.start(cfg, kubebuild.ensure(cfg))
        lan = cfg.netns("lan")
        netns.batch(lan, f"tuntap add dev {LINK} mode tap")
        netns.batch(lan, f"link set {LINK} addrgenmode none master {network.BRIDGE} up")
        controlplane.wait_ready(cfg)
        (shared / "kubeconfig").write_text(cfg.admin_kubeconfig.read_text())
        yield
    finally:
        tear_down(cfg)


@contextlib.contextmanager
def solo_guest(
    cfg: LabConfig, *, verbs: Path | None = None, mem: str = "1536M"
) -> Iterator[SoloEdge]:
    """A guest with a kernel of its own beside a running `solo_cluster`, one after the other.

    Args:
        cfg: That of the cluster.
        verbs: As for `solo_edge`.
        mem: As for `solo_edge`.
    """
    shared = _shared(cfg)
    with (
        _guest(cfg, cfg.netns("lan"), shared, verbs, mem),
        contextlib.closing(_connect(cfg)) as link,
    ):
        yield SoloEdge(cfg, link, shared)


def _shared(cfg: LabConfig) -> Path:
    return cfg.state_dir / "guest"


def tear_down(cfg: LabConfig) -> None:
    """Remove what a run left, also a killed one; only the guest's logs stay."""
    cluster.down(cfg)
    for record in process.list_all(cfg):
        process.stop(cfg, record.name, grace=0.0)
    for host in ("cp", "lan"):
        netns.delete_netns(cfg.netns(host))


@contextlib.contextmanager
def _guest(cfg: LabConfig, lan: str, shared: Path, verbs: Path | None, mem: str) -> Iterator[None]:
    """The guest under a child of ours, since `uml.run` waits for its end."""
    argv = [
        *(sys.executable, str(Path(__file__).with_name("solo_guest.py"))),
        *(f"{cfg.address('edge1')}/24", str(GUEST_PORT), *([str(verbs)] if verbs else [])),
    ]
    settings = {
        "argv": argv,
        "mem": mem,
        "timeout": None,
        "netns": lan,
        # One MAC for all guests of a cluster: to a neighbour that knows another one, the next guest
        # would be silent for half a minute.
        "kernel_args": [f"vec0:transport=tap,ifname={LINK},depth=128,gro=1,mac={MAC}"],
    }
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom fairlead_lab import uml\n"
        "given = json.loads(sys.argv[1])\n"
        "sys.exit(uml.run(**given, out=Path(sys.argv[2]), cwd=Path(sys.argv[3])))\n"
    )
    with (shared / "console.log").open("wb") as log:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-c", code,
             json.dumps(settings), str(shared), str(ROOT)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        # uml.run's own children die with it.
        child.kill()
        child.wait()


def _connect(cfg: LabConfig) -> GuestLink:
    deadline = time.monotonic() + START_SECONDS
    while True:
        sock = netns.open_socket(cfg.netns("cp"))
        try:
            sock.settimeout(2)
            sock.connect((cfg.address("edge1"), GUEST_PORT))
        except OSError:
            sock.close()
            if time.monotonic() > deadline:
                log = _shared(cfg) / "console.log"
                raise GuestError(f"the guest does not answer; see {log}") from None
            time.sleep(0.1)
        else:
            sock.settimeout(120)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return GuestLink(sock)
