# SPDX-License-Identifier: Apache-2.0
"""The packet filter's tools: nftables, or legacy iptables where nf_tables lacks the IP families.

What goes into it is the business of `nft` (source NAT) and `source_filter` (who is let in). All of
ours stands in one table of nftables, or in chains of our own; nothing else is touched.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from fairlead.model.errors import ApplyError
from fairlead.model.names import IPAddress
from fairlead.render.nft import TABLE

IPTABLES = {4: "iptables-legacy", 6: "ip6tables-legacy"}
_SECONDS = 20
# The agent is not root and can't make /run/xtables.lock; the edge's lock keeps our writers apart.
_AGENT_XTABLES_LOCK = "/run/fairlead/xtables.lock"


class Chain(NamedTuple):
    """A chain of ours in a table of legacy iptables, and the built-in chain that jumps to it."""

    table: str
    hook: str
    name: str

    def module(self, version: int) -> str:
        """Kernel module of the table, e.g. `ip6table_nat`."""
        return f"{'ip' if version == 4 else 'ip6'}table_{self.table}"


@cache
def nftables_usable() -> bool:
    """Whether the kernel's nf_tables has the inet family (some kernels have only bridge)."""
    if shutil.which("nft") is None:
        return False
    probe = subprocess.run(
        ["nft", "-c", "add table inet fairlead_probe"], capture_output=True, check=False
    )
    return probe.returncode == 0


def load_nft(script: str) -> None:
    """Load a script in one transaction; raises `ApplyError`."""
    run_tool(["nft", "-f", "-"], script)


def set_elements(name: str) -> Iterator[list[Any]]:
    """Concatenated elements of a set of our table, as `nft -j` shows them; none without it."""
    for element in _listed("set", name):
        yield element["concat"]


def map_elements(name: str) -> Iterator[tuple[list[Any], Any]]:
    """Concatenated keys and values of a map of our table; none without it."""
    for key, value in _listed("map", name):
        yield key["concat"], value


def ports_of(shown: int | str | dict[str, Any]) -> tuple[int, int]:
    """First and last port as `nft -j` (a number, a range) or `iptables -S` (`80:90`) shows them."""
    if isinstance(shown, dict):
        first, last = shown["range"]
        return int(first), int(last)
    begin, _, end = str(shown).partition(":")
    return int(begin), int(end or begin)


def _listed(kind: str, name: str) -> Iterator[Any]:
    """Elements of a set or map of our table."""
    # A missing table or set is the empty state; -t (terse) would hide the elements.
    done = subprocess.run(
        ["nft", "-j", "list", kind, "inet", TABLE, name],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        return
    document: dict[str, Any] = json.loads(done.stdout)
    for item in document["nftables"]:
        yield from item.get(kind, {}).get("elem", ())


def chain_rules(chain: Chain, version: int) -> Iterator[list[str]]:
    """Words of the rules of a chain; none without it."""
    # Asking for a table would create it; the nat table switches conntrack on for every packet.
    if not _module_loaded(chain.module(version)) or shutil.which(IPTABLES[version]) is None:
        return
    done = subprocess.run(
        [IPTABLES[version], "-w", "-t", chain.table, "-S", chain.name],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env=_environment(),
    )
    if done.returncode == 0:
        yield from (line.split() for line in done.stdout.splitlines() if line.startswith("-A"))


def load_chain(chain: Chain, version: int, text: str) -> None:
    """Replace a chain in one commit and see that it is jumped to; raises `ApplyError`."""
    tool = IPTABLES[version]
    run_tool([f"{tool}-restore", "-w", "--noflush"], text)
    jump = [chain.hook, "-j", chain.name]
    hooked = subprocess.run(
        [tool, "-w", "-t", chain.table, "-C", *jump],
        capture_output=True,
        check=False,
        env=_environment(),
    )
    if hooked.returncode != 0:
        run_tool([tool, "-w", "-t", chain.table, "-A", *jump])


class Filtering(Protocol):
    """What a rule is about; rules of two families stand in two tables of iptables."""

    @property
    def address(self) -> IPAddress:
        """The VIP."""


Rule = TypeVar("Rule", bound=Filtering)


@dataclass(frozen=True)
class RuleChange(Generic[Rule]):
    """Rules in the kernel before and after; equal where nothing was to do."""

    before: frozenset[Rule]
    after: frozenset[Rule]

    @property
    def changed(self) -> bool:
        """Whether the kernel had to be (or would be) changed."""
        return self.before != self.after

    def load(
        self, chain: Chain, nft: Callable[[], str], iptables: Callable[[set[Rule], int], str]
    ) -> None:
        """Make it true by the tool that this kernel takes.

        Args:
            chain: Where iptables has the rules.
            nft: Renders the script for nftables.
            iptables: Renders the rules of one family, 4 or 6; asked where they differ.

        Raises:
            ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
        """
        if nftables_usable():
            load_nft(nft())
            return
        for version in IPTABLES:
            before = {one for one in self.before if one.address.version == version}
            after = {one for one in self.after if one.address.version == version}
            if before != after:
                load_chain(chain, version, iptables(after, version))


def run_tool(argv: Sequence[str], stdin: str = "") -> None:
    """Run a tool.

    Raises:
        ApplyError: It could not run or refused.
    """
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
            f"{argv[0]}: {error}; the packet filter was not changed (role edge_firewall "
            "installs the tool)"
        ) from error
    if done.returncode != 0:
        raise ApplyError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _module_loaded(name: str) -> bool:
    return any(
        line.split(" ", 1)[0] == name for line in Path("/proc/modules").read_text().splitlines()
    )


def _environment() -> dict[str, str]:
    own = {} if os.geteuid() == 0 else {"XTABLES_LOCKFILE": _AGENT_XTABLES_LOCK}
    return {**os.environ, **own}
