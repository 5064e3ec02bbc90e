# SPDX-License-Identifier: Apache-2.0
"""Run one command under a kernel of its own: User-Mode Linux over this machine's files.

    python -m fairlead_lab.uml run [--mem 512M] [--cpu 1] [--out DIR] -- CMD ARGS...

The guest sees this machine's files read-only, has its own /tmp, /run, /dev/shm, network namespace,
IPVS and modules, and is gone when the command ends. It starts in about 1.5 s. What it shall leave
behind it writes to /out (DIR). The command's output is passed on as it comes, its exit status is
the tool's own; no process of the guest outlives the tool, whatever ends it.
"""

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import click

from fairlead_lab.config import cache_dir

KERNEL = "/usr/bin/linux.uml"
MODULES = Path("/usr/lib/uml/modules")
GUEST = Path(__file__).with_name("uml_guest.sh")
BEGIN, END = "@fairlead-begin@", "@fairlead-end@"
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL"),
    *("sh", "-c", '"$@"; exit $?', "sh"),
)
"""Prefix of a command: it dies with this process, and everything it started dies with it.

User-Mode Linux leaves helper processes behind when it is killed; a process namespace does not.
"""
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTEST_ADDOPTS")
WORK_PREFIX = "fairlead-uml-"
TIMED_OUT, NO_STATUS = 124, 125


class UmlError(Exception):
    """The guest could not be started, or it died; the message has its last words."""


def kernel_version() -> str:
    """Version of the installed User-Mode Linux kernel, as its modules are filed under.

    Raises:
        UmlError: it is not installed.
    """
    try:
        done = subprocess.run([KERNEL, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UmlError(
            f"no User-Mode Linux kernel ({KERNEL}): apt-get install user-mode-linux"
        ) from error
    version = done.stdout.strip()
    if not (MODULES / version).is_dir():
        raise UmlError(f"{MODULES / version} is missing: reinstall the package user-mode-linux")
    return version


def module_tree() -> Path:
    """A root folder for `modprobe -d` with the kernel's modules indexed; built once.

    depmod inside the guest would cost two seconds of every start.

    Raises:
        UmlError: depmod or the kernel is missing.
    """
    version = kernel_version()
    stamp = (MODULES / version).stat()
    key = hashlib.sha256(f"{version} {stamp.st_mtime_ns} {stamp.st_ino}".encode()).hexdigest()[:12]
    tree = cache_dir() / "uml" / f"{version}-{key}"
    if (tree / "ready").exists():
        return tree
    cache_dir().joinpath("uml").mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="new-", dir=cache_dir() / "uml"))
    target = made / "lib/modules" / version
    target.parent.mkdir(parents=True)
    try:
        subprocess.run(["cp", "-rs", str(MODULES / version), str(target)], check=True)
        subprocess.run(["depmod", "-b", str(made), version], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(made, ignore_errors=True)
        raise UmlError(f"indexing the kernel's modules failed: {error} (package kmod?)") from error
    made.chmod(0o755)
    (made / "ready").touch()
    with contextlib.suppress(OSError):  # another run was faster
        made.rename(tree)
    shutil.rmtree(made, ignore_errors=True)
    return tree


def run(
    argv: Sequence[str],
    *,
    mem: str = "512M",
    cpu: int | None = None,
    out: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = 600.0,
    emit: Callable[[str], None] | None = None,
    netns: str | None = None,
    kernel_args: Sequence[str] = (),
) -> int:
    """Run a command under a fresh kernel; returns its exit status (124 when out of time).

    Args:
        argv: The command, found on PATH as here.
        mem: Memory of the guest, as the kernel takes it ("512M").
        cpu: The one CPU it runs on; None takes the last one allowed. One CPU makes a guest's system
            calls four times faster than two.
        out: Folder that stands, writable, as /out in the guest.
        cwd: Working folder (default: this process's).
        env: Added to the guest's environment.
        timeout: Seconds after which the guest is killed.
        emit: Takes the output, line by line (default: standard output).
        netns: Network namespace of this machine whose taps the guest may use.
        kernel_args: Added to the kernel's command line, e.g. a `vec0:transport=tap,...`.

    Raises:
        UmlError: the guest did not start or died.
    """
    tree = module_tree()
    _remove_leftovers()
    with _work_folder() as work:
        folder = cwd or Path.cwd()
        _write_job(work, tree, argv, folder, env or {})
        if out:
            out.mkdir(parents=True, exist_ok=True)
        guest = _command(tree, work, folder, out, mem=mem, cpu=_pick_cpu(cpu))
        guest = [*(("ip", "netns", "exec", netns) if netns else ()), *guest, *kernel_args]
        expired, log = _attend(guest, timeout, emit or _print)
        status = work / "status"
        if expired:
            return TIMED_OUT
        if not status.exists():
            raise UmlError(f"the guest died; its console ends:\n{log[-3000:]}")
        return int(status.read_text())


@contextlib.contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder for one run; the lock on it shows that its owner lives."""
    work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX))
    handle = os.open(work, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(handle)


def _remove_leftovers() -> None:
    """Remove folders of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{WORK_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)


def _pick_cpu(wanted: int | None) -> int:
    allowed = os.sched_getaffinity(0)
    return wanted if wanted is not None and wanted in allowed else max(allowed)


def _write_job(
    work: Path, tree: Path, argv: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> None:
    """The command as a script: no quoting can get lost on a kernel's command line."""
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    values = {
        **kept,
        "HOME": "/tmp/home",
        "TMPDIR": "/tmp",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTEST_ADDOPTS": f"{kept.get('PYTEST_ADDOPTS', '')} -p no:cacheprovider".strip(),
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
        **env,
    }
    helper = work / "modprobe"  # what the kernel and ipvsadm run when they miss a module
    helper.write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {shlex.quote(str(tree))} "$@"\n')
    helper.chmod(0o755)
    lines = [f"export {key}={shlex.quote(value)}" for key, value in values.items()]
    (work / "job").write_text(
        "\n".join([*lines, f"cd {shlex.quote(str(cwd))} || exit 126", f"exec {shlex.join(argv)}\n"])
    )


def _command(
    tree: Path, work: Path, cwd: Path, out: Path | None, *, mem: str, cpu: int
) -> list[str]:
    return [
        *CONTAINED,
        *("taskset", "-c", str(cpu), KERNEL),
        *(f"mem={mem}", f"uml_dir={work}/", "umid=uml", "root=/dev/root", "rootfstype=hostfs"),
        *("rootflags=/", "ro", f"init={GUEST}", "quiet", "con=null", "con0=fd:0,fd:1"),
        *(f"FL_TREE={tree}", f"FL_WORK={work}", f"FL_CWD={cwd}", f"FL_OUT={out or ''}"),
    ]


def _attend(
    guest: Sequence[str], timeout: float | None, emit: Callable[[str], None]
) -> tuple[bool, str]:
    """Run the guest to its end: whether its time ran out, and what its console said."""
    console: list[str] = []
    with subprocess.Popen(
        guest,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "TMPDIR": "/dev/shm"},
    ) as running:
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            _kill_group(running.pid)

        timer = threading.Timer(timeout, kill) if timeout else None
        if timer:
            timer.start()
        try:
            assert running.stdout is not None
            _pass_on(running.stdout, console, emit)
        finally:
            if timer:
                timer.cancel()
            _kill_group(running.pid)
            running.wait()
    return expired.is_set(), "".join(console)


def _pass_on(source: IO[bytes], console: list[str], emit: Callable[[str], None]) -> None:
    """Pass on what lies between the guest's two marks; the rest is the kernel's own talk."""
    inside = False
    for raw in source:
        line = raw.decode(errors="replace").replace("\r", "")
        console.append(line)
        if line.startswith(BEGIN):
            inside = True
        elif END in line:
            head = line[: line.index(END)]  # the command's last line may have no end of its own
            if inside and head:
                emit(head)
            return
        elif inside:
            emit(line)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@click.group()
def cli() -> None:
    """A kernel of its own for one command."""


@cli.command("run")
@click.option("--mem", default="512M", show_default=True, help="Memory of the guest.")
@click.option("--cpu", type=int, help="CPU to run on (default: the last one).")
@click.option("--out", type=click.Path(file_okay=False), help="Folder seen as /out, writable.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds; 0: none.")
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="Added to the environment.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    *,
    mem: str,
    cpu: int | None,
    out: str | None,
    timeout: float,
    env: tuple[str, ...],
    argv: tuple[str, ...],
) -> None:
    """Run ARGV... in a fresh kernel over this machine's files."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pairs = dict(entry.split("=", 1) for entry in env)
    try:
        status = run(
            argv,
            mem=mem,
            cpu=cpu,
            out=Path(out).absolute() if out else None,
            env=pairs,
            timeout=timeout or None,
        )
    except UmlError as error:
        print(f"uml: {error}", file=sys.stderr)
        sys.exit(NO_STATUS)
    if status == TIMED_OUT:
        print(f"uml: killed after {timeout:.0f} s", file=sys.stderr)
    sys.exit(status)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    cli()
