# SPDX-License-Identifier: Apache-2.0
"""The packet filter's tools: nftables, or legacy iptables where nf_tables lacks the IP families.

Every run has a time-out, and whatever goes wrong is an `ApplyError` with the tool's own words.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fairlead.model.errors import ApplyError

IPTABLES: Final = {4: "iptables-legacy", 6: "ip6tables-legacy"}
_SECONDS = 20
_WAIT = "--wait=5"  # seconds for another's lock; iptables-restore takes no number after -w
_ANEW_SECONDS = 25.0  # a "no" of the kernel is asked again at the next resync
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


class _Probe:
    """Whether nftables can be used: a yes holds until a load fails, a no for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answer: bool | None = None
        self._until = 0.0

    def __call__(self) -> bool:
        now = self._clock()
        if self._answer is None or (not self._answer and now >= self._until):
            self._answer, self._until = _probe(), now + _ANEW_SECONDS
        return self._answer

    def forget(self) -> None:
        """Ask again next time."""
        self._answer = None


def _probe() -> bool:
    """Ask the kernel: some have nf_tables for bridges only."""
    if shutil.which("nft") is None:
        return False
    try:
        return run(["nft", "-c", "add table inet fairlead_probe"]).returncode == 0
    except ApplyError:
        return False


nftables_usable = _Probe()
"""Whether the kernel's nf_tables has the inet family."""


def load_nft(script: str) -> None:
    """Load a script in one transaction; raises `ApplyError`."""
    try:
        run_tool(["nft", "-f", "-"], script)
    except ApplyError:
        nftables_usable.forget()
        raise


def listed_chain(chain: Chain, version: int) -> list[str] | None:
    """Lines of `iptables -S` of a whole table; None where the table is not there.

    Asking for a table would create it; the nat table switches conntrack on for every packet.
    """
    if not _module_loaded(chain.module(version)) or shutil.which(IPTABLES[version]) is None:
        return None
    argv = [IPTABLES[version], _WAIT, "-t", chain.table, "-S"]
    return run_tool(argv).splitlines()


def load_chain(chain: Chain, version: int, text: str, jumps: int) -> None:
    """Replace a chain in one commit, and have it jumped to exactly once; raises `ApplyError`.

    `text` is input for `iptables-restore --noflush`, `jumps` how often it is jumped to now.
    """
    tool = IPTABLES[version]
    run_tool([f"{tool}-restore", _WAIT, "--noflush"], text)
    for _ in range(jumps, 1):
        run_tool([tool, _WAIT, "-t", chain.table, "-A", chain.hook, "-j", chain.name])
    _drop_jumps(chain, version, jumps - 1)


def unload_chain(chain: Chain, version: int, jumps: int, *, there: bool) -> None:
    """Take a chain away, with what jumps to it; raises `ApplyError`."""
    _drop_jumps(chain, version, jumps)
    if there:
        for verb in ("-F", "-X"):
            run_tool([IPTABLES[version], _WAIT, "-t", chain.table, verb, chain.name])


def _drop_jumps(chain: Chain, version: int, number: int) -> None:
    for _ in range(number):
        argv = [IPTABLES[version], _WAIT, "-t", chain.table, "-D", chain.hook, "-j", chain.name]
        run_tool(argv)


def run(argv: Sequence[str], stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a tool and return whatever it answered; `ApplyError` where it could not run or hung."""
    own = {} if os.geteuid() == 0 else {"XTABLES_LOCKFILE": _AGENT_XTABLES_LOCK}
    try:
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, **own},
        )
    except subprocess.TimeoutExpired as error:
        raise ApplyError(
            f"{' '.join(argv)}: no answer in {_SECONDS} s; the packet filter was not changed"
        ) from error
    except OSError as error:
        raise ApplyError(
            f"{argv[0]}: {error.strerror}; the packet filter was not changed (role edge_firewall "
            "installs the tool)"
        ) from error


def run_tool(argv: Sequence[str], stdin: str = "") -> str:
    """Run a tool that must succeed; returns what it printed. Raises `ApplyError`."""
    done = run(argv, stdin)
    if done.returncode != 0:
        raise ApplyError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def _module_loaded(name: str) -> bool:
    try:
        lines = Path("/proc/modules").read_text().splitlines()
    except FileNotFoundError:  # a kernel without modules
        return False
    return any(line.split(" ", 1)[0] == name for line in lines)
