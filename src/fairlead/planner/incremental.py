# SPDX-License-Identifier: Apache-2.0
"""The plan kept true while objects come and go: what the agent asks at every watch event.

Objects are held by key and what was derived from them per Service; a change invalidates only what
it touches. What edges carry are the addresses in `status` that lie in our pools: the allocator's
decision is written there first and comes back by watch, so that every edge sees the same.

Incremental equals full: a property test compares every state with `make_plan`.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import EndpointSlice, Namespace, Node, Service
from fairlead.model.names import IPAddress, ObjectKey, Protocol
from fairlead.model.plan import (
    BgpAnnouncement,
    EdgePlan,
    ObjectError,
    ServicePlan,
    VipAddress,
    VirtualServer,
    VrrpInstance,
)
from fairlead.model.pool import Pool
from fairlead.planner.allocator import Allocator
from fairlead.planner.case import age
from fairlead.planner.edges import (
    bgp_announcements,
    edge_plan,
    vip_addresses,
    vrrp_instances,
)
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.pools import namespace_labels, usable_pools
from fairlead.planner.requests import is_ours
from fairlead.planner.shape import address_order, shape_service
from fairlead.planner.slices import SliceView

PlannerObject = Service | EndpointSlice | Node | Namespace | Pool
KIND_OF: Mapping[type[Any], str] = {
    Service: "Service",
    EndpointSlice: "EndpointSlice",
    Node: "Node",
    Namespace: "Namespace",
    Pool: "IPAddressPool",
}


class EdgeDelta(msgspec.Struct, frozen=True, kw_only=True):
    """What changed for one edge since it last asked.

    Attributes:
        virtual_servers: Services whose virtual servers changed; () where none are left.
        addresses, vrrp, bgp: Whole new values, None where unchanged.
    """

    virtual_servers: Mapping[ObjectKey, tuple[VirtualServer, ...]]
    addresses: tuple[VipAddress, ...] | None = None
    vrrp: tuple[VrrpInstance, ...] | None = None
    bgp: tuple[BgpAnnouncement, ...] | None = None

    def __bool__(self) -> bool:
        parts = (self.addresses, self.vrrp, self.bgp)
        return bool(self.virtual_servers) or any(part is not None for part in parts)


class _Pending:
    """What one edge has not been told yet."""

    def __init__(self, services: Iterable[ObjectKey]) -> None:
        self.services = set(services)
        self.vips = True
        self.vrrp: tuple[VrrpInstance, ...] | None = None
        self.bgp: tuple[BgpAnnouncement, ...] | None = None


class PlannerState:
    """Objects of the cluster and the plan derived from them. Not thread-safe."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._edges: Mapping[str, Edge] = {edge.name: edge for edge in inventory.edges}
        self._services: dict[ObjectKey, Service] = {}
        self._views: dict[ObjectKey, SliceView] = {}
        self._by_service: dict[ObjectKey, dict[ObjectKey, SliceView]] = {}
        self._node_objects: dict[str, Node] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._cluster_pools: dict[ObjectKey, Pool] = {}
        self._nodes: NodeIndex | None = NodeIndex(())
        self._pool_errors: tuple[ObjectError, ...] = ()
        self._allocator = Allocator(inventory)
        self._untold: dict[ObjectKey, ServicePlan] = {}
        self._carried: dict[ObjectKey, tuple[IPAddress, ...]] = {}
        self._users: dict[IPAddress, set[ObjectKey]] = {}
        self._shaped: dict[ObjectKey, tuple[VirtualServer, ...]] = {}
        self._answering: dict[ObjectKey, frozenset[IPAddress]] = {}
        self._ready: dict[IPAddress, bool] = {}
        self._order: list[tuple[tuple[int, int], IPAddress]] = []
        self._dirty: set[ObjectKey] = set()
        self._touched_vips: set[IPAddress] = set()
        self._pending: dict[str, _Pending] = {}
        self._new_pools()

    @property
    def pool_errors(self) -> tuple[ObjectError, ...]:
        """Pools of the cluster that are left out, and why."""
        return self._pool_errors

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools in force, by name."""
        return tuple(self._allocator.pools.by_name.values())

    def put(self, value: PlannerObject) -> None:
        """Note an object that came or changed."""
        if isinstance(value, EndpointSlice):
            self._put_slice(value)
        elif isinstance(value, Service):
            self._put_service(value)
        elif isinstance(value, Node):
            if self._node_objects.get(value.name) != value:
                self._node_objects[value.name] = value
                self._new_nodes()
        elif isinstance(value, Namespace):
            if self._namespaces.get(value.name) != value:
                self._namespaces[value.name] = value
                self._new_pools()
        elif self._is_pool(value) and self._cluster_pools.get(value.key) != value:
            self._cluster_pools[value.key] = value
            self._new_pools()

    def remove(self, kind: str, key: ObjectKey) -> None:
        """Note an object that is gone; removing the absent does nothing."""
        match kind:
            case "Service":
                if self._services.pop(key, None) is not None:
                    self._allocator.remove(key)
                    self._dirty.add(key)
            case "EndpointSlice":
                self._drop_slice(key)
            case "Node":
                if self._node_objects.pop(key.name, None) is not None:
                    self._new_nodes()
            case "Namespace":
                if self._namespaces.pop(key.name, None) is not None:
                    self._new_pools()
            case _:
                if self._cluster_pools.pop(key, None) is not None:
                    self._new_pools()

    def replace(
        self, kind: str, objects: Iterable[PlannerObject], keep: Collection[ObjectKey] = ()
    ) -> None:
        """Take a complete list of one kind: what is not in it is gone.

        `keep` are objects of the list that can't be used: their last good version stays in force.
        """
        known: Iterable[ObjectKey]
        match kind:
            case "Service":
                known = self._services
            case "EndpointSlice":
                known = self._views
            case "Node":
                known = [ObjectKey("", name) for name in self._node_objects]
            case "Namespace":
                known = [ObjectKey("", name) for name in self._namespaces]
            case _:
                known = self._cluster_pools
        listed = {object_key(value): value for value in objects}
        for key in [key for key in known if key not in listed and key not in keep]:
            self.remove(kind, key)
        for value in listed.values():
            self.put(value)

    def take_decisions(self) -> tuple[ServicePlan, ...]:
        """Decisions that differ from the last ones taken and call for a write or an Event."""
        self._settle_pools()
        for plan in self._allocator.run():
            self._untold[plan.key] = plan
        taken = tuple(
            self._untold[key]
            for key in sorted(self._untold)
            if self._untold[key].changed or self._untold[key].events
        )
        self._untold.clear()
        return taken

    def decision(self, key: ObjectKey) -> ServicePlan | None:
        """The last decision about one Service, None where there is nothing to say."""
        return self._allocator.decision(key)

    def retell(self) -> None:
        """Let `take_decisions` return everything that needs a write, as after a lost Lease."""
        self._untold.update(self._allocator.decisions())

    def decisions(self) -> tuple[ServicePlan, ...]:
        """The allocator's decisions about all Services, sorted."""
        self._settle_pools()
        for plan in self._allocator.run():
            self._untold[plan.key] = plan
        decided = self._allocator.decisions()
        return tuple(decided[key] for key in sorted(decided))

    def take_edge_delta(self, edge_name: str) -> EdgeDelta:
        """What changed for an edge since it last asked; all of it the first time."""
        self._settle()
        edge = self._edges[edge_name]
        pending = self._pending.get(edge_name)
        if pending is None:
            pending = self._pending[edge_name] = _Pending(self._shaped)
        changed = {key: self._shaped.get(key, ()) for key in pending.services}
        pending.services.clear()
        if not pending.vips:
            return EdgeDelta(virtual_servers=changed)
        pending.vips = False
        vips = self._vips()
        vrrp = vrrp_instances(edge, vips, self.inventory)
        bgp = bgp_announcements(edge, vips, self.inventory)
        delta = EdgeDelta(
            virtual_servers=changed,
            addresses=vips,
            vrrp=vrrp if vrrp != pending.vrrp else None,
            bgp=bgp if bgp != pending.bgp else None,
        )
        pending.vrrp, pending.bgp = vrrp, bgp
        return delta

    def edge_plan(self, edge_name: str) -> EdgePlan:
        """An edge's whole slice of the plan."""
        self._settle()
        servers = [server for shaped in self._shaped.values() for server in shaped]
        return edge_plan(self._edges[edge_name], servers, self._vips(), self.inventory)

    def _vips(self) -> tuple[VipAddress, ...]:
        ready = {address: self._ready[address] for _, address in self._order}
        return vip_addresses(ready, self.inventory)

    def _is_pool(self, pool: Pool) -> bool:
        return pool.namespace == self.inventory.pool_namespace

    def _put_service(self, service: Service) -> None:
        before = self._services.get(service.key)
        if before == service:
            return
        self._services[service.key] = service
        self._allocator.put(service)
        self._dirty.add(service.key)

    def _put_slice(self, value: EndpointSlice) -> None:
        before = self._views.get(value.key)
        if before is not None and before.source.service != value.service:
            self._drop_slice(value.key)
        view = SliceView(value)
        self._views[value.key] = view
        self._by_service.setdefault(value.service, {})[value.key] = view
        self._dirty.add(value.service)

    def _drop_slice(self, key: ObjectKey) -> None:
        view = self._views.pop(key, None)
        if view is None:
            return
        service = view.source.service
        own = self._by_service[service]
        del own[key]
        if not own:
            del self._by_service[service]
        self._dirty.add(service)

    def _new_nodes(self) -> None:
        self._nodes = None
        self._dirty |= self._carried.keys()

    def _new_pools(self) -> None:
        self._pools_dirty = True

    def _settle_pools(self) -> None:
        if not self._pools_dirty:
            return
        self._pools_dirty = False
        pools, self._pool_errors = usable_pools(self.inventory, self._cluster_pools.values())
        labels = namespace_labels(self._namespaces.values())
        if tuple(sorted(pools, key=lambda pool: pool.name)) != self.pools:
            self._dirty |= self._services.keys()
            self._allocator.set_pools(pools, labels)
        else:
            self._allocator.set_labels(labels)

    def _settle(self) -> None:
        """Shape what is dirty, and only that."""
        self._settle_pools()
        if not self._dirty:
            return
        if self._nodes is None:
            self._nodes = NodeIndex(self._node_objects.values())
        for key in list(self._dirty):
            self._recarry(key)
        for key in self._dirty:
            self._reshape(key, self._nodes)
        self._dirty.clear()
        self._gate()

    def _recarry(self, key: ObjectKey) -> None:
        """Find the addresses that a Service brings; those who share them are shaped anew."""
        service = self._services.get(key)
        carried: tuple[IPAddress, ...] = ()
        if service is not None and service.ingress and is_ours(service, self.inventory):
            pools = self._allocator.pools
            carried = tuple(
                dict.fromkeys(a for a, _ in service.ingress if pools.owner(a) is not None)
            )
        before = self._carried.get(key, ())
        for address in before:
            if address not in carried:
                self._users[address].discard(key)
                self._touched_vips.add(address)
        for address in carried:
            self._users.setdefault(address, set()).add(key)
        if carried:
            self._carried[key] = carried
        else:
            self._carried.pop(key, None)
        for address in {*before, *carried}:
            users = self._users[address]
            if len(users) > 1 or address not in carried:
                self._dirty |= users

    def _reshape(self, key: ObjectKey, nodes: NodeIndex) -> None:
        carried = self._carried.get(key, ())
        shaped: tuple[VirtualServer, ...] = ()
        if carried:
            views = self._by_service.get(key, {})
            slices = [views[name] for name in sorted(views)] if len(views) > 1 else views.values()
            shaped = shape_service(self._services[key], carried, slices, nodes, self.inventory)
            if any(len(self._users[address]) > 1 for address in carried):
                shaped = self._own_ports(key, shaped)
        before = self._shaped.get(key, ())
        if shaped:
            self._shaped[key] = shaped
        else:
            self._shaped.pop(key, None)
        answering = frozenset(
            [s.address for s in shaped if any(real.weight for real in s.real_servers)]
        )
        if carried:
            self._answering[key] = answering
            self._touched_vips.update(carried)
        else:
            self._answering.pop(key, None)
        if shaped != before:
            for pending in self._pending.values():
                pending.services.add(key)

    def _own_ports(
        self, key: ObjectKey, shaped: tuple[VirtualServer, ...]
    ) -> tuple[VirtualServer, ...]:
        """Leave out ports that an older Service has on the same address.

        The allocator lets no two Services meet on one port, but status is what anybody wrote, and
        two virtual servers can't be one.
        """
        own_age = age(self._services[key])
        taken: set[tuple[IPAddress, Protocol, int]] = set()
        for address in {server.address for server in shaped}:
            for other in self._users[address]:
                if other != key and age(self._services[other]) < own_age:
                    ports = self._services[other].ports
                    taken.update((address, port.protocol, port.port) for port in ports)
        return tuple(s for s in shaped if (s.address, s.protocol, s.port) not in taken)

    def _gate(self) -> None:
        """Set the readiness of touched VIPs: ready where any of their Services can answer."""
        changed = False
        for address in self._touched_vips:
            users = self._users.get(address)
            row = (address_order(address), address)
            if not users:
                self._users.pop(address, None)
                if self._ready.pop(address, None) is not None:
                    del self._order[bisect_left(self._order, row)]
                    changed = True
                continue
            ready = any(address in self._answering[key] for key in users)
            if address not in self._ready:
                insort(self._order, row)
            changed = changed or self._ready.get(address) is not ready
            self._ready[address] = ready
        self._touched_vips.clear()
        if changed:
            for pending in self._pending.values():
                pending.vips = True


def object_key(value: PlannerObject) -> ObjectKey:
    """Key of an object; cluster-scoped kinds have no namespace."""
    return ObjectKey("", value.name) if isinstance(value, Node | Namespace) else value.key
