# SPDX-License-Identifier: Apache-2.0
"""The life of one pod: namespace, process, probes, status, end.

One asyncio task per pod. Whatever happens (a change of the object, a probe's new outcome, the
process ending) only sets a flag and wakes the task, which compares what is with what was last
written: the status on the API server follows the present, not the order of events.
"""

import asyncio
import contextlib
import logging
import signal
from dataclasses import dataclass
from typing import Any

from fairlead_lab import probes
from fairlead_lab.kubelet_api import STRATEGIC, Api, ApiError, Pod
from fairlead_lab.kubelet_process import PodProcess
from fairlead_lab.kubelet_sandbox import Sandbox, SandboxError, SandboxStore
from fairlead_lab.kubelet_status import StatusWriter, contradicted, readiness

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0
NOT_FOUND, CONFLICT, INVALID = 404, 409, 422


@dataclass(frozen=True)
class NodeContext:
    """What all pods of a node share."""

    node: str
    addresses: tuple[str, ...]
    api: Api
    store: SandboxStore


class PodWorker:
    """Takes one Pod object from its binding to its deletion."""

    def __init__(self, context: NodeContext, pod: Pod, process: PodProcess) -> None:
        self.context = context
        self.pod = pod
        self.process = process
        self.sandbox: Sandbox | None = None
        self._gone = False
        self._wake = asyncio.Event()
        self._probed: dict[str, bool] = {}
        self._probes: list[asyncio.Task[None]] = []
        self._written: dict[str, Any] | None = None
        self._backoff = RETRY_SECONDS
        self._stop_by: float | None = None
        self._start_at = 0.0
        process.on_exit = self._wake.set

    def update(self, pod: Pod) -> None:
        """Take a newer version of the object."""
        self.pod = pod
        self._wake.set()

    def forget(self) -> None:
        """The object is gone from the API server: end at once."""
        self._gone = True
        self._wake.set()

    async def run(self) -> None:
        """Live the pod's life."""
        try:
            sandbox = await self._ensure_sandbox()
            if sandbox is not None:
                writer = StatusWriter((sandbox.ipv4, sandbox.ipv6), self.context.addresses)
                await self._serve(sandbox, writer)
        finally:
            for task in self._probes:
                task.cancel()
        await self._remove()

    async def _ensure_sandbox(self) -> Sandbox | None:
        """The pod's namespace; None when the pod is to end before it could be made."""
        while not (self._gone or self.pod.metadata.deletion_timestamp):
            meta = self.pod.metadata
            try:
                self.sandbox = self.context.store.reserve(meta.uid, f"{meta.namespace}/{meta.name}")
                if self.process.adopt(self.sandbox):
                    self._keep_readiness()
                else:
                    await asyncio.to_thread(self.context.store.create, self.sandbox)
            except SandboxError as error:
                log.error("%s/%s: %s", meta.namespace, meta.name, error)  # noqa: TRY400
                await asyncio.sleep(MAX_BACKOFF_SECONDS)
            else:
                return self.sandbox
        known = {sandbox.uid: sandbox for sandbox in self.context.store.known()}
        self.sandbox = known.get(self.pod.metadata.uid)
        if self.sandbox is not None:
            self.process.adopt(self.sandbox)
        return self.sandbox if self.process.running else None

    def _keep_readiness(self) -> None:
        """A kubelet that was restarted must not make its pods flap: begin with what holds."""
        held = {condition.type: condition.status for condition in self.pod.status.conditions}
        if held.get("ContainersReady") == "True":
            self._probed = {container.name: True for container in self.pod.spec.containers}

    def _ensure_probes(self, sandbox: Sandbox) -> None:
        """Begin to probe once the process runs: their initial delay counts from there."""
        if self._probes or not self.process.running:
            return
        for container in self.pod.spec.containers:
            if container.readiness_probe is not None:
                target = probes.target_of(container, sandbox.ipv4, sandbox.netns)
                name = container.name

                def changed(ready: bool, name: str = name) -> None:
                    self._probed[name] = ready
                    self._wake.set()

                probe = container.readiness_probe
                ready = self._probed.get(name, False)
                work = probes.repeat(probe, target, changed, ready=ready)
                self._probes.append(asyncio.create_task(work))

    async def _serve(self, sandbox: Sandbox, writer: StatusWriter) -> None:
        """Keep process and status as they should be until the pod has to end."""
        loop = asyncio.get_running_loop()
        while not self._gone:
            self._wake.clear()
            terminating = self.pod.metadata.deletion_timestamp is not None
            if terminating and self._is_over(loop.time()):
                return
            wait = self._stop_by - loop.time() if self._stop_by is not None else None
            if not self.process.running and not terminating:
                wait = await self._start(sandbox, loop.time())
            self._ensure_probes(sandbox)
            if not await self._publish(writer):
                wait = RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    def _is_over(self, now: float) -> bool:
        """Begin or continue the graceful end; True when the process is gone or time is up."""
        grace = self.pod.metadata.deletion_grace_period_seconds
        seconds = 30 if grace is None else grace
        if self._stop_by is None:
            self.process.send(signal.SIGTERM)
            self._stop_by = now + seconds
        self._stop_by = min(self._stop_by, now + seconds)  # a second delete may shorten it
        return not self.process.running or now >= self._stop_by

    async def _start(self, sandbox: Sandbox, now: float) -> float | None:
        """Start the process, with growing pauses when it keeps ending; returns when to look."""
        if now < self._start_at:
            return self._start_at - now
        if self.process.starts:
            self._backoff = min(self._backoff * 2, MAX_BACKOFF_SECONDS)
        self._start_at = now + self._backoff
        ports = [
            f"{port.protocol}/{port.container_port}"
            for container in self.pod.spec.containers
            for port in container.ports
            if port.protocol in ("TCP", "UDP")
        ]
        await self.process.start(sandbox, ports)
        return None if self.process.running else self._backoff

    async def _publish(self, writer: StatusWriter) -> bool:
        """Write the status when it differs from what was written, or somebody else wrote over it.

        False when it has to wait.
        """
        running = self.process.running
        ready = readiness(self.pod, self._probed, running=running)
        status = writer.build(
            self.pod, ready, running=running, restarts=max(0, self.process.starts - 1)
        )
        if status == self._written and not contradicted(self.pod, status):
            return True
        patch = {"metadata": {"uid": self.pod.metadata.uid}, "status": status}
        try:
            await asyncio.to_thread(
                self.context.api.request, "PATCH", f"{self.pod.path}/status", patch, kind=STRATEGIC
            )
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):  # gone, or another of the same name
                self._gone = True
                return True
            log.warning("status of %s: %s", self.pod.metadata.name, error)
            return False
        self._written = status
        return True

    async def _remove(self) -> None:
        """End the process, remove the namespace, then let the object go."""
        if self.sandbox is not None:
            await self.process.release(self.sandbox)
            await asyncio.to_thread(self.context.store.remove, self.sandbox)
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod.metadata.uid}}
        while not self._gone:
            try:
                await asyncio.to_thread(self.context.api.request, "DELETE", self.pod.path, body)
            except ApiError as error:
                if error.status in (NOT_FOUND, CONFLICT):
                    return
                log.warning("removing %s: %s", self.pod.metadata.name, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
