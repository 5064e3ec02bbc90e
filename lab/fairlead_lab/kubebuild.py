# SPDX-License-Identifier: Apache-2.0
"""Builds the Kubernetes programs of the lab, once, and brings metallb.io's CRDs.

No package registry ships kube-apiserver, but the Go module proxy has its source: ``lab/kube`` is
a module of a few lines whose binary is every program at once, told apart by the name it is
started under. It is built into the cache under a key of what goes into it, so a second lab, or
the same one tomorrow, finds it there. Cold: about six minutes on two cores; Go's own cache makes
a rebuild after a small change a matter of seconds.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fairlead_lab.config import LabConfig
from fairlead_lab.process import ProcessError
from fairlead_lab.progress import step

SOURCE = Path(__file__).resolve().parent.parent / "kube"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl")
MODULE_FILES = ("go.mod", "go.sum", "main.go")
METALLB = ("go.universe.tf/metallb", "v0.16.2", "h1:RCSAGoZmqcvTg0e56+Okbwz8iTuQVX30JpKX5mYEPUM=")
"""Module, version and checksum (as in a go.sum) of the source of the metallb.io CRDs."""


class BuildError(ProcessError):
    """The programs cannot be had; the message says what to do."""


@dataclass(frozen=True)
class KubePrograms:
    """Where the built programs lie."""

    folder: Path

    def path(self, program: str) -> str:
        """The program's absolute path."""
        return str(self.folder / program)

    @property
    def built(self) -> bool:
        """Whether they are all there."""
        return all((self.folder / program).exists() for program in PROGRAMS)


def find(cfg: LabConfig) -> KubePrograms:
    """Return where the programs are, or will be once they are built.

    Raises:
        BuildError: Go is missing.
    """
    return KubePrograms(cfg.cache_dir / "kube" / _key(_go(cfg), _build_flags()))


def ensure(cfg: LabConfig) -> KubePrograms:
    """Return the programs, building them when the cache does not have them.

    Raises:
        BuildError: Go is missing or too old, or the build fails.
    """
    programs = find(cfg)
    if programs.built:
        return programs
    # The step first: to wait for somebody else's build takes minutes, too.
    with step("building Kubernetes (about 6 minutes when cold)"), _locked(cfg.cache_dir / "kube"):
        if not programs.built:
            _build(_go(cfg), _build_flags(), programs.folder)
    return programs


def metallb_crds(cfg: LabConfig) -> Path:
    """Return one YAML file with the metallb.io CRDs as upstream ships them.

    Raises:
        BuildError: the module cannot be fetched or is not the one that was pinned.
    """
    module, version, checksum = METALLB
    target = cfg.cache_dir / "metallb" / version / "crds.yaml"
    if target.exists():
        return target
    with step(f"fetching the CRDs of {module} {version}"):
        answer = subprocess.run(
            [_go(cfg), "mod", "download", "-json", f"{module}@{version}"],
            check=False,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
        )
        try:
            found = json.loads(answer.stdout)
        except json.JSONDecodeError as error:
            raise BuildError(f"go mod download {module}: {answer.stderr.strip()}") from error
        if found.get("Error") or found["Sum"] != checksum:
            raise BuildError(
                f"go mod download {module}@{version}: {found.get('Error') or 'other checksum'}"
            )
        files = sorted(Path(found["Dir"], "config", "crd", "bases").glob("*.yaml"))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        partial.write_text("\n---\n".join(file.read_text() for file in files))
        partial.replace(target)
    return target


def _go(cfg: LabConfig) -> str:
    # The last one is where tools/setup.sh puts a toolchain on a machine that has none.
    places = f"/usr/local/go/bin:/usr/lib/go/bin:{cfg.cache_dir}/go/bin"
    go = shutil.which("go") or shutil.which("go", path=places)
    if go is None:
        raise BuildError(
            "no Go compiler: Kubernetes has to be built from its modules. Install Go "
            f"{_wanted_go()} or newer (https://go.dev/dl), and have `go` on PATH."
        )
    return go


def _wanted_go() -> str:
    found = re.search(r"^go (\S+)", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    return found.group(1) if found else "1.26"


def _environment() -> dict[str, str]:
    home = os.environ.get("HOME") or "/root"
    # The compiler is many short processes: letting garbage lie saves a twentieth of it.
    return {"GOGC": "400", **os.environ, "CGO_ENABLED": "0", "HOME": home}


def _build_flags() -> tuple[str, ...]:
    """Without a stamped version the programs believe they are v0.0 and switch features by that."""
    found = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", (SOURCE / "go.mod").read_text())
    if found is None:
        raise BuildError(f"{SOURCE / 'go.mod'} does not require k8s.io/kubernetes")
    package = "k8s.io/component-base/version"
    version, major, minor = found.groups()
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    linker = " ".join(f"-X {package}.{name}={value}" for name, value in stamps.items())
    # -s -w drops the debugging information anyway: not to make it saves a tenth of the build.
    debug = "-gcflags=all=-dwarf=false"
    return ("-trimpath", "-buildvcs=false", debug, "-ldflags", f"-s -w {linker}")


def _key(go: str, flags: tuple[str, ...]) -> str:
    version = subprocess.run(
        [go, "env", "GOVERSION", "GOARCH"],
        check=True, capture_output=True, env=_environment(), cwd=SOURCE,
    ).stdout  # fmt: skip
    digest = hashlib.sha256(version + "\0".join((*flags, *PROGRAMS)).encode())
    for name in MODULE_FILES:
        digest.update((SOURCE / name).read_bytes())
    return digest.hexdigest()[:16]


def _build(go: str, flags: tuple[str, ...], folder: Path) -> None:
    """Build into a folder beside the final one and move it there when it is whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # What a build leaves that was ended half-way goes with the folder.
    scratch = partial / "scratch"
    scratch.mkdir(parents=True)
    binary = partial / "fairlead-kube"
    done = subprocess.run(
        # It ends with whoever started it.
        ["setpriv", "--pdeathsig", "TERM", "nice", "-n", "10",
         go, "build", *flags, "-o", str(binary), "."],
        check=False, capture_output=True, text=True, cwd=SOURCE,
        env={**_environment(), "GOTMPDIR": str(scratch)},
    )  # fmt: skip
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise BuildError(
            f"go build in {SOURCE} failed (needs Go {_wanted_go()} or newer and the Go module "
            f"proxy, see `go env GOPROXY`):\n{tail}"
        )
    shutil.rmtree(scratch, ignore_errors=True)
    for program in PROGRAMS:
        (partial / program).symlink_to(binary.name)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two labs that start at once build once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    metallb_crds(LabConfig.from_env())
    print(ensure(LabConfig.from_env()).folder)
