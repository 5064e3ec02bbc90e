# SPDX-License-Identifier: Apache-2.0
"""Release archives: this package and its locked dependencies as one tree that an edge unpacks.

Built on the controller from the very package that plans there, for the edge's Python and machine:
edges need neither an index nor pip. The tree is a virtual environment that is complete once
unpacked (PEP 405: `pyvenv.cfg` beside `bin/python`), so unpacking is all an edge does.
"""

import compileall
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fairlead
from fairlead.model.errors import FairleadError

RELEASES = Path("/opt/fairlead/releases")
_PACKAGE = Path(fairlead.__file__).parent
_LAYOUT = "2"  # part of the name: a change of the tree's shape makes new releases
# Nine tenths of the kubernetes distribution are its asyncio twin (with an HTTP of its own), typed
# calls and typed models, all imported on demand and never by us (cluster/client.py says why).
_ASYNCIO = "aiohttp aiohttp_retry aiohappyeyeballs aiosignal frozenlist multidict propcache yarl"
_UNUSED = ("kubernetes/aio", "kubernetes/client/api", *_ASYNCIO.split())
_UNUSED_FILES = "kubernetes/client/models/[!_]*.py"
_CONSOLE = """#!{python}
import sys

from fairlead.cli.main import main

sys.exit(main())
"""


class ReleaseError(FairleadError):
    """A release archive could not be built."""


@dataclass(frozen=True)
class Target:
    """What an edge runs.

    Attributes:
        python: Its Python's major and minor version, e.g. `3.11`.
        machine: Its machine as the kernel names it, e.g. `x86_64`.
        interpreter: Its Python, e.g. `/usr/bin/python3`.
    """

    python: str
    machine: str
    interpreter: str = "/usr/bin/python3"


@dataclass(frozen=True)
class Release:
    """A named archive; the name changes whenever its content would."""

    name: str
    archive: Path


def release_for(target: Target, requirements: Path, cache: Path) -> Release:
    """Name the release of the package that is running, with these locked requirements."""
    digest = hashlib.sha256(repr((_LAYOUT, target)).encode())
    digest.update(_read(requirements))
    for path in _sources():
        digest.update(str(path.relative_to(_PACKAGE)).encode())
        digest.update(path.read_bytes())
    name = f"{fairlead.__version__}-{digest.hexdigest()[:12]}"
    return Release(name, cache / f"fairlead-{name}.tar.gz")


def build_release(release: Release, target: Target, requirements: Path) -> None:
    """Download the locked wheels for the target and pack the archive; atomic.

    Raises:
        ReleaseError: pip could not get a wheel for this target, or a hash differs.
    """
    release.archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=release.archive.parent) as scratch:
        tree = Path(scratch) / release.name
        site = tree / "lib" / f"python{target.python}" / "site-packages"
        _install(site, target, requirements)
        _drop_unused(site)
        _copy_package(site / "fairlead")
        _compile(tree, release, target)
        _finish_tree(tree, release, target)
        packed = Path(scratch) / "archive"
        with tarfile.open(packed, "w:gz", compresslevel=6) as archive:
            archive.add(tree, arcname=release.name, filter=_as_root)
        packed.replace(release.archive)


def _sources() -> Iterator[Path]:
    files = (path for path in _PACKAGE.rglob("*") if path.is_file())
    return iter(sorted(path for path in files if "__pycache__" not in path.parts))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(
            f"{path}: locked requirements can't be read: {error.strerror}"
        ) from error


def _install(site: Path, target: Target, requirements: Path) -> None:
    # Wheels name the oldest glibc they run on; these three cover what PyPI serves.
    glibc = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
    argv = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--python-version", target.python, "--implementation", "cp"),
        *(word for tag in glibc for word in ("--platform", f"{tag}_{target.machine}")),
        "--no-compile",
        *("--target", str(site), "--requirement", str(requirements)),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(
            f"the locked wheels for Python {target.python} on {target.machine} could not be "
            f"downloaded: {done.stderr.strip()[-2000:]}"
        )


def _drop_unused(site: Path) -> None:
    for unused in _UNUSED:
        shutil.rmtree(site / unused, ignore_errors=True)
    for unused_file in site.glob(_UNUSED_FILES):
        unused_file.unlink()


def _compile(tree: Path, release: Release, target: Target) -> None:
    """Compile for an edge of the same Python: its agent's user may not write beside the sources."""
    if target.python == f"{sys.version_info.major}.{sys.version_info.minor}":
        place = RELEASES / release.name
        compileall.compile_dir(tree, quiet=2, stripdir=str(tree), prependdir=str(place))


def _copy_package(destination: Path) -> None:
    for source in _sources():
        copy = destination / source.relative_to(_PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())


def _finish_tree(tree: Path, release: Release, target: Target) -> None:
    (tree / "pyvenv.cfg").write_text(
        f"home = {Path(target.interpreter).parent}\n"
        f"include-system-site-packages = false\nversion = {target.python}\n"
    )
    binaries = tree / "bin"
    binaries.mkdir()
    (binaries / "python").symlink_to(target.interpreter)
    console = binaries / "fairlead"
    console.write_text(_CONSOLE.format(python=RELEASES / release.name / "bin" / "python"))
    console.chmod(0o755)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
