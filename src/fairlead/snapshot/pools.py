# SPDX-License-Identifier: Apache-2.0
"""`IPAddressPool` objects to pools, with upstream's validation (metallb reference 2.2)."""

from collections.abc import Sequence

from fairlead.model.errors import ObjectFieldError
from fairlead.model.pool import AddressRange, Pool, PoolSelection
from fairlead.snapshot.selectors import no_duplicates, parse_selectors
from fairlead.snapshot.text import label_name, parse_range, subdomain_name
from fairlead.snapshot.wire import PoolWire, ServiceAllocationWire


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
    if wire.priority is not None and wire.priority < 0:
        raise ObjectFieldError(f"{field}.priority", f"{wire.priority} is negative")
    selection = PoolSelection(
        priority=wire.priority or 0,
        namespaces=tuple(wire.namespaces or ()),
        namespace_selectors=parse_selectors(
            wire.namespace_selectors, f"{field}.namespaceSelectors"
        ),
        service_selectors=parse_selectors(wire.service_selectors, f"{field}.serviceSelectors"),
    )
    no_duplicates(selection.namespaces, f"{field}.namespaces")
    return selection
