# SPDX-License-Identifier: Apache-2.0
"""Rules of ours in the packet filter: read with all that carries them, compared, made true.

Not only what rules say is compared, but that they are there to be met: chains and their hooks, the
rules in them, the jumps to them. Where nothing is wanted, nothing of ours stands.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fairlead.edge.filter_tools import (
    IPTABLES,
    Chain,
    listed_chain,
    load_chain,
    load_nft,
    nftables_usable,
    unload_chain,
)
from fairlead.edge.nft_table import NftTable, read_table
from fairlead.model.names import IPAddress
from fairlead.render.nft_layout import TABLE, NftLayout, render_layout


class Filtering(Protocol):
    """What a rule is about; rules of two families stand in two tables of iptables."""

    @property
    def address(self) -> IPAddress:
        """The VIP."""


Rule = TypeVar("Rule", bound=Filtering)


@dataclass(frozen=True)
class RuleKind(Generic[Rule]):
    """One kind of rules, and how each of the two tools has it.

    Attributes:
        layout: What stands in nftables for some rules; None for none.
        sets: Names of its sets or maps there.
        read: Rules in the sets; what can't be read is added to the faults.
        elements: Script that leads from some rules to others where the layout stands already; None
            makes it anew each time.
        chain: Where iptables has the rules.
        rows: Words of an iptables rule as values; raises ValueError for a foreign one.
        gather: Rules of such values.
        iptables: Input for iptables-restore; rules of one family, and the family.
    """

    layout: Callable[[Iterable[Rule]], NftLayout | None]
    nft_chain: str
    sets: tuple[str, ...]
    read: Callable[[NftTable, list[str]], frozenset[Rule]]
    chain: Chain
    rows: Callable[[list[str]], Any]
    gather: Callable[[Iterable[Any]], frozenset[Rule]]
    iptables: Callable[[Iterable[Rule], int], str]
    elements: Callable[[frozenset[Rule], frozenset[Rule]], str] | None = None


@dataclass(frozen=True)
class Carrier:
    """What carries a family's rules in iptables."""

    there: bool = False
    jumps: int = 0


@dataclass(frozen=True)
class RuleState(Generic[Rule]):
    """What the kernel has of a kind.

    Attributes:
        rules: What they say.
        faults: What is wrong with what carries them, in words, whatever is wanted.
        table: The nftables table, None where iptables is used.
        carriers: Of iptables, by family.
        rows: Values of iptables' rules in their order, by family.
    """

    rules: frozenset[Rule]
    faults: tuple[str, ...]
    table: NftTable | None
    carriers: dict[int, Carrier]
    rows: dict[int, list[Any]]


@dataclass(frozen=True)
class RuleChange(Generic[Rule]):
    """Rules before and after, and what was wrong with what carries them."""

    before: frozenset[Rule]
    after: frozenset[Rule]
    faults: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the kernel had to be (or would be) changed."""
        return self.before != self.after or bool(self.faults)


def read_rules(kind: RuleKind[Rule]) -> RuleState[Rule]:
    """What the kernel has; raises `ApplyError`."""
    faults: list[str] = []
    rules: frozenset[Rule] = frozenset()
    table = read_table() if nftables_usable() else None
    if table is not None:
        rules = kind.read(table, faults)
    carriers, rows = {}, {}
    for version in IPTABLES:
        carriers[version], rows[version] = _read_chain(kind, version, faults)
    if table is None:
        rules = kind.gather(row for version in IPTABLES for row in rows[version])
    return RuleState(rules, tuple(faults), table, carriers, rows)


def compare(
    kind: RuleKind[Rule], wanted: frozenset[Rule], actual: RuleState[Rule]
) -> RuleChange[Rule]:
    """What has to be done."""
    found = _nft_faults if actual.table is not None else _iptables_faults
    faults = tuple(dict.fromkeys((*actual.faults, *found(kind, wanted, actual))))
    return RuleChange(actual.rules, wanted, faults)


def make_rules(kind: RuleKind[Rule], change: RuleChange[Rule], actual: RuleState[Rule]) -> None:
    """Do it.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    if actual.table is not None:
        _load_nft(kind, change, actual.table)
    for version in IPTABLES:
        mine = {one for one in change.after if one.address.version == version}
        _load_iptables(kind, set() if actual.table is not None else mine, version, actual)


def reconcile(
    kind: RuleKind[Rule], wanted: Iterable[Rule], *, check: bool = False
) -> RuleChange[Rule]:
    """Read, compare, and make true; raises `ApplyError`."""
    actual = read_rules(kind)
    change = compare(kind, frozenset(wanted), actual)
    if change.changed and not check:
        make_rules(kind, change, actual)
    return change


def ports_of(shown: int | str | dict[str, Any]) -> tuple[int, int]:
    """First and last port as `nft -j` (a number, a range) or `iptables -S` (`80:90`) shows them."""
    if isinstance(shown, dict):
        first, last = shown["range"]
        return int(first), int(last)
    begin, _, end = str(shown).partition(":")
    return int(begin), int(end or begin)


# -- nftables ---------------------------------------------------------------------------------


def _nft_faults(
    kind: RuleKind[Rule], wanted: frozenset[Rule], actual: RuleState[Rule]
) -> Iterator[str]:
    table = actual.table or NftTable()
    layout = kind.layout(wanted)
    if layout is not None:
        yield from table.faults(layout)
    elif kind.nft_chain in table.chains or any(name in table.sets for name in kind.sets):
        yield "nothing is wanted, and something of ours stands"
    if any(one.there or one.jumps for one in actual.carriers.values()):
        yield f"chain {kind.chain.name} of iptables stands beside nftables"


def _load_nft(kind: RuleKind[Rule], change: RuleChange[Rule], table: NftTable) -> None:
    layout = kind.layout(change.after)
    if layout is not None and not change.faults and kind.elements is not None:
        load_nft(kind.elements(change.before, change.after))
        return
    chains = [kind.nft_chain] if kind.nft_chain in table.chains else []
    sets = [(table.sets[name][0], name) for name in kind.sets if name in table.sets]
    script = render_layout(layout, chains, sets)
    last = not (set(table.chains) - set(chains)) and not (set(table.sets) - set(kind.sets))
    if layout is None and last and (chains or sets):
        script += f"delete table inet {TABLE}\n"
    load_nft(script)


# -- iptables ---------------------------------------------------------------------------------


def _read_chain(kind: RuleKind[Rule], version: int, faults: list[str]) -> tuple[Carrier, list[Any]]:
    chain = kind.chain
    lines = listed_chain(chain, version)
    if lines is None:
        return Carrier(), []
    rows, jumps, there = [], 0, False
    for line in lines:
        words = line.split()
        if words[:2] == ["-N", chain.name]:
            there = True
        elif words[:2] == ["-A", chain.hook] and words[-2:] == ["-j", chain.name]:
            jumps += 1
        elif words[:2] == ["-A", chain.name]:
            try:
                rows.append(kind.rows(words))
            except (ValueError, IndexError):
                faults.append(f"chain {chain.name} holds a rule that is not ours")
    return Carrier(there, jumps), rows


def _iptables_faults(
    kind: RuleKind[Rule], wanted: frozenset[Rule], actual: RuleState[Rule]
) -> Iterator[str]:
    for version, carrier in actual.carriers.items():
        mine = {one for one in wanted if one.address.version == version}
        if not mine:
            if carrier.there or carrier.jumps:
                yield f"nothing is wanted of IPv{version}, and chain {kind.chain.name} stands"
            continue
        if not carrier.there:
            yield f"chain {kind.chain.name} of IPv{version} is missing"
        if carrier.jumps != 1:
            yield f"{carrier.jumps} jumps to chain {kind.chain.name} of IPv{version}"
        text = kind.iptables(mine, version)
        lines = (line.split() for line in text.splitlines() if line.startswith("-A"))
        if actual.rows[version] != [kind.rows(words) for words in lines]:
            yield f"rules of chain {kind.chain.name} of IPv{version} differ, or their order"


def _load_iptables(
    kind: RuleKind[Rule], mine: set[Rule], version: int, actual: RuleState[Rule]
) -> None:
    carrier = actual.carriers[version]
    if mine:
        load_chain(kind.chain, version, kind.iptables(mine, version), carrier.jumps)
    elif carrier.there or carrier.jumps:
        unload_chain(kind.chain, version, carrier.jumps, there=carrier.there)
