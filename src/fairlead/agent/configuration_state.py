# SPDX-License-Identifier: Apache-2.0
"""What ConfigurationState objects should tell, from the errors that the agent knows anyway."""

from collections.abc import Iterable

import msgspec

from fairlead.cluster.configuration_states import Component, ConfigState, Reason
from fairlead.cluster.watch import WatchState
from fairlead.model.groups import DEFAULT_GROUP
from fairlead.model.plan import ObjectError

CONFIGURATION = frozenset(
    ("BFDProfile", "BGPAdvertisement", "BGPPeer", "Community", "IPAddressPool", "L2Advertisement")
)
"""Kinds that make up the configuration, as MetalLB understands it."""
# What MetalLB's controller looks at; its speakers look at all of them.
_CONTROLLER = frozenset(("Community", "IPAddressPool"))
_PREFIX = "configuration error: "  # as MetalLB's begin, for those who look for it
_LINE = 1024  # of one sentence; what it quotes is the cluster's
_TEXT = 32768  # of `message`, by the schema
_TAIL = 80  # the last line, which counts what was left out


class Findings(msgspec.Struct, frozen=True):
    """What an edge knows about the objects.

    Attributes:
        errors: Objects of these kinds that can't be used.
        unread: Kinds that could not be read yet, or may not be, and why; while there are any, the
            errors are not all that there are.
    """

    errors: tuple[ObjectError, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()


def findings(
    errors: Iterable[ObjectError], watches: Iterable[WatchState], *, synced: bool
) -> Findings | None:
    """What is known of the objects; None while it is too early to say anything.

    Before everything was listed once, nothing is told, unless a list fails: a restart that reads
    for half a second must not look like a change.
    """
    unread = tuple(
        (watch.kind, watch.last_error)
        for watch in watches
        if watch.kind in CONFIGURATION and watch.last_error and (watch.refused or not watch.listed)
    )
    if not (synced or unread):
        return None
    return Findings(tuple(error for error in errors if error.kind in CONFIGURATION), unread)


def speaker_state(edge: str, findings: Findings, group: str = DEFAULT_GROUP) -> ConfigState:
    """What an edge tells: of all kinds."""
    verdict = _verdict(CONFIGURATION, findings)
    return ConfigState(Component.SPEAKER, edge, *verdict, group=group)


def controller_state(findings: Findings, group: str = DEFAULT_GROUP) -> ConfigState:
    """What the leader tells beside that: of what addresses are given from."""
    return ConfigState(Component.CONTROLLER, "", *_verdict(_CONTROLLER, findings), group=group)


def _verdict(kinds: frozenset[str], findings: Findings) -> tuple[Reason, str]:
    """Reason and message; the same findings in any order give the same text."""
    wrong = {_sentence(error) for error in findings.errors if error.kind in kinds}
    if wrong:
        return Reason.CONFIGURATION, _joined(sorted(wrong))
    unread = {_line(f"{kind}: {why}") for kind, why in findings.unread if kind in kinds}
    if unread:
        return Reason.UNKNOWN, "\n".join(sorted(unread))
    return Reason.RECONCILED, ""


def _sentence(error: ObjectError) -> str:
    where = f"{error.namespace}/{error.name}".lstrip("/")
    parts = (f"{error.kind} {where}", error.field, error.message)
    return _line(": ".join(part for part in parts if part))


def _line(text: str) -> str:
    """One line of bounded length, whatever names and values are quoted in it."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: _LINE + 1])
    return plain if len(plain) <= _LINE else f"{plain[: _LINE - 1]}…"


def _joined(lines: list[str]) -> str:
    """Lines as one text; those that don't fit are counted."""
    text, left = _PREFIX + lines[0], lines[1:]
    while left and len(text) + 1 + len(left[0]) <= _TEXT - _TAIL:
        text += f"\n{left.pop(0)}"
    return f"{text}\nand {len(left):,} more: see `fairlead status` on an edge" if left else text
