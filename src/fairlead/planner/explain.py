# SPDX-License-Identifier: Apache-2.0
"""Why a Service is planned as it is: its address, its real servers, its announcements.

No second planner: the plan is made once, the allocator notes on its way what it looks at
(`trail`), and everything else is read off the finished plan, with the planner's own questions asked
again where the plan holds only their answer.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from fairlead.model.errors import FairleadError
from fairlead.model.explanation import (
    AddressStory,
    AllocationStep,
    AnnouncementStory,
    Companion,
    Explanation,
    PassedAddress,
    ServerStory,
)
from fairlead.model.inventory import Inventory
from fairlead.model.kube import Service
from fairlead.model.names import ObjectKey
from fairlead.model.plan import Plan, ServicePlan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.explain_announce import announcement_stories, gate_stories
from fairlead.planner.explain_servers import server_stories
from fairlead.planner.plan import make_plan
from fairlead.planner.requests import foreign_because
from fairlead.planner.trail import Step, Trail


class UnknownServiceError(FairleadError):
    """The Service to be explained is not in the input."""


def explain(snapshot: Snapshot, inventory: Inventory, key: ObjectKey) -> tuple[Explanation, Plan]:
    """Explain one Service; returns the plan that is explained as well.

    Raises:
        UnknownServiceError: The snapshot has no Service of this name.
    """
    service = next((service for service in snapshot.services if service.key == key), None)
    if service is None:
        raise UnknownServiceError(_unknown(key, snapshot.services))
    trail = Trail(key)
    plan = make_plan(snapshot, inventory, trail)
    decision = next((one for one in plan.services if one.key == key), ServicePlan(key=key))
    foreign = foreign_because(service, inventory)
    servers = () if foreign else server_stories(service, decision, plan, snapshot, inventory)
    gates = () if foreign else gate_stories(decision, plan)
    announcements = (
        () if foreign else announcement_stories(service, decision, plan, snapshot, inventory)
    )
    return (
        Explanation(
            namespace=key.namespace,
            name=key.name,
            ours=not foreign,
            summary=_summary(foreign, decision, servers, announcements),
            address=_address_story(service, decision, plan, trail),
            virtual_servers=servers,
            gates=gates,
            announcements=announcements,
        ),
        plan,
    )


def _unknown(key: ObjectKey, services: Iterable[Service]) -> str:
    known = sorted(str(service.key) for service in services)
    near = [name for name in known if name.partition("/")[2] == key.name]
    near = near or get_close_matches(str(key), known, n=3)
    hint = f"; did you mean {' or '.join(near[:3])}?" if near else ""
    return f"no Service {key} in the input{hint}"


def _address_story(
    service: Service, decision: ServicePlan, plan: Plan, trail: Trail
) -> AddressStory:
    return AddressStory(
        addresses=tuple(map(str, decision.addresses)),
        pool=decision.pool,
        recorded=tuple(str(address) for address, _ in service.ingress),
        refusal=decision.refusal,
        steps=tuple(_step(step) for step in trail.steps),
        shared_with=tuple(
            Companion(address=str(address), service=str(other.key))
            for address in decision.addresses
            for other in plan.services
            if other.key != decision.key and address in other.addresses
        ),
        events=decision.events,
    )


def _step(step: Step) -> AllocationStep:
    return AllocationStep(
        phase=step.phase.value,
        outcome=step.outcome.value,
        message=step.message,
        pool=step.pool,
        addresses=tuple(map(str, step.addresses)),
        passed=tuple(PassedAddress(address=str(one.address), why=one.why) for one in step.passed),
        more=step.more,
    )


def _summary(
    foreign: str,
    decision: ServicePlan,
    servers: Iterable[ServerStory],
    announcements: Iterable[AnnouncementStory],
) -> str:
    if foreign:
        remains = "; what it was given before is taken back" if decision.changed else ""
        return f"not served: {foreign}{remains}"
    if not decision.addresses:
        return f"no address: {decision.refusal.message if decision.refusal else 'none asked for'}"
    addresses = " and ".join(map(str, decision.addresses))
    reals = sum(target.weight is not None for one in servers for target in one.targets)
    edges = sorted({one.edge for one in announcements if one.announced})
    where = f"announced by {', '.join(edges)}" if edges else "announced by no edge"
    return f"{addresses} from pool {decision.pool}, {_count(reals, 'real server')}, {where}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
