# SPDX-License-Identifier: Apache-2.0
"""Bringing a whole lab up and down: one command at a time, leftovers first, parts side by side.

Every step brings about a state, so a command that was killed is continued by the next `up`, and
`down` looks for what is there, not for what a record says: namespaces by name, processes by record,
by mark and by namespace.
"""

import contextlib
import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fairlead_lab import cluster, edges, image, kubebuild, network, preflight, process
from fairlead_lab.config import STATE_ROOT, ConfigError, LabConfig
from fairlead_lab.progress import say, step

PARTS = ("network", "cluster", "edges")
YOUNG = 5.0
"""Seconds: a process without record that is younger may be about to get one."""
_SAVED = ("index", "edge_count", "guest_release")


def up(cfg: LabConfig, parts: Sequence[str] = PARTS) -> None:
    """Bring parts up; cluster and edges need the network, and start side by side.

    Raises:
        preflight.PreflightError: this machine cannot run it.
        process.ProcessError, netns.NetnsError, and the errors of the parts.
    """
    began = time.monotonic()
    preflight.check(cfg, parts)
    with locked(cfg):
        _remember(cfg)
        _clear_leftovers(cfg)
        network.up(cfg)
        work = [part.up for name, part in (("cluster", cluster), ("edges", edges)) if name in parts]
        _side_by_side(cfg, work)
    say(f"lab {cfg.name} is up ({', '.join(parts)}; {time.monotonic() - began:.1f} s)")


def prepare(cfg: LabConfig) -> None:
    """Build what is expensive into the cache and start nothing; what is there already stays.

    Raises:
        kubebuild.BuildError, image.ImageError: it cannot be built.
        preflight.PreflightError: this machine cannot run a lab.
    """
    preflight.check(cfg, PARTS)
    _side_by_side(cfg, [kubebuild.ensure, kubebuild.metallb_crds, image.ensure])


def down(cfg: LabConfig) -> None:
    """Remove everything that is this lab's, but the cache. No farewells: all of it is thrown away.

    Raises:
        process.ProcessError: a process does not end.
        netns.NetnsError: a namespace cannot be removed.
    """
    with locked(cfg), step(f"lab {cfg.name}: down"):
        # Kubelets first, they would start again what is ended here; then all at once.
        records = process.list_all(cfg)
        for chosen in (True, False):
            process.kill_groups([r for r in records if r.name.startswith("kubelet-") is chosen])
        process.sweep(cfg)
        network.down(cfg)
        shutil.rmtree(cfg.disk_dir, ignore_errors=True)
        shutil.rmtree(cfg.state_dir, ignore_errors=True)
        _lock_file(cfg).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: another lab
        STATE_ROOT.rmdir()


def saved(cfg: LabConfig) -> LabConfig:
    """The lab of that name as it stands; `cfg` itself while it is down."""
    try:
        kept = json.loads((cfg.state_dir / "lab.json").read_text())
        return replace(cfg, **{key: kept[key] for key in _SAVED})
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return cfg


def _remember(cfg: LabConfig) -> None:
    standing = saved(cfg)
    if standing.index != cfg.index:
        raise ConfigError(
            f"lab {cfg.name} stands with index {standing.index}, not {cfg.index}: "
            "take it down first"
        )
    cfg.state_dir.mkdir(parents=True, exist_ok=True)
    kept = {key: getattr(cfg, key) for key in _SAVED}
    (cfg.state_dir / "lab.json").write_text(json.dumps(kept))


def _clear_leftovers(cfg: LabConfig) -> None:
    """End processes that a killed command started but did not record."""
    left = process.sweep(cfg, unrecorded_for=YOUNG)
    if left:
        say(f"    ended {len(left)} processes that a killed run left")


def _side_by_side(cfg: LabConfig, work: Sequence[Callable[[LabConfig], object]]) -> None:
    """Run parts in threads; the first failure is raised when all have ended.

    The threads are daemons: Ctrl-C ends the command at once, and the next one goes on from there.
    """
    failures: list[BaseException] = []

    def guarded(part: Callable[[LabConfig], object]) -> None:
        try:
            part(cfg)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for further in failures[1:]:
        say(f"!!! {further}")
    if failures:
        raise failures[0]


def _lock_file(cfg: LabConfig) -> Path:
    return STATE_ROOT / f"{cfg.name}.lock"


@contextlib.contextmanager
def locked(cfg: LabConfig) -> Iterator[None]:
    """One `up` or `down` of a lab at a time; a second one waits for the first."""
    handle = _take_lock(cfg)
    try:
        yield
    finally:
        os.close(handle)


def _take_lock(cfg: LabConfig) -> int:
    """Lock the file that stands under the name now: `down` removes it when it is done."""
    file = _lock_file(cfg)
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"    another command is at work on lab {cfg.name}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), file.stat()):
                return handle
        os.close(handle)
