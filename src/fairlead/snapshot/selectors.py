# SPDX-License-Identifier: Apache-2.0
"""Label selectors and lists of them, with upstream's validation: malformed and double ones."""

from collections.abc import Sequence

import msgspec

from fairlead.model.errors import ObjectFieldError
from fairlead.model.selector import LabelRequirement, LabelSelector
from fairlead.snapshot.text import label_key, label_value
from fairlead.snapshot.wire import SelectorWire

_NEEDS_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


def parse_selector(wire: SelectorWire, field: str) -> LabelSelector:
    """Parse a label selector."""
    for key, value in (wire.match_labels or {}).items():
        label_key(key, f"{field}.matchLabels")
        label_value(value, f"{field}.matchLabels[{key}]")
    terms: list[LabelRequirement] = []
    for index, term in enumerate(wire.match_expressions or ()):
        where = f"{field}.matchExpressions[{index}]"
        needs_values = _NEEDS_VALUES.get(term.operator)
        if needs_values is None:
            allowed = ", ".join(_NEEDS_VALUES)
            raise ObjectFieldError(
                f"{where}.operator", f"{term.operator!r} is not one of {allowed}"
            )
        if needs_values != bool(term.values):
            says = "needs values" if needs_values else "takes no values"
            raise ObjectFieldError(f"{where}.values", f"operator {term.operator} {says}")
        label_key(term.key, f"{where}.key")
        for number, value in enumerate(term.values or ()):
            label_value(value, f"{where}.values[{number}]")
        no_duplicates(term.values or (), f"{where}.values")
        terms.append(LabelRequirement(term.key, term.operator, tuple(term.values or ())))
    forms = [_term(term) for term in terms]
    for index, form in enumerate(forms):
        if form in forms[:index]:
            raise ObjectFieldError(f"{field}.matchExpressions[{index}]", "is there twice")
    return LabelSelector(wire.match_labels or {}, tuple(terms))


def parse_selectors(wires: list[SelectorWire] | None, field: str) -> tuple[LabelSelector, ...]:
    """Parse a list of selectors; none may be there twice."""
    selectors = tuple(
        parse_selector(wire, f"{field}[{index}]") for index, wire in enumerate(wires or ())
    )
    no_duplicates(selectors, field)
    return selectors


def parse_names(names: list[str] | None, field: str) -> tuple[str, ...]:
    """Names of other objects, which may come later; none may be there twice."""
    no_duplicates(names or (), field)
    return tuple(names or ())


def no_duplicates(items: Sequence[str | LabelSelector], field: str) -> None:
    """Refuse an item that is there twice; raises `ObjectFieldError`."""
    forms = [item if isinstance(item, str) else _canonical(item) for item in items]
    seen: set[str | bytes] = set()
    for index, form in enumerate(forms):
        if form in seen:
            raise ObjectFieldError(f"{field}[{index}]", "is there twice")
        seen.add(form)


def _canonical(selector: LabelSelector) -> bytes:
    terms = sorted(_term(term) for term in selector.match_expressions)
    return msgspec.json.encode([sorted(selector.match_labels.items()), terms])


def _term(term: LabelRequirement) -> tuple[str, str, list[str]]:
    return term.key, term.operator, sorted(term.values)
