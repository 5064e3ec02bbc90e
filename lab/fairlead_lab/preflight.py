# SPDX-License-Identifier: Apache-2.0
"""What the lab needs of this machine, said before anything is made."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from fairlead_lab import aptsources, network
from fairlead_lab.config import SHM, LabConfig
from fairlead_lab.edges import MEMORY

TUN = Path("/dev/net/tun")
DISK_MB = 300
"""What a provisioned edge's copy-on-write file may grow to, with some air."""
_NETWORK = {"ip": "iproute2", "bird": "bird2", "birdc": "bird2", "sysctl": "procps"}
_CLUSTER = {"etcd": "etcd-server", "nft": "nftables"}
_EDGES = {
    "linux.uml": "user-mode-linux",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "depmod": "kmod",
    "ssh": "openssh-client",
    "apt-ftparchive": "apt-utils",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
TOOLS = {"network": _NETWORK, "cluster": _CLUSTER, "edges": _EDGES}


class PreflightError(Exception):
    """This machine cannot run the lab as it is; the message has one sentence per reason."""


def check(cfg: LabConfig, parts: Iterable[str]) -> None:
    """Look at everything before giving the reasons, all at once.

    Raises:
        PreflightError: something is missing.
    """
    if os.geteuid() != 0:
        raise PreflightError("not root: the lab makes network namespaces and taps (use sudo)")
    chosen = {"network", *parts}
    wrong = missing_tools(chosen)
    if "edges" in chosen:
        wrong += [*_wrong_release(), *_wrong_tun(), *_wrong_memory(cfg)]
    if shutil.which("ip") and (link := network.foreign_lan(cfg)):
        wrong.append(
            f"this machine reaches {cfg.lan4} by {link} already: another lab has the index "
            f"{cfg.index}, choose one with --index (and a name with --name)"
        )
    if wrong:
        raise PreflightError("\n".join(wrong))


def missing_tools(parts: Iterable[str]) -> list[str]:
    """One sentence with the command that installs what is missing; nothing if nothing is."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    packages = {
        package
        for part in parts
        for tool, package in TOOLS[part].items()
        if shutil.which(tool, path=places) is None
    }
    if not packages:
        return []
    line = f"apt-get install --no-install-recommends {' '.join(sorted(packages))}"
    return [f"programs are missing: {line}"]


def _wrong_release() -> list[str]:
    try:
        release = aptsources.host_release()
    except (OSError, aptsources.SourcesError) as error:
        return [f"{error}: the lab is made for Debian 12 and 13"]
    if release not in {"bookworm", "trixie"}:
        return [f"this is Debian {release}: the lab is made for Debian 12 and 13"]
    return []


def _wrong_tun() -> list[str]:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return [
            (
                f"{TUN} cannot be opened ({error.strerror}): load the module with 'modprobe tun', "
                "or give this machine the device; the edges hang on taps"
            )
        ]
    return []


def _wrong_memory(cfg: LabConfig) -> list[str]:
    """Guests keep their memory and their disks there."""
    need = sum(
        int(MEMORY.rstrip("M")) + DISK_MB
        for edge in cfg.edges
        if not (cfg.disk_dir / f"{edge}.cow").exists()
    )
    free = shutil.disk_usage(SHM).free // 2**20
    if free < need:
        return [f"{SHM} has {free} MB free, {cfg.edge_count} edges need {need} MB"]
    return []
