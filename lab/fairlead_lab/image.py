# SPDX-License-Identifier: Apache-2.0
"""The guests' disk image and the Debian packages they may install, built once into the cache.

Both come out of one run of mmdebstrap: the packages are resolved against exactly this image, so
they fit together however old the cache is. The image holds a bare Debian and nothing of Fairlead's.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fairlead_lab import aptsources, uml
from fairlead_lab.config import SHM, LabConfig
from fairlead_lab.progress import step

GUEST_FILES = Path(__file__).with_name("guest")
BASE_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "openssh-server", "python3", "python3-apt"),
    *("iproute2", "iputils-ping", "kmod", "ca-certificates", "netbase", "procps"),
)
"""What a bare edge machine has: a Debian, and none of the programs that make it an edge."""
COMMON_PACKAGES = {
    "bookworm": (
        *("libglib2.0-0", "libjansson4", "libnetfilter-conntrack3", "libnftables1", "libnl-3-200"),
        *("libnl-genl-3-200", "libpcap0.8", "libpci3", "libpopt0", "libsensors5", "libsnmp40"),
        *("libssh-gcrypt-4", "python3-venv", "iptables"),
    ),
    "trixie": (
        *("libglib2.0-0t64", "libjansson4", "libnetfilter-conntrack3", "libnftables1"),
        *("libnl-3-200", "libnl-genl-3-200", "libpcap0.8t64", "libpci3", "libpopt0"),
        *("libsensors5", "libsnmp40t64", "libssh-4", "python3-venv", "iptables"),
    ),
}
"""Libraries and helpers as any server has them, here for speed alone: to unpack a package takes a
guest a second or two. A release without an entry is just slower."""
OFFERED_PACKAGES = (
    *("keepalived", "bird2", "frr", "frr-pythontools", "ipvsadm", "nftables"),
    *("conntrack", "ethtool", "tcpdump", "curl", "iputils-arping", "python3-pip"),
    *("sudo", "rsync", "acl", "jq", "iperf3", "strace", "less", "logrotate", "chrony"),
)
"""What a guest can install, with all that these depend on. Add a name here to offer one more."""
SIZE = "2G"
BASE = "base"
"""Name of the link from a lab's disks to the image under them."""
KEPT = 2
"""Images of a release that stay in the cache, beside those in use."""


class ImageError(Exception):
    """The image cannot be built; the message has the tool's last words."""


@dataclass(frozen=True)
class Image:
    """A built image in the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        """Root file system, read-only: guests write to a copy-on-write file."""
        return self.folder / "root.img"

    @property
    def packages(self) -> Path:
        """Flat Debian repository for the guests."""
        return self.folder / "packages"

    @property
    def key(self) -> Path:
        """Private ssh key whose public half is in the image."""
        return self.folder / "id_ed25519"


def ensure(cfg: LabConfig) -> Image:
    """Return the image, building it when the cache has none from the same inputs.

    Raises:
        ImageError: a tool failed.
        aptsources.SourcesError: this machine has no active source of Debian.
        uml.UmlError: the kernel is not installed.
    """
    host = aptsources.host_release()
    release = cfg.guest_release or host
    modules = uml.MODULES / uml.kernel_version()
    root = cfg.cache_dir / "guest"
    image = Image(root / f"{release}-{_key(release, modules)}")
    if (image.folder / "ready").exists():
        return image
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / "lock"):
        if not (image.folder / "ready").exists():
            sources = aptsources.debian_sources(aptsources.read_sources(), host, release)
            for left in root.glob("new-*"):
                shutil.rmtree(left)
            made = Path(tempfile.mkdtemp(prefix="new-", dir=root))
            made.chmod(0o755)
            _build(made, release, sources, modules)
            made.rename(image.folder)
            _prune(root, release)
    return image


def _prune(root: Path, release: str) -> None:
    """Remove images that are neither new nor under the disks of a lab."""
    used = {link.resolve() for link in SHM.glob(f"fairlead-lab-*/{BASE}")}
    found = sorted(root.glob(f"{release}-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for folder in found[KEPT:]:
        if folder.resolve() not in used:
            shutil.rmtree(folder)


def _included(release: str) -> tuple[str, ...]:
    return (*BASE_PACKAGES, *COMMON_PACKAGES.get(release, ()))


def _key(release: str, modules: Path) -> str:
    """Hash of everything that the image is built from, but the day's state of the archive."""
    digest = hashlib.sha256()
    words = (release, modules.name, str(modules.stat().st_mtime_ns), SIZE)
    digest.update("\0".join((*words, *_included(release), "/", *OFFERED_PACKAGES)).encode())
    for file in sorted(GUEST_FILES.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One build at a time on this machine; a second lab waits and finds the image."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _build(made: Path, release: str, sources: Sequence[str], modules: Path) -> None:
    packages = made / "packages"
    (packages / "partial").mkdir(parents=True)
    log = made / "build.log"
    _run(
        log,
        [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "lab",
            "-f",
            str(made / "id_ed25519"),
        ],
    )
    with step(f"guest image: Debian {release} (about half a minute)"):
        _bootstrap(made, release, sources, modules, log)
    with step("guest image: file system and package index"):
        shutil.rmtree(packages / "partial")
        (packages / "lock").unlink(missing_ok=True)
        _run(
            log,
            [
                "sh",
                "-c",
                (
                    "apt-ftparchive packages . >Packages && gzip -9kf Packages && "
                    "apt-ftparchive release . >Release.new && mv Release.new Release"
                ),
            ],
            cwd=packages,
        )
        _run(
            log,
            [
                "mke2fs",
                "-q",
                "-t",
                "ext4",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                "-d",
                str(made / "root"),
                str(made / "root.img"),
                SIZE,
            ],
        )
        shutil.rmtree(made / "root")
    (made / "ready").touch()


def _bootstrap(made: Path, release: str, sources: Sequence[str], modules: Path, log: Path) -> None:
    """Run mmdebstrap in mount and process namespaces of its own: killed, it leaves no mounts."""
    _run(
        log,
        [
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"),
            *("--kill-child=KILL", "--mount-proc", "mmdebstrap", "--mode=root"),
            *("--variant=minbase", f"--include={','.join(_included(release))}"),
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f"--customize-hook={GUEST_FILES / 'customize.sh'}",
            release,
            str(made / "root"),
            *sources,
        ],
        env={
            "LAB_MODULES": str(modules),
            "LAB_KEY": str(made / "id_ed25519.pub"),
            "LAB_GUEST": str(GUEST_FILES),
            "LAB_DEBS": str(made / "packages"),
            "LAB_PACKAGES": " ".join(OFFERED_PACKAGES),
        },
    )


def _run(
    log: Path, argv: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None
) -> None:
    with log.open("ab") as output:
        try:
            status = subprocess.run(
                argv,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            ).returncode
        except FileNotFoundError as error:
            raise ImageError(f"{argv[0]} is not installed") from error
    if status:
        words = log.read_text(errors="replace")[-2500:]
        raise ImageError(f"guest image: {argv[0]} failed (log: {log}):\n{words}")
