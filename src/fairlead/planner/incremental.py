# SPDX-License-Identifier: Apache-2.0
"""The plan kept true while objects come and go: what the agent asks at every watch event.

Objects are held by key and what was derived from them per Service; a change invalidates only what
it touches. What edges carry are the addresses in `status` that lie in our pools: the allocator's
decision is written there first and comes back by watch, so that every edge sees the same.

Incremental equals full: a property test compares every state with `make_plan`.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import EndpointSlice, Namespace, Node, Service
from fairlead.model.names import IPAddress, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.plan import EdgePlan, ObjectError, ServicePlan, VirtualServer
from fairlead.model.pool import Pool
from fairlead.planner.advert_objects import AdvertObjects, usable_adverts
from fairlead.planner.advert_store import ADVERT_KINDS, AdvertObject, AdvertStore
from fairlead.planner.adverts import Advertising, VipRow
from fairlead.planner.allocator import Allocator
from fairlead.planner.case import age
from fairlead.planner.delta import EdgeDelta, Pending, ServersChange
from fairlead.planner.edges import edge_plan
from fairlead.planner.marks import MarkTable, marked
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.pool_objects import PoolObjects
from fairlead.planner.pools import PoolIndex, namespace_labels
from fairlead.planner.requests import POOL_NOTE, is_ours
from fairlead.planner.shape import ServiceFrame, service_frame, shape_service
from fairlead.planner.slices import SliceView
from fairlead.planner.vips import Users, VipTable

PlannerObject = Service | EndpointSlice | Node | Namespace | Pool | AdvertObject
KIND_OF: Mapping[type[Any], str] = {
    Service: "Service",
    EndpointSlice: "EndpointSlice",
    Node: "Node",
    Namespace: "Namespace",
    Pool: "IPAddressPool",
    **ADVERT_KINDS,
}
_ADVERTS = frozenset(ADVERT_KINDS.values())


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
        self._pool_objects = PoolObjects(inventory)
        self._nodes = NodeIndex(())
        self._changed_nodes: set[str] = set()
        self._allocator = Allocator(inventory)
        self._unpublished: dict[ObjectKey, ServicePlan] = {}
        self._vips = VipTable()
        self._marks = MarkTable()
        self._adverts = AdvertStore(inventory)
        self._shaped: dict[ObjectKey, tuple[VirtualServer, ...]] = {}
        self._dirty: set[ObjectKey] = set()
        self._moved: set[ObjectKey] = set()
        self._frames: dict[ObjectKey, ServiceFrame] = {}
        self._pending: dict[str, Pending] = {}
        self._use_pools()
        nothing = usable_adverts(inventory, (), AdvertObjects())
        self._advertising = Advertising(inventory, (), nothing)

    @property
    def pool_errors(self) -> tuple[ObjectError, ...]:
        """Pools of the cluster that are left out, and why."""
        return self._pool_objects.errors

    @property
    def object_errors(self) -> tuple[ObjectError, ...]:
        """Pools, advertisements and peers of the cluster that are left out, and why."""
        return (*self.pool_errors, *self._adverts.errors)

    @property
    def pool_index(self) -> PoolIndex:
        """The pools in force; a change makes a new one."""
        return self._allocator.pools

    def put(self, value: PlannerObject) -> None:
        """Note an object that came or changed."""
        if isinstance(value, EndpointSlice):
            self._put_slice(value)
        elif isinstance(value, Service):
            self._put_service(value)
        elif isinstance(value, Node):
            self._put_node(value)
        elif isinstance(value, Namespace):
            if self._namespaces.get(value.name) != value:
                self._namespaces[value.name] = value
                self._pool_objects.touch()
        elif isinstance(value, Pool):
            self._pool_objects.put(value)
        else:
            self._adverts.put(value)

    def put_unreadable(self, kind: str, key: ObjectKey) -> None:
        """Note an object that can't be used as it is now: its last version stays in force."""
        if kind == KIND_OF[Pool]:
            self._pool_objects.put_unreadable(key)
        elif kind in _ADVERTS:
            self._adverts.put_unreadable(kind, key)

    def remove(self, kind: str, key: ObjectKey) -> None:
        """Note an object that is gone; removing the absent does nothing."""
        match kind:
            case "Service":
                if self._services.pop(key, None) is not None:
                    self._allocator.remove(key)
                    self._moved.add(key)
            case "EndpointSlice":
                self._drop_slice(key)
            case "Node":
                if self._node_objects.pop(key.name, None) is not None:
                    self._changed_nodes.add(key.name)
            case "Namespace":
                if self._namespaces.pop(key.name, None) is not None:
                    self._pool_objects.touch()
            case "IPAddressPool":
                self._pool_objects.remove(key)
            case _:
                self._adverts.remove(kind, key)

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
            case "IPAddressPool":
                known = self._pool_objects.keys()
            case _:
                known = self._adverts.keys(kind)
        listed = {object_key(value): value for value in objects}
        for key in [key for key in known if key not in listed and key not in keep]:
            self.remove(kind, key)
        for value in listed.values():
            self.put(value)
        for key in keep:
            self.put_unreadable(kind, key)

    def take_decisions(self) -> tuple[ServicePlan, ...]:
        """Decisions that differ from the last ones taken and call for a write or an Event."""
        self._decide()
        decided = self._allocator.decisions()
        taken = tuple(
            plan
            for key, plan in sorted(self._unpublished.items())
            if decided.get(key) is plan and (plan.changed or plan.events)
        )
        self._unpublished.clear()
        return taken

    def decisions(self) -> tuple[ServicePlan, ...]:
        """The allocator's decisions about all Services, sorted."""
        self._decide()
        decided = self._allocator.decisions()
        return tuple(decided[key] for key in sorted(decided))

    def decision(self, key: ObjectKey) -> ServicePlan | None:
        """The decision about one Service; None where it is not ours and holds nothing."""
        self._decide()
        return self._allocator.decisions().get(key)

    def _decide(self) -> None:
        self._use_pools()
        for plan in self._allocator.run():
            self._unpublished[plan.key] = plan

    def take_edge_delta(self, edge_name: str) -> EdgeDelta:
        """What changed for an edge since it last asked; all of it the first time."""
        self._reshape_dirty()
        pending = self._pending.get(edge_name)
        if pending is None:
            pending = self._pending[edge_name] = Pending(self._edges[edge_name], self._shaped)
        news = {
            key: change
            for key, before in pending.before.items()
            if (change := _servers_change(before, self._shaped.get(key, ())))
        }
        pending.before.clear()
        if pending.vips or pending.advertising:
            return pending.take(news, self._vips.rows(), self._advertising)
        return EdgeDelta(virtual_servers=news)

    def edge_plan(self, edge_name: str) -> EdgePlan:
        """An edge's whole slice of the plan."""
        self._reshape_dirty()
        servers = [server for shaped in self._shaped.values() for server in shaped]
        return edge_plan(self._edges[edge_name], servers, self._vips.rows(), self._advertising)

    def _put_node(self, node: Node) -> None:
        before = self._node_objects.get(node.name)
        if before == node:
            return
        if before is not None and before.addresses == node.addresses:
            # The same objects, because `_sends_to` tells addresses by identity.
            node = msgspec.structs.replace(node, addresses=before.addresses)
        self._node_objects[node.name] = node
        self._changed_nodes.add(node.name)

    def _put_service(self, service: Service) -> None:
        before = self._services.get(service.key)
        if before == service:
            return
        self._services[service.key] = service
        self._allocator.put(service)
        self._moved.add(service.key)

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

    def _index_nodes(self) -> None:
        """Arrange the nodes anew and mark the Services for which that matters."""
        if not self._changed_nodes:
            return
        before, self._nodes = self._nodes, NodeIndex(self._node_objects.values())
        local: set[str] = set()
        left: list[IPAddress] = []
        came = False
        for name in self._changed_nodes:
            (old_local, old), (new_local, new) = before.reach(name), self._nodes.reach(name)
            if old_local != new_local:
                local.add(name)
            left += [address for address in old if address not in new]
            came = came or any(address not in old for address in new)
        self._changed_nodes.clear()
        if not (local or left or came):
            return
        for key in self._vips.carriers():
            if self._services[key].policy is TrafficPolicy.LOCAL:
                touched = any(
                    name in view.nodes
                    for view in self._by_service.get(key, {}).values()
                    for name in local
                )
            else:
                touched = came or _sends_to(self._shaped.get(key, ()), left)
            if touched:
                self._dirty.add(key)

    def _use_pools(self) -> None:
        """Take the pools in force now; where they differ, every Service is looked at again."""
        if not self._pool_objects.dirty:
            return
        now = self._allocator.pools
        in_force = self._pool_objects.take_in_force(now)
        if in_force is None:
            return
        (pools, unusable), labels = in_force, namespace_labels(self._namespaces.values())
        if {pool.name: pool for pool in pools} != now.by_name or unusable != now.unusable:
            self._moved |= self._services.keys()
            self._allocator.set_pools(pools, labels, unusable)
            self._adverts.touch()
        else:
            self._allocator.set_labels(labels)

    def _reshape_dirty(self) -> None:
        """Shape what is dirty, and only that."""
        self._use_pools()
        self._index_nodes()
        self._use_adverts()
        for key in list(self._moved):
            self._recarry(key)
        self._dirty |= self._moved
        self._moved.clear()
        for key in self._dirty:
            self._reshape(key)
        self._dirty.clear()
        if self._marks.stale:
            for key, mark in self._marks.reassign().items():
                self._reshaped(key, marked(self._shaped[key], mark))
        if self._vips.touched and self._vips.gate(self._row):
            for pending in self._pending.values():
                pending.vips = True

    def _use_adverts(self) -> None:
        """Take what is advertised now; what advertises VIPs may be different for each of them."""
        if not self._adverts.dirty:
            return
        anew = self._adverts.take_in_force(tuple(self.pool_index.by_name.values()))
        if anew is None:
            return
        self._advertising = anew
        self._vips.touch_all()
        for pending in self._pending.values():
            pending.advertising = True

    def _row(self, address: IPAddress, users: Users, before: VipRow | None) -> VipRow:
        """How a VIP goes out; a pool that is not in force any more is known by the note of it."""
        if before is not None and before.source is not None and len(users) == 1:
            key, answers = users[0]
            if before.source is self._services[key] and before.ready is answers:
                return before
        owner = self._allocator.pools.owner(address)
        told = [(self._services[key], answers) for key, answers in users]
        pool = owner.name if owner else told[0][0].annotations.get(POOL_NOTE, "")
        return self._advertising.row(address, told, pool)

    def _recarry(self, key: ObjectKey) -> None:
        """Find the addresses that a Service brings; those who share them are shaped anew."""
        service = self._services.get(key)
        carried: tuple[IPAddress, ...] = ()
        if service is not None and service.ingress and is_ours(service, self.inventory):
            is_vip, note = self._allocator.pools.is_vip, service.annotations.get(POOL_NOTE, "")
            carried = tuple(dict.fromkeys(a for a, _ in service.ingress if is_vip(a, note)))
        self._dirty |= self._vips.carry(key, carried)
        if service is not None and carried:
            self._frames[key] = service_frame(service, carried, self.inventory)
        else:
            self._frames.pop(key, None)

    def _reshape(self, key: ObjectKey) -> None:
        frame = self._frames.get(key)
        shaped: tuple[VirtualServer, ...] = ()
        if frame is not None:
            views = self._by_service.get(key, {})
            slices = [views[name] for name in sorted(views)] if len(views) > 1 else views.values()
            shaped = shape_service(frame, slices, self._nodes)
            users = self._vips.users_of
            if any(len(users[address]) > 1 for address, _, _ in frame.addresses):
                shaped = self._own_ports(key, shaped)
            answering = [s.address for s in shaped if any(real.weight for real in s.real_servers)]
            if self._vips.answering.get(key) != answering:
                self._vips.answer(key, answering)
        if key in self._marks.keys or (frame is not None and frame.port_range is not None):
            shaped = self._marks.note(key, shaped)
        self._reshaped(key, shaped)

    def _reshaped(self, key: ObjectKey, shaped: tuple[VirtualServer, ...]) -> None:
        before = self._shaped.get(key, ())
        if shaped:
            self._shaped[key] = shaped
        else:
            self._shaped.pop(key, None)
        for pending in self._pending.values():
            pending.before.setdefault(key, before)

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
            for other in self._vips.users(address):
                if other != key and age(self._services[other]) < own_age:
                    ports = self._services[other].ports
                    taken.update((address, port.protocol, port.port) for port in ports)
        return tuple(
            s
            for s in shaped
            # A range needs its address alone: the marks would take packets of all others, too.
            if s.last_port is None and (s.address, s.protocol, s.port) not in taken
        )


def _servers_change(
    before: tuple[VirtualServer, ...], after: tuple[VirtualServer, ...]
) -> ServersChange | None:
    """What is different in a Service's virtual servers; None where nothing is."""
    if before == after:
        return None
    return ServersChange(
        after,
        tuple([one for one in after if one not in before]),
        tuple([one for one in before if one not in after]),
    )


def _sends_to(servers: tuple[VirtualServer, ...], addresses: list[IPAddress]) -> bool:
    """Whether a real server is one of these very objects: comparing values is ten times slower."""
    return any(
        real.address is address
        for server in servers
        for real in server.real_servers
        for address in addresses
    )


def object_key(value: PlannerObject) -> ObjectKey:
    """Key of an object; cluster-scoped kinds have no namespace."""
    return ObjectKey("", value.name) if isinstance(value, Node | Namespace) else value.key
