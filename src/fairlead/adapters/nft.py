# SPDX-License-Identifier: Apache-2.0
"""Source NAT of masqueraded flows on this edge, by nftables or, on old kernels, by iptables.

The choice is the kernel's: where nf_tables has the `inet` family it is used, else legacy iptables
writes the same rule into a chain of our own. Actual state is read from the kernel.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from fairlead.model.errors import ApplyError
from fairlead.model.names import Protocol
from fairlead.render import MasqueradeTarget, render_iptables, render_nft
from fairlead.render.nft import IPTABLES_CHAIN, TABLE

# IPVS hands its packets to conntrack only with this; a write needs CAP_NET_ADMIN.
CONNTRACK_SYSCTL = Path("/proc/sys/net/ipv4/vs/conntrack")
_SETS = ("masquerade4", "masquerade6")
_IPTABLES = {4: "iptables-legacy", 6: "ip6tables-legacy"}
_NAT_MODULES = {4: "iptable_nat", 6: "ip6table_nat"}
_SECONDS = 20
# The agent is not root and can't make /run/xtables.lock; the edge's lock keeps our writers apart.
_AGENT_XTABLES_LOCK = "/run/fairlead/xtables.lock"


@dataclass(frozen=True)
class MasqueradeChange:
    """Targets in the kernel before and after; equal where nothing was to do."""

    before: frozenset[MasqueradeTarget]
    after: frozenset[MasqueradeTarget]

    @property
    def changed(self) -> bool:
        """Whether the kernel had to be (or would be) changed."""
        return self.before != self.after


def reconcile_masquerade(
    targets: Iterable[MasqueradeTarget], *, check: bool = False
) -> MasqueradeChange:
    """Make exactly these virtual servers' flows leave with the edge's own source address.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    wanted = frozenset(targets)
    change = MasqueradeChange(masqueraded(), wanted)
    if check:
        return change
    if wanted:
        _enable_conntrack()
    if change.changed:
        if nftables_usable():
            _run(["nft", "-f", "-"], render_nft(wanted))
        else:
            _write_iptables(change)
    return change


def masqueraded() -> frozenset[MasqueradeTarget]:
    """Return the targets that the kernel masquerades now."""
    found: set[MasqueradeTarget] = set()
    if nftables_usable():
        for name in _SETS:
            found.update(_nft_targets(name))
    else:
        for version in (4, 6):
            found.update(_iptables_targets(version))
    return frozenset(found)


@cache
def nftables_usable() -> bool:
    """Whether the kernel's nf_tables has the inet family (some kernels have only bridge)."""
    if shutil.which("nft") is None:
        return False
    probe = subprocess.run(
        ["nft", "-c", "add table inet fairlead_probe"], capture_output=True, check=False
    )
    return probe.returncode == 0


def _nft_targets(name: str) -> Iterable[MasqueradeTarget]:
    # A missing table or set is the empty state; -t (terse) would hide the elements.
    done = subprocess.run(
        ["nft", "-j", "list", "set", "inet", TABLE, name],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        return
    document: dict[str, Any] = json.loads(done.stdout)
    for item in document["nftables"]:
        for element in item.get("set", {}).get("elem", ()):
            address, protocol, port = element["concat"]
            yield MasqueradeTarget(ip_address(address), Protocol(protocol.upper()), int(port))


def _iptables_targets(version: int) -> Iterable[MasqueradeTarget]:
    # Asking for the nat table would create it, and switch conntrack on for every packet.
    if not _module_loaded(_NAT_MODULES[version]) or shutil.which(_IPTABLES[version]) is None:
        return
    done = subprocess.run(
        [_IPTABLES[version], "-w", "-t", "nat", "-S", IPTABLES_CHAIN],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env=_environment(),
    )
    if done.returncode != 0:
        return
    for line in done.stdout.splitlines():
        words = line.split()
        if "--ctorigdst" in words:
            address = ip_interface(words[words.index("--ctorigdst") + 1]).ip
            port = int(words[words.index("--ctorigdstport") + 1])
            protocol = Protocol(words[words.index("-p") + 1].upper())
            yield MasqueradeTarget(address, protocol, port)


def _module_loaded(name: str) -> bool:
    return any(
        line.split(" ", 1)[0] == name for line in Path("/proc/modules").read_text().splitlines()
    )


def _write_iptables(change: MasqueradeChange) -> None:
    for version, tool in _IPTABLES.items():
        wanted = [target for target in change.after if target.address.version == version]
        present = any(target.address.version == version for target in change.before)
        if not wanted and not present:
            continue
        _run([f"{tool}-restore", "-w", "--noflush"], render_iptables(wanted, version))
        jump = ["POSTROUTING", "-j", IPTABLES_CHAIN]
        hooked = subprocess.run(
            [tool, "-w", "-t", "nat", "-C", *jump],
            capture_output=True,
            check=False,
            env=_environment(),
        )
        if hooked.returncode != 0:
            _run([tool, "-w", "-t", "nat", "-A", *jump])


def _enable_conntrack() -> None:
    try:
        if CONNTRACK_SYSCTL.read_text().strip() != "1":
            CONNTRACK_SYSCTL.write_text("1")
    except OSError as error:
        raise ApplyError(
            f"{CONNTRACK_SYSCTL}: {error.strerror}: forwarding by masquerade needs it to be 1; "
            "load ip_vs and let the agent write there, or set it with the role edge_ipvs"
        ) from error


def _run(argv: Sequence[str], stdin: str = "") -> None:
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env=_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplyError(
            f"{argv[0]}: {error}; source NAT for masquerade was not changed"
        ) from error
    if done.returncode != 0:
        raise ApplyError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _environment() -> dict[str, str]:
    own = {} if os.geteuid() == 0 else {"XTABLES_LOCKFILE": _AGENT_XTABLES_LOCK}
    return {**os.environ, **own}
