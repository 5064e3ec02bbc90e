# SPDX-License-Identifier: Apache-2.0
"""The lab's kubelet: runs the Pods that the scheduler binds to one node.

One process per node, living in the node's network namespace like everything else of the node: so
a cut link takes its heartbeats and status updates with it, a freeze stops them, and killing it is
what it looks like on a real cluster. It talks to the API server as ``system:node:<name>``, with
the rights that the node authorizer gives and no others.

What it does not do: images, volumes, resources, init containers, logs, exec, port-forward.
Every container is the responder (see `fairlead_lab.responder`).
"""

import argparse
import asyncio
import logging
import os
import signal
import threading
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fairlead_lab.config import LabConfig
from fairlead_lab.kubelet_api import Api, Pod, follow_pods
from fairlead_lab.kubelet_node import Heartbeat
from fairlead_lab.kubelet_pod import NodeContext, PodWorker
from fairlead_lab.kubelet_process import PodProcess
from fairlead_lab.kubelet_sandbox import Sandbox, SandboxStore

log = logging.getLogger(__name__)

FINISHED = ("Succeeded", "Failed")


class NodeSettings(msgspec.Struct, frozen=True):
    """What the kubelet of one node has to know, written by `fairlead_lab.nodes`."""

    lab: str
    index: int
    node: str
    kubeconfig: str
    state: str
    """Folder for the records of this node's pods."""
    addresses: list[str]
    """The node's own addresses, IPv4 first."""
    pods_ipv4: str
    pods_ipv6: str


class Kubelet:
    """The pods of one node: one worker task each."""

    def __init__(self, settings: NodeSettings, api: Api) -> None:
        store = SandboxStore(
            Path(settings.state), settings.lab, settings.pods_ipv4, settings.pods_ipv6
        )
        self.settings = settings
        self.context = NodeContext(settings.node, tuple(settings.addresses), api, store)
        self._cfg = LabConfig(name=settings.lab, index=settings.index)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def on_list(self, pods: list[Pod]) -> None:
        """A complete list: what is not on it is gone."""
        for pod in pods:
            self.on_event("MODIFIED", pod)
        listed = {pod.metadata.uid for pod in pods}
        for uid, worker in self._workers.items():
            if uid not in listed:
                worker.forget()
        for sandbox in self.context.store.known():
            if sandbox.uid not in listed and sandbox.uid not in self._workers:
                self._spawn(self._remove_stray(sandbox))

    def on_event(self, kind: str, pod: Pod) -> None:
        """One object was added, changed or deleted."""
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            if kind == "DELETED":
                worker.forget()
        elif kind != "DELETED" and pod.status.phase not in FINISHED:
            worker = PodWorker(self.context, pod, self._process())
            self._workers[uid] = worker
            self._spawn(self._live(worker))

    async def _live(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            self._workers.pop(worker.pod.metadata.uid, None)

    async def _remove_stray(self, sandbox: Sandbox) -> None:
        """Remove what a pod left that went while no kubelet looked."""
        await self._process().release(sandbox)
        await asyncio.to_thread(self.context.store.remove, sandbox)

    def _process(self) -> PodProcess:
        return PodProcess(self._cfg, self.settings.node)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a pod's task failed", exc_info=error)


async def serve(settings: NodeSettings) -> None:
    """Run until SIGTERM; the pods go on without their kubelet."""
    api = Api(Path(settings.kubeconfig))
    kubelet = Kubelet(settings, api)
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    stop = threading.Event()
    heartbeat = Heartbeat(api, settings.node, settings.addresses)

    def on_list(pods: list[Pod]) -> None:
        loop.call_soon_threadsafe(kubelet.on_list, pods)

    def on_event(kind: str, pod: Pod) -> None:
        loop.call_soon_threadsafe(kubelet.on_event, kind, pod)

    watch = partial(follow_pods, api, settings.node, on_list, on_event, stop)
    for work in (partial(heartbeat.run, stop), watch):
        threading.Thread(target=work, daemon=True).start()
    await ending.wait()
    stop.set()


def main() -> None:
    """Entry point: ``python -m fairlead_lab.kubelet SETTINGS``."""
    parser = argparse.ArgumentParser(description="runs the pods of one node of the lab")
    parser.add_argument("settings", type=Path, help="NodeSettings as JSON")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = msgspec.json.decode(options.settings.read_bytes(), type=NodeSettings)
    asyncio.run(serve(settings))
    # The watch thread may sit in a read for minutes; nothing is left to be tidied up.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
