# SPDX-License-Identifier: Apache-2.0
"""Snapshot + inventory -> plan, in one call. The agent's twin is `fairlead.planner.incremental`."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from fairlead.model.addresses import address_order
from fairlead.model.inventory import Inventory
from fairlead.model.kube import EndpointSlice, Service
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.plan import ObjectError, Plan, ServicePlan, VirtualServer
from fairlead.model.snapshot import Snapshot
from fairlead.planner.advert_store import adverts_of
from fairlead.planner.adverts import Advertising
from fairlead.planner.allocate import allocate
from fairlead.planner.edges import edge_plan, virtual_server_order
from fairlead.planner.marks import all_marked
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.pools import unusable_names, usable_pools
from fairlead.planner.shape import service_frame, service_ready_on, shape_service
from fairlead.planner.trail import Trail


def make_plan(snapshot: Snapshot, inventory: Inventory, trail: Trail | None = None) -> Plan:
    """Compute the whole plan. Pure and deterministic; the order of the input does not matter.

    What edges carry are the allocator's decisions, not yet what status says. `trail` takes down
    what the allocator looked at for one Service (`fairlead.planner.explain`).
    """
    pools, pool_errors = usable_pools(inventory, snapshot.pools)
    adverts = adverts_of(snapshot, inventory, pools)
    advertising = Advertising(inventory, pools, adverts)
    unusable = unusable_names(_unreadable_pools(snapshot, inventory), pool_errors)
    decisions = allocate(
        snapshot.services, pools, snapshot.namespaces, inventory, unusable=unusable, trail=trail
    )
    servers, vips = _shape_all(snapshot, decisions, inventory)
    by_address = sorted(vips.items(), key=lambda row: address_order(row[0]))
    rows = [advertising.row(address, vip.users, vip.pool) for address, vip in by_address]
    servers.sort(key=virtual_server_order)
    plan = Plan(
        services=decisions,
        edges={
            edge.name: edge_plan(edge, servers, rows, advertising)
            for edge in sorted(inventory.edges, key=lambda edge: edge.name)
        },
        errors=snapshot.errors,
    )
    return with_errors(plan, (*pool_errors, *adverts.errors), snapshot)


def with_errors(plan: Plan, errors: Iterable[ObjectError], snapshot: Snapshot) -> Plan:
    """The plan with more errors, each with the place where the snapshot has its object."""
    found = {*plan.errors, *(_placed(error, snapshot) for error in errors)}
    return msgspec.structs.replace(plan, errors=tuple(sorted(found, key=_error_order)))


def _unreadable_pools(snapshot: Snapshot, inventory: Inventory) -> list[ObjectKey]:
    return [
        ObjectKey(error.namespace, error.name)
        for error in snapshot.errors
        if error.kind == "IPAddressPool" and error.namespace in ("", inventory.pool_namespace)
    ]


def _placed(error: ObjectError, snapshot: Snapshot) -> ObjectError:
    key = ObjectKey(error.namespace, error.name)
    file, document = snapshot.places.get((error.kind, key), ("", 0))
    return msgspec.structs.replace(error, file=file, document=document)


def _error_order(error: ObjectError) -> tuple[str, int, str, str, str, str]:
    return (error.file, error.document, error.kind, error.namespace, error.name, error.field)


class _Vip(msgspec.Struct, gc=False):
    """A VIP: its pool, and who uses it with whether they can answer there."""

    pool: str
    users: list[tuple[Service, bool]]


def _shape_all(
    snapshot: Snapshot, decisions: tuple[ServicePlan, ...], inventory: Inventory
) -> tuple[list[VirtualServer], dict[IPAddress, _Vip]]:
    services = {service.key: service for service in snapshot.services}
    slices: dict[ObjectKey, list[EndpointSlice]] = defaultdict(list)
    for item in sorted(snapshot.slices, key=lambda item: item.key):
        slices[item.service].append(item)
    nodes = NodeIndex(snapshot.nodes)
    servers: list[VirtualServer] = []
    vips: dict[IPAddress, _Vip] = {}
    for decision in decisions:
        if not decision.addresses:
            continue
        service = services[decision.key]
        own = slices.get(decision.key, [])
        shaped = shape_service(service_frame(service, decision.addresses, inventory), own, nodes)
        for address in decision.addresses:
            user = (service, service_ready_on(shaped, address))
            vip = vips.get(address)
            if vip is None:
                vips[address] = _Vip(decision.pool or "", [user])
            else:
                vip.users.append(user)
        servers += shaped
    return list(all_marked(servers)), vips
