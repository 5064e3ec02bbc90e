# SPDX-License-Identifier: Apache-2.0
"""The difference of two plans as text for people, in the manner of a unified diff."""

import json
from collections.abc import Iterator, Sequence

import msgspec

from fairlead.cli.text import clean, paragraph
from fairlead.diff.plans import (
    EdgeChange,
    Fate,
    ItemChange,
    Kind,
    PlanDiff,
    ServiceChange,
)

MARKS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}
FATES = {
    Fate.GAINED: "+",
    Fate.LOST: "-",
    Fate.CHANGED: "~",
    Fate.KEPT: "~",
    Fate.REFUSED: "~",
}
MAX_ROWS = 50
_SECTIONS = {
    "virtual_server": "virtual server",
    "real_server": "real server",
    "vrrp": "VRRP instance",
    "vrrp_address": "VRRP address",
    "bgp": "BGP route",
    "bgp_peer": "BGP peer",
    "bgp_policy": "BGP policy",
    "failed": "not announced:",
}


def diff_text(diff: PlanDiff, names: tuple[str, str], *, everything: bool = False) -> str:
    """The whole difference; `names` are those of the two inputs. "" where there is none."""
    if diff.same:
        return ""
    lines = [f"--- {clean(names[0])}", f"+++ {clean(names[1])}"]
    lines += ["", f"Services: {len(diff.services):,} different, {diff.unchanged:,} the same"]
    lines += _limited([_service(change) for change in diff.services], everything=everything)
    for title, changes in _groups(diff.edges):
        lines += ["", clean(title), *_limited(list(_blocks(changes)), everything=everything)]
    return "\n".join(lines)


def _limited(blocks: Sequence[list[str]], *, everything: bool) -> Iterator[str]:
    shown = blocks if everything else blocks[:MAX_ROWS]
    for block in shown:
        yield from block
    if len(shown) < len(blocks):
        yield f"  and {len(blocks) - len(shown):,} more (--all lists them)"


def _service(change: ServiceChange) -> list[str]:
    before, after = " and ".join(change.before), " and ".join(change.after)
    pools = f"pool {change.pool_after}"
    if change.pool_before not in (None, change.pool_after):
        pools = f"pool {change.pool_before} -> {change.pool_after}"
    match change.fate:
        case Fate.GAINED:
            text = f"{after} ({pools})"
        case Fate.LOST:
            text = f"{before} is lost"
        case Fate.KEPT:
            text = f"keeps {after} ({pools})"
        case Fate.REFUSED:
            text = "no address as before"
        case _:
            text = f"{before} -> {after} ({pools})"
    mark = FATES[change.fate]
    lines = paragraph(f"{mark} {change.service}: {text}", "", "    ")
    return lines + (paragraph(change.reason, "    ", "      ") if change.reason else [])


def _groups(edges: Sequence[EdgeChange]) -> list[tuple[str, list[ItemChange]]]:
    """Titles with changes: what is the same on several edges is said once for all of them."""
    names: dict[tuple[Kind, bytes], list[str]] = {}
    items: dict[tuple[Kind, bytes], ItemChange] = {}
    groups: dict[tuple[Kind, tuple[str, ...]], list[ItemChange]] = {}
    for edge in edges:
        if not edge.changes:
            groups[edge.kind, (edge.edge,)] = []
        for change in edge.changes:
            key = (edge.kind, msgspec.json.encode(change))
            items[key] = change
            names.setdefault(key, []).append(edge.edge)
    for key, change in items.items():
        groups.setdefault((key[0], tuple(names[key])), []).append(change)
    ordered = sorted(groups.items(), key=lambda row: (-len(row[0][1]), row[0]))
    return [(_title(kind, which), changes) for (kind, which), changes in ordered]


def _title(kind: Kind, edges: Sequence[str]) -> str:
    words = {Kind.ADDED: " (new)", Kind.REMOVED: " (gone)", Kind.CHANGED: ""}
    name = f"Edge {edges[0]}" if len(edges) == 1 else f"Edges {', '.join(edges)}"
    return name + words[kind]


def _blocks(changes: Sequence[ItemChange]) -> Iterator[list[str]]:
    """Lines of each item; real servers stand below their virtual server."""
    below: dict[str, list[ItemChange]] = {}
    heads: dict[str, ItemChange | None] = {}
    for change in changes:
        if change.section == "real_server":
            below.setdefault(change.parent, []).append(change)
            heads.setdefault(change.parent, None)
        elif change.section == "virtual_server":
            heads[change.item] = change
    for name, head in heads.items():
        lines = _item(head, "  ") if head is not None else [f"  ~ virtual server {name}"]
        for real in below.get(name, ()):
            lines += _item(real, "      ")
        yield lines
    for change in changes:
        if change.section not in ("virtual_server", "real_server"):
            yield _item(change, "  ")


def _item(change: ItemChange, indent: str) -> list[str]:
    title = f"{MARKS[change.kind]} {_SECTIONS.get(change.section, change.section)} {change.item}"
    if change.section == "vrrp_address":
        title += f" of instance {change.parent}"
    hang = indent + "    "
    if change.kind is Kind.REMOVED:
        return paragraph(title, indent, hang)
    if change.kind is Kind.ADDED:
        told = ", ".join(
            f"{field.field} {_value(field.after)}" for field in change.fields if _says(field.after)
        )
        return paragraph(f"{title}: {told}" if told else title, indent, hang)
    lines = paragraph(title, indent, hang)
    for field in change.fields:
        text = f"{field.field}: {_value(field.before)} -> {_value(field.after)}"
        lines += paragraph(text, hang, hang + "  ")
    return lines


def _says(value: object) -> bool:
    """Whether a field of something new is worth a word."""
    return value is not None and value is not False and value not in ([], "")


def _value(value: object) -> str:
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return ", ".join(map(str, value)) or "none"
    return json.dumps(value)
