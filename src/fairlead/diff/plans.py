# SPDX-License-Identifier: Apache-2.0
"""Two plans -> what is different, as data: what a change of pools or Services would do.

Everything an edge holds is taken apart into items (a virtual server, a real server, an address, a
route to a peer ...), each with a name and fields, so that new fields of the plan are compared
without a word here. The JSON form is a contract, `schema/plandiff.schema.json`.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from fairlead.model.names import ObjectKey
from fairlead.model.plan import EdgePlan, Plan, RealServer, ServicePlan, VirtualServer

Value = str | int | float | bool | list[Any] | dict[str, Any] | None
"""A field as JSON has it."""


class Fate(StrEnum):
    """What becomes of a Service's addresses."""

    GAINED = "gained"
    LOST = "lost"
    CHANGED = "changed"
    KEPT = "kept"
    REFUSED = "refused"


class Kind(StrEnum):
    """What becomes of an item on an edge."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class ServiceChange(msgspec.Struct, frozen=True, kw_only=True):
    """A Service whose decision differs.

    Attributes:
        fate: `kept` where only the pool, `refused` where only the reason of a refusal differs.
        before, after: Addresses.
        reason: What the planner says about the state after, in a sentence.
    """

    service: str
    fate: Fate
    before: tuple[str, ...]
    after: tuple[str, ...]
    pool_before: str | None
    pool_after: str | None
    reason: str


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an item; None on the side where the item is not."""

    field: str
    before: Value
    after: Value


class ItemChange(msgspec.Struct, frozen=True, kw_only=True):
    """One item on an edge.

    Attributes:
        section: `virtual_server`, `real_server`, `address`, `vrrp`, `vrrp_address`, `bgp`,
            `bgp_peer`, `bgp_policy` or `failed`.
        item: Its name within the section.
        parent: The virtual server of a real server, the instance of a VRRP address; else "".
        fields: Those that differ; of an item that came or went, all.
    """

    kind: Kind
    section: str
    item: str
    parent: str
    fields: tuple[FieldChange, ...]


class EdgeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is different on one edge; one that came or went has all its items here."""

    edge: str
    kind: Kind
    changes: tuple[ItemChange, ...]


class PlanDiff(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of two plans; the errors of either are not part of it.

    Attributes:
        unchanged: Number of Services whose decision is the same.
    """

    same: bool
    unchanged: int
    services: tuple[ServiceChange, ...]
    edges: tuple[EdgeChange, ...]


Item = tuple[str, str, str]
"""Section, parent, name."""


def compare_plans(before: Plan, after: Plan) -> PlanDiff:
    """Compare two plans; sorted by Service, edge and item."""
    old = {plan.key: plan for plan in before.services}
    new = {plan.key: plan for plan in after.services}
    keys = sorted(old.keys() | new.keys())
    found = [_service_change(str(key), old.get(key), new.get(key)) for key in keys]
    services = tuple(change for change in found if change is not None)
    names = sorted(before.edges.keys() | after.edges.keys())
    looked = [_edge_change(name, before.edges.get(name), after.edges.get(name)) for name in names]
    edges = tuple(change for change in looked if change is not None)
    return PlanDiff(
        same=not services and not edges,
        unchanged=len(keys) - len(services),
        services=services,
        edges=edges,
    )


def _edge_change(name: str, old: EdgePlan | None, new: EdgePlan | None) -> EdgeChange | None:
    changes = tuple(_item_changes(edge_items(old or EdgePlan()), edge_items(new or EdgePlan())))
    kind = Kind.ADDED if old is None else Kind.REMOVED if new is None else Kind.CHANGED
    if kind is Kind.CHANGED and not changes:
        return None
    return EdgeChange(edge=name, kind=kind, changes=changes)


def edge_items(edge: EdgePlan) -> dict[Item, dict[str, Value]]:
    """Everything on an edge: item -> its fields."""
    items: dict[Item, dict[str, Value]] = {}
    for server in edge.virtual_servers:
        name = server_name(server)
        items["virtual_server", "", name] = _fields(
            server, "address", "protocol", "port", "last_port", "real_servers"
        )
        for real in server.real_servers:
            items["real_server", name, _real_name(real)] = _fields(real, "address", "port")
    for vip in edge.addresses:
        items["address", "", str(vip.address)] = _fields(vip, "address")
    for instance in edge.vrrp:
        items["vrrp", "", instance.instance] = _fields(instance, "instance", "addresses")
        for address in instance.addresses:
            items["vrrp_address", instance.instance, str(address)] = {}
    for route in edge.bgp:
        for peer in route.peers:
            items["bgp", "", f"{route.prefix} to {peer}"] = _fields(route, "prefix", "peers")
    return items | _standing_items(edge)


def _standing_items(edge: EdgePlan) -> dict[Item, dict[str, Value]]:
    """What does not come and go with Services, and what can't be done; never a password."""
    items: dict[Item, dict[str, Value]] = {}
    for session in edge.bgp_peers:
        items["bgp_peer", "", session.name] = _fields(session, "name", "password")
    for policy in edge.bgp_policies:
        told = [f"/{policy.length} to {', '.join(policy.peers)}"]
        if policy.communities:
            told.append(f"communities {', '.join(policy.communities)}")
        if policy.local_pref is not None:
            told.append(f"local_pref {policy.local_pref}")
        for prefix in policy.prefixes:
            items["bgp_policy", "", f"VIPs of {prefix} as {', '.join(told)}"] = {}
    for one in edge.failed:
        name = f"{one.service} by {one.way}"
        items["failed", "", name] = _fields(one, "service", "edge", "way")
    return items


def server_name(server: VirtualServer) -> str:
    """`192.0.2.1:80/TCP`, `192.0.2.1:10000-20000/UDP`."""
    last = "" if server.last_port is None else f"-{server.last_port}"
    return f"{_endpoint(str(server.address), server.port)}{last}/{server.protocol}"


def _real_name(real: RealServer) -> str:
    return _endpoint(str(real.address), real.port)


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _fields(value: msgspec.Struct, *leave_out: str) -> dict[str, Value]:
    return {
        name: _plain(getattr(value, name))
        for name in value.__struct_fields__
        if name not in leave_out
    }


def _plain(value: Any) -> Value:
    if isinstance(value, ObjectKey):
        return str(value)
    plain: Value | tuple[Any, ...] = msgspec.to_builtins(value, enc_hook=str)
    return list(plain) if isinstance(plain, tuple) else plain


def _item_changes(
    before: Mapping[Item, Mapping[str, Value]], after: Mapping[Item, Mapping[str, Value]]
) -> Iterator[ItemChange]:
    for item in _in_order(before, after):
        old, new = before.get(item), after.get(item)
        if old == new:
            continue
        kind = Kind.ADDED if old is None else Kind.REMOVED if new is None else Kind.CHANGED
        section, parent, name = item
        yield ItemChange(
            kind=kind,
            section=section,
            item=name,
            parent=parent,
            fields=tuple(_field_changes(old, new)),
        )


def _in_order(*sides: Iterable[Item]) -> list[Item]:
    """Items as a plan lists them: in the order of the new side, then what only the old one has."""
    old, new = sides
    return list(dict.fromkeys([*new, *old]))


def _field_changes(
    old: Mapping[str, Value] | None, new: Mapping[str, Value] | None
) -> Iterator[FieldChange]:
    before, after = old or {}, new or {}
    for name in dict.fromkeys([*before, *after]):
        if old is None or new is None or before.get(name) != after.get(name):
            yield FieldChange(field=name, before=before.get(name), after=after.get(name))


def _service_change(
    service: str, old: ServicePlan | None, new: ServicePlan | None
) -> ServiceChange | None:
    before = tuple(map(str, old.addresses)) if old is not None else ()
    after = tuple(map(str, new.addresses)) if new is not None else ()
    pool_before = old.pool if old is not None else None
    pool_after = new.pool if new is not None else None
    refusals = (old.refusal if old is not None else None, new.refusal if new is not None else None)
    if (before, pool_before) == (after, pool_after) and refusals[0] == refusals[1]:
        return None
    fate = Fate.CHANGED if before and after else Fate.LOST if before else Fate.GAINED
    if before == after:
        fate = Fate.KEPT if before else Fate.REFUSED
    return ServiceChange(
        service=service,
        fate=fate,
        before=before,
        after=after,
        pool_before=pool_before,
        pool_after=pool_after,
        reason=_reason(old, new),
    )


def _reason(old: ServicePlan | None, new: ServicePlan | None) -> str:
    """The most telling of what is said about the state after."""
    if new is None:
        return "the Service is gone"
    if new.refusal is not None:
        return new.refusal.message
    order = {"ClearAssignment": 0, "Warning": 1, "Normal": 2}
    events = sorted(new.events, key=lambda e: order.get(e.reason, order.get(e.type, 3)))
    if old is None:
        return "the Service is new"
    return f"{events[0].reason}: {events[0].message}" if events else ""
