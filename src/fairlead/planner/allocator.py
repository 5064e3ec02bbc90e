# SPDX-License-Identifier: Apache-2.0
"""Services and pools -> an address or a refusal (metallb reference 1.4, 2.3 to 2.5, design 9).

`status.loadBalancer.ingress` is the only record. One run goes through three steps:

1. *Claim*: who holds addresses by status claims them again, oldest first; what the pools no longer
   allow is given up.
2. *Requests*: addresses and pools asked for by name, all together, so that two Services can swap.
   Who can't have what it asks for keeps what it has.
3. *Choice*: everybody else, oldest first.

The allocator keeps its ledger between runs and looks again only at Services that changed, at those
on their addresses, and, when something was set free, at those that wait.
"""

from collections.abc import Collection, Iterable, Mapping

from fairlead.model.inventory import Inventory
from fairlead.model.kube import Service
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.plan import ServicePlan
from fairlead.model.pool import Pool
from fairlead.planner.case import Case, age, decide
from fairlead.planner.choice import Chooser
from fairlead.planner.ledger import Claim, Ledger
from fairlead.planner.pools import NamespaceLabels, PoolIndex, reserved_addresses
from fairlead.planner.requests import POOL_NOTE, is_ours
from fairlead.planner.shape import shape_events
from fairlead.planner.trail import Trail


class Allocator:
    """Decisions for all Services, kept true as they change. No clock, no I/O."""

    def __init__(
        self,
        inventory: Inventory,
        pools: Iterable[Pool] = (),
        labels: NamespaceLabels | None = None,
        unusable: Collection[str] = (),
        trail: Trail | None = None,
    ) -> None:
        self._inventory = inventory
        self._trail = trail
        self._services: dict[ObjectKey, Service] = {}
        self._decided: dict[ObjectKey, ServicePlan] = {}
        # Addresses decided but not yet seen in status, and the status they were decided on.
        self._granted: dict[ObjectKey, tuple[IPAddress, ...]] = {}
        self._waiting: set[ObjectKey] = set()
        self._dirty: set[ObjectKey] = set()
        self._labels: NamespaceLabels = labels or {}
        self._reserved = reserved_addresses(inventory)
        self.pools = PoolIndex(pools, self._reserved, unusable)
        self._ledger = Ledger(self.pools)
        self._named: dict[ObjectKey, tuple[IPAddress, ...]] = {}

    def set_pools(
        self, pools: Iterable[Pool], labels: NamespaceLabels, unusable: Collection[str] = ()
    ) -> None:
        """Replace pools and namespaces' labels; every Service is looked at again.

        `unusable` are names of pool objects of which no version is in force.
        """
        self.pools, self._labels = PoolIndex(pools, self._reserved, unusable), labels
        self._ledger = Ledger(self.pools)
        self._named.clear()
        self._waiting.clear()
        self._dirty |= self._services.keys()

    def set_labels(self, labels: NamespaceLabels) -> None:
        """Replace namespaces' labels; nothing is looked at again unless a pool selects by them."""
        selecting = any(
            pool.selection and pool.selection.namespace_selectors
            for pool in self.pools.by_name.values()
        )
        if selecting and labels != self._labels:
            self.set_pools(self.pools.by_name.values(), labels, self.pools.unusable)
        self._labels = labels

    def put(self, service: Service) -> None:
        """Note a Service that came or changed."""
        before = self._services.get(service.key)
        if before == service:
            return
        if before is not None and before.ingress != service.ingress:
            self._granted.pop(service.key, None)
        self._services[service.key] = service
        self._dirty.add(service.key)

    def remove(self, key: ObjectKey) -> None:
        """Note a Service that is gone."""
        if self._services.pop(key, None) is None:
            return
        self._granted.pop(key, None)
        if key in self._decided or self._ledger.held(key).addresses:
            self._dirty.add(key)
        else:  # an agent that never leads must not remember every Service that ever was
            self._dirty.discard(key)

    def decision(self, key: ObjectKey) -> ServicePlan | None:
        """The last decision about a Service; None where there is nothing to say."""
        return self._decided.get(key)

    def decisions(self) -> Mapping[ObjectKey, ServicePlan]:
        """All last decisions."""
        return self._decided

    def run(self) -> list[ServicePlan]:
        """Decide anew what may have changed; return the decisions that differ from before."""
        if not self._dirty:
            return []
        keys = self._dirty
        for key in list(keys):
            for address in self._ledger.held(key).addresses:
                keys.update(self._ledger.users(address))
            service = self._services.get(key)
            for address, _ in service.ingress if service else ():
                keys.update(self._ledger.users(address))
        named = {key: self._named[key] for key in keys if key in self._named}
        freed = self._withdraw(keys)
        cases = self._cases(keys)
        chooser = Chooser(self._ledger, self.pools, self._labels)
        chooser.claim(cases)
        moved = any(not self._ledger.held(key).keeps(claim) for key, claim in freed.items())
        # Requests are resolved together: one that is no more may have stood in another's way.
        moved = moved or any(self._named.get(key) != asked for key, asked in named.items())
        waiting = self._waiting - keys
        if waiting and (moved or any(case.addresses and chooser.asks(case) for case in cases)):
            self._withdraw(waiting)
            late = self._cases(waiting)
            chooser.claim(late)
            cases = sorted([*cases, *late], key=lambda case: case.age)
            keys = keys | waiting
        chooser.assign(cases)
        self._dirty = set()
        return self._record(keys, cases)

    def _withdraw(self, keys: Iterable[ObjectKey]) -> dict[ObjectKey, Claim]:
        """Take these Services out of the ledger; return what they held."""
        freed = {}
        for key in keys:
            claim = self._ledger.release(key)
            if claim.addresses:
                freed[key] = claim
            self._ledger.unname(self._named.pop(key, ()))
        return freed

    def _cases(self, keys: Iterable[ObjectKey]) -> list[Case]:
        """Services of ours among these, oldest first, their requests noted."""
        cases = []
        for service in sorted((self._services[k] for k in keys if k in self._services), key=age):
            if not is_ours(service, self._inventory):
                continue
            case = decide(service, self.pools, self._granted.get(service.key))
            if self._trail is not None and self._trail.key == service.key:
                case.follow(self._trail)
            if case.wish and case.wish.addresses:
                self._named[service.key] = case.wish.addresses
                self._ledger.name(case.wish.addresses)
            cases.append(case)
        return cases

    def _record(self, keys: set[ObjectKey], cases: list[Case]) -> list[ServicePlan]:
        self._waiting -= keys
        decided = {case.service.key: self._plan(case) for case in cases}
        for case in cases:
            key = case.service.key
            if case.waits:
                self._waiting.add(key)
            recorded = tuple([address for address, _ in case.service.ingress])
            if case.addresses and case.addresses != recorded:
                self._granted[key] = case.addresses
            else:
                self._granted.pop(key, None)
        for key in keys - decided.keys():
            service = self._services.get(key)
            if service is not None and _has_remains(service):
                decided[key] = ServicePlan(key=key, changed=True)
        changed = [plan for key, plan in decided.items() if self._decided.get(key) != plan]
        for key in keys:
            self._decided.pop(key, None)
        self._decided.update(decided)
        return sorted(changed, key=lambda plan: plan.key)

    def _plan(self, case: Case) -> ServicePlan:
        for event in shape_events(case.service, self._inventory):
            case.events.append(event)
        return case.plan()


def _has_remains(service: Service) -> bool:
    """Whether a Service that is no LoadBalancer any more still carries what it was given.

    The API server empties the status itself when the type changes, but leaves the note of the pool.
    """
    if service.type == "LoadBalancer":
        return False
    return bool(service.ingress) or POOL_NOTE in service.annotations
