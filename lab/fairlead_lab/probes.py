# SPDX-License-Identifier: Apache-2.0
"""Readiness probes with the Pod's own timings.

httpGet and tcpSocket go out from the node's network namespace (the kubelet runs in it), exec runs
in the pod's. What counts as success, and how many of them make a change, is as in the real
kubelet (kubernetes/kubernetes: pkg/kubelet/prober). Two things differ, because every container
of the lab is the responder: an HTTPS probe is done over HTTP, and an exec probe whose command
this machine does not have succeeds as long as the responder lives.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from fairlead_lab.kubelet_api import Container, Exec, HttpGet, Probe


@dataclass
class Threshold:
    """Turns single results into readiness: so many in a row make a change."""

    success_threshold: int
    failure_threshold: int
    ready: bool = False
    _streak: int = field(default=0)
    _last: bool | None = field(default=None)

    def feed(self, success: bool) -> bool:
        """Take one result and return the readiness after it."""
        self._streak = self._streak + 1 if success == self._last else 1
        self._last = success
        if self._streak >= (self.success_threshold if success else self.failure_threshold):
            self.ready = success
        return self.ready


@dataclass(frozen=True)
class Target:
    """Where a container's probes go."""

    address: str
    netns: str
    ports: dict[str, int]
    """The container's named ports."""

    def port(self, port: int | str) -> int:
        """A port by number or name.

        Raises:
            ValueError: the container has no port of that name.
        """
        if isinstance(port, str) and port.isdigit():
            return int(port)
        if isinstance(port, str):
            if port not in self.ports:
                raise ValueError(f"no containerPort is named {port!r}")
            return self.ports[port]
        return port


def target_of(container: Container, address: str, netns: str) -> Target:
    """The probe target of one container of a pod."""
    names = {port.name: port.container_port for port in container.ports if port.name}
    return Target(address, netns, names)


async def run_once(probe: Probe, target: Target) -> bool:
    """Do one probe within its timeout; every error is a failure."""
    try:
        async with asyncio.timeout(max(1, probe.timeout_seconds)):
            if probe.http_get is not None:
                return await _http_get(probe.http_get, target)
            if probe.tcp_socket is not None:
                host = probe.tcp_socket.host or target.address
                return await _connects(host, target.port(probe.tcp_socket.port))
            if probe.exec is not None:
                return await _execute(probe.exec, target)
    except (OSError, TimeoutError, ValueError, EOFError):
        return False
    return True


async def repeat(
    probe: Probe, target: Target, changed: Callable[[bool], None], *, ready: bool = False
) -> None:
    """Probe for ever and report each change of readiness; cancelled from outside.

    A container that is ready already (the kubelet was restarted) is past its initial delay.
    """
    threshold = Threshold(probe.success_threshold, probe.failure_threshold, ready)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0 if ready else probe.initial_delay_seconds)
    due = loop.time()
    while True:
        before = threshold.ready
        if threshold.feed(await run_once(probe, target)) != before:
            changed(threshold.ready)
        due = max(due + max(1, probe.period_seconds), loop.time())
        await asyncio.sleep(due - loop.time())


async def _http_get(check: HttpGet, target: Target) -> bool:
    host = check.host or target.address
    reader, writer = await asyncio.open_connection(host, target.port(check.port))
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(
            f"GET {check.path or '/'} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: kube-probe/lab\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        status = (await reader.readline()).split()
        return len(status) > 1 and status[1].isdigit() and 200 <= int(status[1]) < 400
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _connects(host: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _execute(check: Exec, target: Target) -> bool:
    if not check.command or shutil.which(check.command[0]) is None:
        return True
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net=/run/netns/{target.netns}", "--", *check.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:  # timed out: end the command and what it started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
