# SPDX-License-Identifier: Apache-2.0
"""The planner from one edge's point of view: which virtual servers changed, what to announce.

Turns the planner's answers per Service into single virtual servers by their IPVS key, and its
decisions into writes against the version of the Service that is known now.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from fairlead.agent.publisher import Decision
from fairlead.agent.target import SECRETS, EdgeTarget
from fairlead.cluster.peer_secrets import PeerSecret
from fairlead.cluster.writes import IngressStatus, ServiceRef
from fairlead.diff.ipvs import service_key
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.ipvs import ServiceKey
from fairlead.model.kube import Namespace, Service
from fairlead.model.names import Forwarding, ObjectKey
from fairlead.model.plan import ObjectError, ServicePlan, VirtualServer
from fairlead.model.pool import Pool
from fairlead.planner.incremental import PlannerObject, PlannerState
from fairlead.planner.pools import PoolIndex
from fairlead.planner.usage import PoolUsage, UsageTable

_POOLS = "IPAddressPool"


@dataclass
class Delta:
    """What changed for this edge since the last question."""

    changed: dict[ServiceKey, VirtualServer] = field(default_factory=dict)
    removed: set[ServiceKey] = field(default_factory=set)
    announcements: bool = False
    pools: bool = False


class EdgePlanning:
    """Wraps `PlannerState` for one edge; used by the main loop alone."""

    def __init__(self, inventory: Inventory, edge: Edge) -> None:
        self.inventory = inventory
        self._state = PlannerState(inventory)
        self._usage = UsageTable(inventory)
        self.edge = edge
        self._services: dict[ObjectKey, Service] = {}
        self._namespaces: set[str] = set()
        self.target = EdgeTarget(inventory, edge)
        self._pools_touched = True
        self._pool_news: set[ObjectKey] | None = set()
        self._decide_all = False

    # -- what the cluster says --------------------------------------------------------------

    def put(self, kind: str, key: ObjectKey, value: PlannerObject | PeerSecret) -> None:
        """An object came or changed."""
        if isinstance(value, PeerSecret):
            self.target.put_secret(value)
            return
        if isinstance(value, Service):
            self._services[key] = value
            self._usage.put(value)
            self._usage_changed()
        elif kind == "Namespace":
            self._namespaces.add(key.name)
        self._touch_pools(kind, (key,))
        self._state.put(value)

    def put_unreadable(self, kind: str, key: ObjectKey) -> None:
        """An object changed to something that can't be used."""
        self._touch_pools(kind, (key,))
        self._state.put_unreadable(kind, key)

    def remove(self, kind: str, key: ObjectKey) -> None:
        """An object is gone."""
        if kind == SECRETS:
            self.target.remove_secret(key)
            return
        if kind == "Service":
            self._services.pop(key, None)
            self._usage.remove(key)
            self._usage_changed()
        elif kind == "Namespace":
            self._namespaces.discard(key.name)
        self._touch_pools(kind, (key,))
        self._state.remove(kind, key)

    def replace(
        self,
        kind: str,
        objects: Iterable[PlannerObject | PeerSecret],
        keep: Collection[ObjectKey],
    ) -> None:
        """A complete list of one kind; `keep` are in it, but can't be used."""
        objects = tuple(objects)
        if kind == SECRETS:
            self.target.replace_secrets((o for o in objects if isinstance(o, PeerSecret)), keep)
            return
        if kind == "Service":
            old = {key: self._services[key] for key in keep if key in self._services}
            self._services = old | {
                value.key: value for value in objects if isinstance(value, Service)
            }
            self._usage.use(self._usage.pools, self._services.values())
            self._usage_changed()
        elif kind == "Namespace":
            listed = {value.name for value in objects if isinstance(value, Namespace)}
            self._namespaces = listed | {key.name for key in keep}
        listed_keys = [value.key for value in objects if isinstance(value, Pool)]
        self._touch_pools(kind, (*listed_keys, *keep))
        planned = tuple(value for value in objects if not isinstance(value, PeerSecret))
        self._state.replace(kind, planned, keep)

    # -- what this edge should do -----------------------------------------------------------

    def take_delta(self) -> Delta:
        """What changed since the last call; everything the first time."""
        news = self._state.take_edge_delta(self.edge.name)
        delta = Delta(pools=self._pools_touched)
        self._pools_touched = False
        if self._usage.pools is not self._state.pool_index:
            self._usage.use(self._state.pool_index, self._services.values())
            self._usage_changed()
        for service, change in news.virtual_servers.items():
            for server in change.changed:
                delta.changed[service_key(server)] = server
            delta.removed.update(map(service_key, change.former))
            if service in self.target.filtered or any(map(is_filtered, change.servers)):
                self.target.put_servers(service, change.servers)
        # Changed in place, or passed from one Service to another on a shared address.
        delta.removed -= delta.changed.keys()
        delta.announcements = self.target.touched or news.announcing
        if delta.announcements:
            self.target.take(news)
        return delta

    def pools(self) -> tuple[Pool, ...]:
        """Pools in force."""
        return tuple(self.pool_index().by_name.values())

    def pool_index(self) -> PoolIndex:
        """The same, to ask about addresses."""
        return self._state.pool_index

    def pool_errors(self) -> tuple[ObjectError, ...]:
        """Pools, advertisements and peers that are left out, and why."""
        return self._state.object_errors

    def usage(self) -> tuple[PoolUsage, ...]:
        """How full pools are by the status of Services."""
        return self._usage.usage()

    @property
    def has_pool_news(self) -> bool:
        """Whether usage may be different since the last `take_pool_news`."""
        return self._pool_news is not None

    def take_pool_news(self) -> frozenset[ObjectKey] | None:
        """Pool objects that were touched since the last call; None where usage is as before."""
        news, self._pool_news = self._pool_news, None
        return None if news is None else frozenset(news)

    def has_namespace(self, name: str) -> bool:
        """Whether the cluster has a namespace."""
        return name in self._namespaces

    # -- what the leader should write -------------------------------------------------------

    def decide_all(self) -> None:
        """Let the next decisions be complete: this edge begins to lead, or looks again."""
        self._decide_all = True
        self._usage_changed()

    def take_decisions(self) -> list[Decision]:
        """Decisions that are new and call for a write or an Event."""
        plans = self._state.take_decisions()
        if self._decide_all:
            self._decide_all = False
            plans = tuple(p for p in self._state.decisions() if p.changed or p.events)
        return [one for plan in plans if (one := self._decision(plan)) is not None]

    def decision(self, key: ObjectKey) -> Decision | None:
        """The present decision about one Service, if there is still something to write."""
        plan = self._state.decision(key)
        if plan is None or not (plan.changed or plan.events):
            return None
        return self._decision(plan)

    def service_ref(self, key: ObjectKey) -> ServiceRef | None:
        """The version of a Service that is known now."""
        service = self._services.get(key)
        if service is None:
            return None
        return ServiceRef(key, service.uid, service.resource_version)

    def _usage_changed(self) -> None:
        if self._pool_news is None:
            self._pool_news = set()

    def _touch_pools(self, kind: str, keys: Iterable[ObjectKey]) -> None:
        if kind == _POOLS:
            self._pools_touched = True
            self._pool_news = {*(self._pool_news or ()), *keys}

    def _decision(self, plan: ServicePlan) -> Decision | None:
        ref = self.service_ref(plan.key)
        if ref is None:
            return None
        status = None
        if plan.changed:
            ingress = tuple((str(address), "VIP") for address in plan.addresses)
            status = IngressStatus(ingress, plan.pool)
        return Decision(ref, status, plan.events)


def is_filtered(server: VirtualServer) -> bool:
    """Whether the packet filter has rules about it: source ranges, a mark, source NAT."""
    return (
        server.source_ranges is not None
        or server.mark is not None
        or server.forwarding is Forwarding.MASQUERADE
    )
