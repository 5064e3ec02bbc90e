# SPDX-License-Identifier: Apache-2.0
"""An explanation as text for people, step by step."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from fairlead.cli.text import paragraph
from fairlead.model.explanation import (
    AddressStory,
    AllocationStep,
    AnnouncementStory,
    Explanation,
    GateStory,
    ServerStory,
    SliceStory,
    TargetStory,
)

MARKS = {"yes": "+", "no": "-", "looked": "."}
MAX_TARGETS = 30
MAX_ALIKE = 5
"""Nodes left out for one and the same reason, as far as they are named one by one."""


def explanation_text(story: Explanation) -> str:
    """The whole explanation."""
    lines = [f"{story.namespace}/{story.name}", *paragraph(story.summary, "  ")]
    if story.ours:
        lines += ["", "Address", *_address(story.address)]
        lines += ["", "Real servers", *_servers(story.virtual_servers)]
        lines += ["", "Announcement", *_announcements(story)]
        lines += ["", "+ yes   - no   . looked at"]
    return "\n".join(lines)


def _address(story: AddressStory) -> Iterator[str]:
    recorded = ", ".join(story.recorded) or "nothing"
    yield from paragraph(f". status holds {recorded}", "  ", "    ")
    for step in story.steps:
        yield from paragraph(f"{MARKS[step.outcome]} {_step(step)}", "  ", "    ")
        yield from _passed(step)
    for companion in story.shared_with:
        text = f". {companion.address} is shared with {companion.service}"
        yield from paragraph(text, "  ", "    ")
    for event in story.events:
        text = f". Event {event.type} {event.reason}: {event.message}"
        yield from paragraph(text, "  ", "    ")


def _step(step: AllocationStep) -> str:
    addresses = " and ".join(step.addresses)
    pool = f"pool {step.pool}" if step.pool else ""
    match step.phase, step.outcome:
        case "held", "yes":
            return f"keeps {addresses} of {pool}: {step.message}"
        case "held", _:
            return f"gives up {addresses}: {step.message}"
        case "request", "yes":
            return f"request: {addresses} of {pool} can be had"
        case "request", _:
            return f"request: {step.message}"
        case _:
            said = f"{step.message} {addresses}".rstrip()
            return f"{pool}: {said}" if pool else said


def _passed(step: AllocationStep) -> Iterator[str]:
    for one in step.passed:
        yield from paragraph(f"not {one.address}: {one.why}", "      ", "        ")
    if step.more:
        yield f"      nor {step.more:,} more addresses"


def _servers(servers: Sequence[ServerStory]) -> Iterator[str]:
    if not servers:
        yield "  - none: no address"
    for server in servers:
        host = f"[{server.address}]" if ":" in server.address else server.address
        name = f" {server.port_name}" if server.port_name else ""
        ports = server.port if server.last_port is None else f"{server.port}-{server.last_port}"
        mark = "+" if server.served else "-"
        how = f"  {server.how}" if server.how else ""
        text = f"{mark} {host}:{ports}/{server.protocol}{name}{how}"
        yield from paragraph(text, "  ", "      ")
        if server.remark:
            yield from paragraph(f"- {server.remark}", "    ", "      ")
        for item in server.slices:
            yield from paragraph(_slice(item), "    ", "      ")
        yield from _targets(server.targets)


def _slice(item: SliceStory) -> str:
    if item.left_out:
        return f"- slice {item.name}: {item.left_out}"
    rows = (
        (item.ready, "ready"),
        (item.draining, "terminating but serving"),
        (item.unready, "unready"),
        (item.gone, "terminated"),
    )
    counts = ", ".join(f"{count} {word}" for count, word in rows if count) or "no endpoint"
    return f". slice {item.name}: port {item.port} of the pods, {counts}"


def _targets(targets: Sequence[TargetStory]) -> Iterator[str]:
    real = [target for target in targets if target.weight is not None]
    for target in real[:MAX_TARGETS]:
        text = f"+ {target.node or 'pod'} {target.address} weight {target.weight}: {target.why}"
        yield from paragraph(text, "    ", "      ")
    if len(real) > MAX_TARGETS:
        yield f"    + and {len(real) - MAX_TARGETS:,} more"
    left_out = sorted(
        (target for target in targets if target.weight is None), key=lambda target: target.why
    )
    for why, alike in groupby(left_out, key=lambda target: target.why):
        names = [target.node or "pod" for target in alike]
        shown = ", ".join(names[:MAX_ALIKE])
        more = f" and {len(names) - MAX_ALIKE:,} more" if len(names) > MAX_ALIKE else ""
        yield from paragraph(f"- {shown}{more}: left out: {why}", "    ", "      ")


def _announcements(story: Explanation) -> Iterator[str]:
    if not story.gates:
        yield "  - none: no address"
    for gate in story.gates:
        yield from paragraph(_gate(gate), "  ", "    ")
        own = [one for one in story.announcements if one.address == gate.address]
        for text in _announcement_texts(own):
            yield from paragraph(text, "    ", "      ")


def _gate(gate: GateStory) -> str:
    if not gate.open:
        return f"- {gate.address}: the gate is shut, nobody on it can answer"
    return f"+ {gate.address}: the gate is open, {' and '.join(gate.answering)} can answer"


def _by(one: AnnouncementStory) -> str:
    kind = "L2Advertisement" if one.way == "vrrp" else "BGPAdvertisement"
    return f", {kind} {', '.join(one.advertisements)}" if one.advertisements else ""


def _announcement_texts(stories: Sequence[AnnouncementStory]) -> Iterator[str]:
    """One line for edges and ways of which the same is to be said."""
    groups: dict[tuple[bool, str], list[AnnouncementStory]] = {}
    for one in stories:
        text = f"{one.message}{_by(one)}" if one.announced else f"({one.reason}): {one.message}"
        groups.setdefault((one.announced, text), []).append(one)
    for (announced, text), alike in groups.items():
        edges = list(dict.fromkeys(one.edge for one in alike))
        ways = list(dict.fromkeys(one.way for one in alike))
        if announced:
            yield f"+ {', '.join(edges)}: {text}"
        elif len(alike) == len(edges) * len(ways):
            yield f"- {', '.join(edges)}: not by {' or '.join(ways)} {text}"
        else:
            yield from (f"- {one.edge}: not by {one.way} {text}" for one in alike)
