# SPDX-License-Identifier: Apache-2.0
"""Idempotent verbs over `ip` for network namespaces and links.

Each verb brings about a state and says nothing when it stands already. Names are full namespace
names (`LabConfig.netns`), and None means the root namespace.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fairlead_lab import process

NETNS_DIR = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class NetnsError(Exception):
    """A command failed; the message has the command and the words it failed with."""


def run(
    argv: Sequence[str],
    netns: str | None = None,
    *,
    check: bool = True,
    text: str | None = None,
    timeout: float | None = 120.0,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command (in a namespace), with `text` on its standard input; output is captured.

    Raises:
        NetnsError: it failed (unless check is false), or it took longer than `timeout` seconds.
    """
    full = [*(("ip", "netns", "exec", netns) if netns else ()), *argv]
    try:
        done = subprocess.run(
            full,
            check=False,
            capture_output=True,
            text=True,
            input=text if text is not None else "",
            timeout=timeout,
            env={**os.environ, **env} if env else None,
        )
    except FileNotFoundError as error:
        raise NetnsError(f"{full[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise NetnsError(f"{' '.join(full)}: not done after {timeout} s") from error
    if check and done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise NetnsError(f"{' '.join(full)}: exit status {done.returncode}: {words}")
    return done


def exists(netns: str) -> bool:
    """Whether a namespace of that name stands."""
    return (NETNS_DIR / netns).exists()


def names(prefix: str) -> list[str]:
    """Namespaces whose name begins with `prefix`."""
    if not NETNS_DIR.is_dir():
        return []
    return sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(prefix))


def ensure_netns(netns: str) -> bool:
    """Make a namespace with lo up; returns whether it is new.

    A name without a namespace behind it (a run was killed between the two) is made anew.
    """
    if exists(netns):
        if run(["true"], netns, check=False).returncode == 0:
            return False
        delete_netns(netns)
    run(["ip", "netns", "add", netns])
    batch(netns, "link set lo up")
    return True


def delete_netns(netns: str) -> None:
    """End what runs in a namespace and remove it."""
    if not exists(netns):
        return
    done = run(["ip", "netns", "pids", netns], check=False)
    process.kill_all([int(pid) for pid in done.stdout.split()])
    if run(["ip", "netns", "del", netns], check=False).returncode:
        run(["umount", "-l", str(NETNS_DIR / netns)], check=False)
        (NETNS_DIR / netns).unlink(missing_ok=True)


def batch(netns: str | None, lines: str) -> None:
    """Several `ip` commands by one process, stopping at the first failure."""
    text = "\n".join(line.strip() for line in lines.strip().splitlines() if line.strip())
    run(["ip", *(("-n", netns) if netns else ()), "-batch", "-"], text=text)


def link_exists(netns: str | None, link: str) -> bool:
    """Whether a link stands in a namespace."""
    where = ("-n", netns) if netns else ()
    return run(["ip", *where, "link", "show", "dev", link], check=False).returncode == 0


def ensure_veth(left: str | None, left_link: str, right: str | None, right_link: str) -> bool:
    """Make a veth pair between two namespaces; returns whether it is new.

    Half a pair cannot stand: the kernel removes both ends together. An end in a foreign place can,
    after a killed run, so both names are looked for.
    """
    if link_exists(left, left_link) and link_exists(right, right_link):
        return False
    delete_link(left, left_link)
    delete_link(right, right_link)
    there = f" netns {right}" if right else ""
    if right is None and left is not None:  # `peer ... netns` needs a name: make it from the root
        batch(None, f"link add {right_link} type veth peer name {left_link} netns {left}")
    else:
        batch(left, f"link add {left_link} type veth peer name {right_link}{there}")
    return True


def delete_link(netns: str | None, link: str) -> None:
    """Remove a link if it stands."""
    if link_exists(netns, link):
        run(["ip", *(("-n", netns) if netns else ()), "link", "del", "dev", link], check=False)


def sysctl(netns: str, values: Mapping[str, str]) -> None:
    """Write sysctls in a namespace; a key that this kernel lacks is an error."""
    run(["sysctl", "-q", "-w", *(f"{key}={value}" for key, value in values.items())], netns)


def open_socket(
    netns: str | None, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
) -> socket.socket:
    """A socket that lives in a namespace while this process stays where it is.

    The thread enters the namespace for the moment of the socket() call only.

    Raises:
        NetnsError: no such namespace.
    """
    if netns is None:
        return socket.socket(family, kind, proto)
    try:
        target = os.open(NETNS_DIR / netns, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NetnsError(f"no namespace {netns}: is the lab up?") from error
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target)
        try:
            return socket.socket(family, kind, proto)
        finally:
            _setns(home)
    finally:
        os.close(target)
        os.close(home)


def _setns(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
