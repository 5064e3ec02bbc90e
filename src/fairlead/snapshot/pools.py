# SPDX-License-Identifier: Apache-2.0
"""`IPAddressPool` objects to pools, with upstream's validation (metallb reference 2.2)."""

from collections.abc import Sequence

import msgspec

from fairlead.model.errors import ObjectFieldError
from fairlead.model.pool import AddressRange, Pool, PoolSelection
from fairlead.model.selector import LabelRequirement, LabelSelector
from fairlead.snapshot.text import label_name, parse_range, subdomain_name
from fairlead.snapshot.wire import PoolWire, SelectorWire, ServiceAllocationWire

_NEEDS_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


def pool_from_wire(wire: PoolWire) -> Pool:
    """Parse an IPAddressPool; raises `ObjectFieldError`."""
    meta, spec = wire.metadata, wire.spec
    name = subdomain_name(meta.name, "metadata.name")
    namespace = meta.namespace or "default"
    ranges = parse_ranges((spec.addresses or ()) if spec else (), "spec.addresses")
    allocation = spec.service_allocation if spec else None
    return Pool(
        name=name,
        ranges=ranges,
        auto_assign=not (spec and spec.auto_assign is False),
        avoid_buggy_ips=bool(spec and spec.avoid_buggy_ips),
        selection=parse_selection(allocation, "spec.serviceAllocation") if allocation else None,
        origin="cluster",
        labels=meta.labels or {},
        namespace=label_name(namespace, "metadata.namespace"),
        created=meta.creation_timestamp or "",
    )


def parse_ranges(texts: Sequence[str], field: str) -> tuple[AddressRange, ...]:
    """Parse the entries of a pool and refuse overlaps among them."""
    if not texts:
        raise ObjectFieldError(field, "a pool needs at least one CIDR or range")
    ranges: list[AddressRange] = []
    for index, text in enumerate(texts):
        part = parse_range(text, f"{field}[{index}]")
        for other in ranges:
            if part.overlaps(other):
                raise ObjectFieldError(
                    f"{field}[{index}]", f"{text!r} overlaps {other.text!r} of the same pool"
                )
        ranges.append(part)
    return tuple(ranges)


def parse_selection(wire: ServiceAllocationWire, field: str) -> PoolSelection:
    """Parse `serviceAllocation`; duplicates and malformed selectors are refused."""
    namespaces = tuple(wire.namespaces or ())
    for index, namespace in enumerate(namespaces):
        label_name(namespace, f"{field}.namespaces[{index}]")
    if wire.priority is not None and wire.priority < 0:
        raise ObjectFieldError(f"{field}.priority", f"{wire.priority} is negative")
    selection = PoolSelection(
        priority=wire.priority or 0,
        namespaces=namespaces,
        namespace_selectors=_selectors(wire.namespace_selectors, f"{field}.namespaceSelectors"),
        service_selectors=_selectors(wire.service_selectors, f"{field}.serviceSelectors"),
    )
    _no_duplicates(selection.namespaces, f"{field}.namespaces")
    _no_duplicates(selection.namespace_selectors, f"{field}.namespaceSelectors")
    _no_duplicates(selection.service_selectors, f"{field}.serviceSelectors")
    return selection


def parse_selector(wire: SelectorWire, field: str) -> LabelSelector:
    """Parse a label selector."""
    terms = []
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
        terms.append(LabelRequirement(term.key, term.operator, tuple(term.values or ())))
    return LabelSelector(wire.match_labels or {}, tuple(terms))


def _selectors(wires: list[SelectorWire] | None, field: str) -> tuple[LabelSelector, ...]:
    return tuple(
        parse_selector(wire, f"{field}[{index}]") for index, wire in enumerate(wires or ())
    )


def _no_duplicates(items: Sequence[str | LabelSelector], field: str) -> None:
    forms = [item if isinstance(item, str) else _canonical(item) for item in items]
    seen: list[str | bytes] = []
    for index, form in enumerate(forms):
        if form in seen:
            raise ObjectFieldError(f"{field}[{index}]", "is there twice")
        seen.append(form)


def _canonical(selector: LabelSelector) -> bytes:
    terms = sorted((t.key, t.operator, sorted(t.values)) for t in selector.match_expressions)
    return msgspec.json.encode([sorted(selector.match_labels.items()), terms])
