# SPDX-License-Identifier: Apache-2.0
"""The process of one pod: started, taken over by a restarted kubelet, watched, ended."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fairlead_lab import process
from fairlead_lab.config import LabConfig
from fairlead_lab.kubelet_sandbox import Sandbox

log = logging.getLogger(__name__)

RESPONDER = Path(__file__).with_name("responder.py")
START_SECONDS = 5.0
POLL_SECONDS = 0.005


class PodProcess:
    """At most one running responder; `on_exit` is called when it ends by whatever cause."""

    def __init__(self, cfg: LabConfig, node: str) -> None:
        self._cfg = cfg
        self._node = node
        self._pidfd: int | None = None
        self.starts = 0
        self.on_exit: Callable[[], None] = lambda: None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._pidfd is not None

    def adopt(self, sandbox: Sandbox) -> bool:
        """Take over the pod's process when one is on record and lives."""
        record = process.load(self._cfg, sandbox.process)
        if record is None or not record.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            self._watch(record)
            self.starts = 1
        return self.running

    async def start(self, sandbox: Sandbox, ports: list[str]) -> None:
        """Start the responder and wait until it listens; `running` says how it went."""
        output = self._cfg.log_dir / f"{sandbox.process}.log"
        offset = output.stat().st_size if output.exists() else 0
        argv = [
            "nsenter", f"--net=/run/netns/{sandbox.netns}", "--",
            sys.executable, "-I", "-S", str(RESPONDER),
            "--pod", sandbox.pod, "--node", self._node, *ports,
        ]  # fmt: skip
        self.starts += 1
        try:
            self._watch(process.spawn(self._cfg, sandbox.process, argv, log=output))
            await self._listening(output, offset)
        except (process.ProcessError, ProcessLookupError, TimeoutError) as error:
            log.error("%s: its process does not start: %r", sandbox.pod, error)  # noqa: TRY400
            self.kill()

    async def _listening(self, output: Path, offset: int) -> None:
        """Wait for the responder's word that all its ports are open."""
        async with asyncio.timeout(START_SECONDS):
            while self.running:
                with output.open("rb") as stream:
                    stream.seek(offset)
                    if b"listening\n" in stream.read():
                        return
                await asyncio.sleep(POLL_SECONDS)

    def _watch(self, record: process.Pid) -> None:
        pidfd = os.pidfd_open(record.pid)
        self._pidfd = pidfd

        def ended() -> None:
            self._unwatch()
            record.alive()  # reaps it when it is ours
            self.on_exit()

        asyncio.get_running_loop().add_reader(pidfd, ended)

    def _unwatch(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def send(self, number: signal.Signals) -> None:
        """Signal the process; one that has ended needs none."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send(signal.SIGKILL)
        self._unwatch()

    async def release(self, sandbox: Sandbox) -> None:
        """Make sure that nothing of the process is left, its record and log included."""
        self.kill()
        await asyncio.to_thread(process.stop, self._cfg, sandbox.process, grace=1.0)
        (self._cfg.log_dir / f"{sandbox.process}.log").unlink(missing_ok=True)
