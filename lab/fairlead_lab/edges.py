# SPDX-License-Identifier: Apache-2.0
"""The edge machines: User-Mode Linux guests with systemd and sshd, each on a tap of the LAN bridge.

A guest runs inside the LAN's namespace, in a process namespace of its own: killing that namespace's
first process is pulling the plug, and nothing of the guest stays. Its disk is a copy-on-write file
over the image in the cache; it lives in /dev/shm, where the guest's memory is too, until `down`.
"""

import os
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fairlead_lab import image, netns, network, packages, process
from fairlead_lab.config import SHM, LabConfig
from fairlead_lab.progress import step
from fairlead_lab.uml import KERNEL
from fairlead_lab.waiting import wait_until

MEMORY = "384M"
BOOT_TIMEOUT = 180.0
_MAINBOARD = """
while "$@"; do
    case $(tail -n 1 "$0") in *'reboot: Restarting system'*) ;; *) exit 0 ;; esac
done
"""
"""What a machine does when its kernel has ended ($0: the console's log, "$@": the kernel).

User-Mode Linux would reboot by executing itself, but keeps its tap open then, and a tap opens only
once. With `noreboot` it ends, and its last words say what for.
"""


@dataclass(frozen=True)
class EdgeStatus:
    """How an edge is doing."""

    name: str
    running: bool
    frozen: bool
    ssh: bool
    address: str


def up(cfg: LabConfig) -> None:
    """Boot every edge that does not run, and wait until each answers on ssh.

    Raises:
        image.ImageError: the image cannot be built.
        process.ProcessError: a guest does not come up.
    """
    built = _image(cfg)
    network.ensure_lan(cfg)
    packages.serve(cfg, built)
    _install_key(cfg, built)
    for edge in cfg.edges:
        start(cfg, edge)
    with ThreadPoolExecutor(len(cfg.edges)) as pool:
        list(pool.map(lambda edge: await_ssh(cfg, edge), cfg.edges))


def down(cfg: LabConfig) -> None:
    """Pull every guest's plug and remove their disks."""
    for edge in cfg.edges:
        power_off(cfg, edge)
    process.stop(cfg, packages.PROCESS)
    shutil.rmtree(cfg.disk_dir, ignore_errors=True)


def start(cfg: LabConfig, edge: str) -> None:
    """Power an edge on; one that runs stays as it is.

    Raises:
        process.ProcessError: the kernel cannot be executed.
        netns.NetnsError: its tap cannot be made.
    """
    if process.alive(cfg, edge):
        return
    lan = cfg.netns("lan")
    if not netns.link_exists(lan, edge):
        netns.run(["ip", "tuntap", "add", "dev", edge, "mode", "tap"], lan)
    netns.batch(lan, f"link set {edge} addrgenmode none master {network.BRIDGE} up")
    shutil.rmtree(cfg.state_dir / "uml" / edge, ignore_errors=True)
    (cfg.state_dir / "uml").mkdir(parents=True, exist_ok=True)
    process.spawn(cfg, edge, _command(cfg, edge, _image(cfg)), netns=lan, env={"TMPDIR": str(SHM)})


def _image(cfg: LabConfig) -> image.Image:
    """The image that this lab's disks stand on; a newer one is for the next lab.

    A copy-on-write file over another image than its own would be garbage.
    """
    base = cfg.disk_dir / image.BASE
    if base.exists():
        return image.Image(base.resolve())
    built = image.ensure(cfg)
    shutil.rmtree(cfg.disk_dir, ignore_errors=True)
    cfg.disk_dir.mkdir()
    base.symlink_to(built.folder)
    return built


def _command(cfg: LabConfig, edge: str, built: image.Image) -> list[str]:
    """The guest's command line; it says everything by which one guest differs from another."""
    return [
        *("unshare", "--pid", "--fork", "--kill-child=KILL"),
        *("sh", "-c", _MAINBOARD, str(log_file(cfg, edge))),
        *("taskset", "-c", str(_cpu(cfg, edge)), KERNEL, f"mem={MEMORY}"),
        *(f"uml_dir={cfg.state_dir}/uml/", f"umid={edge}"),
        f"ubd0={cfg.disk_dir / edge}.cow,{built.disk}",
        *("root=/dev/ubda", "rw", "con=null", "con0=fd:0,fd:1", "quiet", "noreboot"),
        # Without gro=1 nothing that the host has coalesced gets in.
        # Without mac= it is a new one at each boot, and neighbours hold on to the old one.
        f"vec0:transport=tap,ifname={edge},depth=128,gro=1,mac={mac(cfg, edge)}",
        *(f"systemd.hostname={edge}", "selinux=0"),
        f"lab.ip4={cfg.address(edge)}/24",
        f"lab.gw4={cfg.router_address}",
        f"lab.ip6={cfg.address6(edge)}/64",
        f"lab.gw6={cfg.address6('router')}",
        f"lab.apt={packages.url(cfg)}",
    ]


def mac(cfg: LabConfig, edge: str) -> str:
    """The edge's Ethernet address, locally administered."""
    return f"02:fa:1e:ad:{cfg.index:02x}:{cfg.number(edge):02x}"


def _cpu(cfg: LabConfig, edge: str) -> int:
    """One CPU per guest: on one, its system calls are four times faster than on two."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[cfg.edges.index(edge) % len(allowed)]


def power_off(cfg: LabConfig, edge: str) -> None:
    """Pull an edge's plug; its disk stays as it was at that moment."""
    record = process.load(cfg, edge)
    if record and record.alive():
        inside = _children(record.pid)
        process.kill_all(inside)
    process.stop(cfg, edge)


def reboot(cfg: LabConfig, edge: str) -> None:
    """Reboot an edge from within, as an operator does, and wait until it answers again.

    Raises:
        process.ProcessError: it does not run or does not come back.
    """
    before = _kernel(cfg, edge)
    ssh_run(cfg, edge, "systemctl reboot", check=False)

    def another() -> bool:
        inside = _kernels(cfg, edge)
        return bool(inside) and inside[0] != before

    with step(f"{edge}: shutting down"):
        wait_until(f"the next kernel of {edge}", another, BOOT_TIMEOUT)
    await_ssh(cfg, edge)


def freeze(cfg: LabConfig, edge: str) -> None:
    """Stop an edge's kernel where it stands: its links stay up, nothing answers.

    Raises:
        process.ProcessError: it does not run.
    """
    os.kill(_kernel(cfg, edge), signal.SIGSTOP)


def thaw(cfg: LabConfig, edge: str) -> None:
    """Let a frozen edge go on.

    Raises:
        process.ProcessError: it does not run.
    """
    os.kill(_kernel(cfg, edge), signal.SIGCONT)


def _kernel(cfg: LabConfig, edge: str) -> int:
    """Pid of the guest's kernel. Its other processes are traced by it: they wait for it anyway."""
    found = _kernels(cfg, edge)
    if not found:
        raise process.ProcessError(f"{edge}: not running")
    return found[0]


def _kernels(cfg: LabConfig, edge: str) -> list[int]:
    record = process.load(cfg, edge)
    mainboard = _children(record.pid) if record and record.alive() else []
    return _children(mainboard[0]) if mainboard else []


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def await_ssh(cfg: LabConfig, edge: str, timeout: float = BOOT_TIMEOUT) -> None:
    """Wait until an edge's sshd greets.

    Raises:
        process.ProcessError: it does not in time, or the guest died; the message has its log.
    """

    def ready() -> bool:
        if not process.alive(cfg, edge):
            raise process.ProcessError(f"{edge} ended while it booted; see {log_file(cfg, edge)}")
        return greets(cfg, edge)

    with step(f"{edge}: booting"):
        wait_until(f"ssh of {edge} ({log_file(cfg, edge)} may say why)", ready, timeout, 0.2)


def greets(cfg: LabConfig, edge: str) -> bool:
    """Whether an edge's sshd sends its banner."""
    try:
        with socket.create_connection((cfg.address(edge), 22), timeout=1) as sock:
            return sock.recv(4) == b"SSH-"
    except OSError:
        return False


def log_file(cfg: LabConfig, edge: str) -> Path:
    """The guest's console."""
    return cfg.log_dir / f"{edge}.log"


def _install_key(cfg: LabConfig, built: image.Image) -> None:
    """Put the guests' key where `ssh` finds it, readable by root alone."""
    cfg.ssh_key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not cfg.ssh_key.exists() or cfg.ssh_key.read_bytes() != built.key.read_bytes():
        cfg.ssh_key.unlink(missing_ok=True)
        shutil.copy(built.key, cfg.ssh_key)
        cfg.ssh_key.chmod(0o600)


def ssh_argv(cfg: LabConfig, edge: str) -> list[str]:
    """The ssh command up to the host; guests are made anew, so their keys are not remembered."""
    return [
        *("ssh", "-i", str(cfg.ssh_key), "-o", "StrictHostKeyChecking=no"),
        *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5"),
        # A guest whose plug is pulled does not say good-bye.
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
        f"root@{cfg.edge_address(edge)}",
    ]


def ssh_run(cfg: LabConfig, edge: str, command: str, *, check: bool = True) -> str:
    """Run a command on an edge; returns its standard output.

    Raises:
        netns.NetnsError: it failed and `check` is true.
    """
    return netns.run([*ssh_argv(cfg, edge), command], check=check).stdout.strip()


def status(cfg: LabConfig) -> list[EdgeStatus]:
    """How every edge is doing."""
    return [
        EdgeStatus(
            name=edge,
            running=(running := process.alive(cfg, edge)),
            frozen=running and _is_frozen(cfg, edge),
            ssh=running and greets(cfg, edge),
            address=cfg.address(edge),
        )
        for edge in cfg.edges
    ]


def _is_frozen(cfg: LabConfig, edge: str) -> bool:
    try:
        text = Path(f"/proc/{_kernel(cfg, edge)}/stat").read_text()
    except (OSError, process.ProcessError):
        return False
    return text[text.rindex(")") + 2] == "T"
