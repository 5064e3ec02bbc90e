# SPDX-License-Identifier: Apache-2.0
"""What each packet filter part has in table `inet fairlead`: sets or maps, and a chain with rules.

Each rule bears a comment that is made of its own text: whoever reads the table back knows by the
comments, in their order, whether the chain says what it should. nft shows rules in other words than
they were given, and in different ones from version to version.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256

from fairlead.render.environment import render

TABLE = "fairlead"


@dataclass(frozen=True)
class NftSet:
    """A set or a map.

    Attributes:
        keyword: `set` or `map`.
        interval: Whether elements are ranges.
    """

    name: str
    type: str
    keyword: str = "set"
    interval: bool = False
    elements: tuple[str, ...] = ()


@dataclass(frozen=True)
class NftChain:
    """A base chain.

    Attributes:
        number: Its priority as the kernel has it (netfilter_ipv4.h); `priority` is the word.
    """

    name: str
    type: str
    hook: str
    priority: str
    number: int
    rules: tuple[str, ...]

    def commented(self) -> list[tuple[str, str]]:
        """Each rule with its comment."""
        return [(rule, rule_comment(rule)) for rule in self.rules]


@dataclass(frozen=True)
class NftLayout:
    """All of a part."""

    chain: NftChain
    sets: tuple[NftSet, ...]


def rule_comment(rule: str) -> str:
    """Comment by which a rule is known again."""
    return f"fairlead {sha256(rule.encode()).hexdigest()[:12]}"


def render_layout(
    layout: NftLayout | None, chains: Iterable[str], sets: Collection[tuple[str, str]]
) -> str:
    """Return a script for `nft -f` that makes a part anew, or takes it away, in one transaction.

    Args:
        layout: None takes it away.
        chains: Chains of the part that are there, to be replaced.
        sets: (keyword, name) of its sets and maps that are there.
    """
    return render(
        "layout.nft.j2", table=TABLE, layout=layout, chains=sorted(chains), sets=sorted(sets)
    )
