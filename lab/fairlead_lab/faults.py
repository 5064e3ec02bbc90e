# SPDX-License-Identifier: Apache-2.0
"""Faults on purpose, by host: cables, processes, standstill, power."""

import os
import shlex
import signal

from fairlead_lab import edges, netns, network, process
from fairlead_lab.config import ConfigError, LabConfig


def cable(cfg: LabConfig, host: str, *, plugged: bool) -> None:
    """Pull a host's cable or put it back in.

    Raises:
        netns.NetnsError: no such host.
    """
    state = "up" if plugged else "down"
    if host == "rclient":  # the one host that does not hang on the LAN
        netns.batch(cfg.netns("router"), f"link set rclient {state}")
    elif host in network.ports(cfg):
        network.plug(cfg, host, plugged=plugged)
    else:
        known = ", ".join([*network.ports(cfg), "rclient"])
        raise netns.NetnsError(f"no cable to {host!r}; the lab has: {known}")


def kill(cfg: LabConfig, host: str, name: str) -> None:
    """SIGKILL a process of a host: on an edge a unit or a command's name, else a recorded one.

    Raises:
        process.ProcessError: nothing of that name runs there.
        netns.NetnsError: the edge does not answer.
    """
    if host in cfg.edges:
        word = shlex.quote(name)
        # A unit's main process only: what it leaves behind is part of the fault.
        command = (
            f"systemctl -q is-active {word} && systemctl kill -s KILL --kill-who=main {word} "
            f"|| pkill -KILL -x {word}"
        )
        netns.run([*edges.ssh_argv(cfg, edge=host), command])
        return
    for candidate in (f"{name}-{host}", f"{host}-{name}", name):
        record = process.load(cfg, candidate)
        if record and record.alive():
            process.send(cfg, candidate, signal.SIGKILL)
            return
    running = ", ".join(record.name for record in process.list_all(cfg) if record.alive())
    raise process.ProcessError(f"no process {name!r} of {host} runs; running: {running or 'none'}")


def freeze(cfg: LabConfig, host: str, *, frozen: bool) -> None:
    """Bring an edge, or a recorded process, to a standstill, or let it go on.

    Raises:
        process.ProcessError: no such thing runs.
    """
    if host in cfg.edges:
        (edges.freeze if frozen else edges.thaw)(cfg, host)
    else:
        process.send(cfg, host, signal.SIGSTOP if frozen else signal.SIGCONT)


def edge_name(cfg: LabConfig, edge: str) -> str:
    """The name, if it is an edge's.

    Raises:
        ConfigError: it is not.
    """
    if edge not in cfg.edges:
        raise ConfigError(f"no edge {edge!r}; the lab has: {', '.join(cfg.edges)}")
    return edge


def enter(cfg: LabConfig, host: str, argv: tuple[str, ...], *, terminal: bool) -> None:
    """Become a command on a host: by ssh on an edge, in the namespace of any other.

    Raises:
        netns.NetnsError: no such host.
    """
    if host in cfg.edges:
        full = edges.ssh_argv(cfg, host)
        if terminal:
            full.insert(1, "-t")
        os.execvp(full[0], [*full, *([shlex.join(argv)] if argv else [])])
    name = cfg.netns(host)
    if not netns.exists(name):
        known = [n.removeprefix(f"{cfg.name}-") for n in netns.names(f"{cfg.name}-")]
        raise netns.NetnsError(
            f"no host {host!r}; the lab has: {', '.join([*known, *cfg.edges])}"
            if known
            else f"lab {cfg.name} is down"
        )
    os.environ["debian_chroot"] = host  # noqa: SIM112 - Debian's prompt shows it, by this name
    command = argv or (os.environ.get("SHELL", "/bin/bash"),)
    os.execvp("ip", ["ip", "netns", "exec", name, *command])
