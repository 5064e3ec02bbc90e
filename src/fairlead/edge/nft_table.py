# SPDX-License-Identifier: Apache-2.0
"""Table `inet fairlead` as the kernel has it, read at once by `nft -j` (libnftables-json(5))."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fairlead.edge.filter_tools import run
from fairlead.model.errors import ApplyError
from fairlead.render.nft_layout import TABLE, NftLayout

_ABSENT = "No such file or directory"


@dataclass
class NftTable:
    """What stands in the table.

    Attributes:
        chains: Description of each chain, by name.
        rules: Comments of each chain's rules in their order, None for a rule without.
        sets: (keyword, elements as nft shows them) of each set or map, by name.
    """

    chains: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, list[str | None]] = field(default_factory=dict)
    sets: dict[str, tuple[str, list[Any]]] = field(default_factory=dict)

    def faults(self, layout: NftLayout) -> Iterator[str]:
        """What is not as a part wants it, beside the elements of its sets."""
        wanted = layout.chain
        found = self.chains.get(wanted.name)
        if found is None:
            yield f"chain {wanted.name} is missing"
        else:
            shown = tuple(found.get(key) for key in ("type", "hook", "prio", "policy"))
            if shown != (wanted.type, wanted.hook, wanted.number, "accept"):
                yield f"chain {wanted.name} is hooked as {' '.join(map(str, shown))}"
            if self.rules.get(wanted.name, []) != [comment for _, comment in wanted.commented()]:
                yield f"the rules of chain {wanted.name} are not ours"
        for one in layout.sets:
            if self.sets.get(one.name, ("", []))[0] != one.keyword:
                yield f"{one.keyword} {one.name} is missing"

    def elements(self, name: str, parse: Callable[[Any], Any], faults: list[str]) -> Iterator[Any]:
        """Elements of a set as values; one that can't be read is a fault, not an end."""
        for shown in self.sets.get(name, ("", []))[1]:
            try:
                yield parse(_bare(shown))
            except (KeyError, ValueError, TypeError, IndexError, AttributeError):
                faults.append(f"{name} holds an element that is not ours")


def read_table() -> NftTable:
    """Read the table; one that does not exist is empty.

    Raises:
        ApplyError: The tool failed, or said what can't be read.
    """
    done = run(["nft", "-j", "list", "table", "inet", TABLE])
    if done.returncode != 0:
        if _ABSENT in done.stderr:
            return NftTable()
        raise ApplyError(f"nft list table inet {TABLE}: {done.stderr.strip()}")
    try:
        return _table(json.loads(done.stdout)["nftables"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApplyError(f"nft list table inet {TABLE}: can't be read: {error!r}") from error


def _table(items: list[dict[str, Any]]) -> NftTable:
    table = NftTable()
    for item in items:
        for kind, shown in item.items():
            match kind:
                case "chain":
                    table.chains[shown["name"]] = shown
                case "rule":
                    table.rules.setdefault(shown["chain"], []).append(shown.get("comment"))
                case "set" | "map":
                    table.sets[shown["name"]] = (kind, shown.get("elem") or [])
    return table


def _bare(shown: Any) -> Any:
    """An element without what may stand around it: a comment, a time-out, a counter."""
    if isinstance(shown, list):  # a map's: key and value
        return [_bare(shown[0]), *shown[1:]]
    if isinstance(shown, dict) and "elem" in shown:
        return shown["elem"]["val"]
    return shown
