# SPDX-License-Identifier: Apache-2.0
"""Snapshot + inventory -> plan, in one call. The agent's twin is `fairlead.planner.incremental`."""

from collections import defaultdict

import msgspec

from fairlead.model.inventory import Inventory
from fairlead.model.kube import EndpointSlice
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.plan import ObjectError, Plan, ServicePlan, VirtualServer
from fairlead.model.snapshot import Snapshot
from fairlead.planner.allocate import allocate
from fairlead.planner.edges import edge_plan, vip_addresses, virtual_server_order
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.pools import usable_pools
from fairlead.planner.shape import service_ready_on, shape_service


def make_plan(snapshot: Snapshot, inventory: Inventory) -> Plan:
    """Compute the whole plan. Pure and deterministic; the order of the input does not matter.

    What edges carry are the allocator's decisions, not yet what status says: the caller writes
    status (playbook mode) or only looks (`fairlead plan`).
    """
    pools, pool_errors = usable_pools(inventory, snapshot.pools)
    decisions = allocate(snapshot.services, pools, snapshot.namespaces, inventory)
    servers, ready = _shape_all(snapshot, decisions, inventory)
    vips = vip_addresses(ready, inventory)
    servers.sort(key=virtual_server_order)
    return Plan(
        services=decisions,
        edges={
            edge.name: edge_plan(edge, servers, vips, inventory)
            for edge in sorted(inventory.edges, key=lambda edge: edge.name)
        },
        errors=tuple(
            sorted(
                (*snapshot.errors, *(_placed(error, snapshot) for error in pool_errors)),
                key=_error_order,
            )
        ),
    )


def _placed(error: ObjectError, snapshot: Snapshot) -> ObjectError:
    key = ObjectKey(error.namespace, error.name)
    file, document = snapshot.places.get((error.kind, key), ("", 0))
    return msgspec.structs.replace(error, file=file, document=document)


def _error_order(error: ObjectError) -> tuple[str, int, str, str, str, str]:
    return (error.file, error.document, error.kind, error.namespace, error.name, error.field)


def _shape_all(
    snapshot: Snapshot, decisions: tuple[ServicePlan, ...], inventory: Inventory
) -> tuple[list[VirtualServer], dict[IPAddress, bool]]:
    services = {service.key: service for service in snapshot.services}
    slices: dict[ObjectKey, list[EndpointSlice]] = defaultdict(list)
    for item in sorted(snapshot.slices, key=lambda item: item.key):
        slices[item.service].append(item)
    nodes = NodeIndex(snapshot.nodes)
    servers: list[VirtualServer] = []
    ready: dict[IPAddress, bool] = {}
    for decision in decisions:
        if not decision.addresses:
            continue
        service = services[decision.key]
        own = slices.get(decision.key, [])
        shaped = shape_service(service, decision.addresses, own, nodes, inventory)
        for address in decision.addresses:
            ready[address] = ready.get(address, False) or service_ready_on(shaped, address)
        servers += shaped
    return servers, ready
