# SPDX-License-Identifier: Apache-2.0
"""One Service on its way through the allocator: what it holds, what it asks for, what it gets."""

from dataclasses import dataclass, field

from fairlead.model.addresses import family_of
from fairlead.model.kube import Service
from fairlead.model.names import IPAddress, ObjectKey
from fairlead.model.plan import PlanEvent, Refusal, ServicePlan
from fairlead.planner.pools import PoolIndex
from fairlead.planner.requests import (
    OLD_DOMAIN,
    POOL_NOTE,
    RequestError,
    Wish,
    listed,
    pair_problem,
    wanted_families,
    wish_of,
)
from fairlead.planner.trail import Outcome, Phase, Step, Trail, wish_texts

NORMAL, WARNING = "Normal", "Warning"
FAILED = "AllocationFailed"
_MOVES = frozenset({"ClearAssignment", "IPAllocated"})


@dataclass(slots=True)
class Case:
    """A Service of ours and its decision in the making.

    Attributes:
        wish: None where the Service can't have an address at all; `refusal` says why.
        held: What it holds by status (or by a decision not yet written), if that may still be
            its own.
        addresses, pool: The decision.
        waits: Whether an address set free could change the decision.
        trail: Where to write what was looked at, None where nobody asks.
    """

    service: Service
    age: tuple[bool, str, ObjectKey]
    wish: Wish | None = None
    held: tuple[IPAddress, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    pool: str | None = None
    refusal: Refusal | None = None
    events: list[PlanEvent] = field(default_factory=list)
    waits: bool = False
    trail: Trail | None = None

    def follow(self, trail: Trail) -> None:
        """Take down what is looked at from here on, and what the case was opened with."""
        self.trail = trail
        wish = self.wish
        if wish is None:
            return
        for text in wish_texts(wish, self.service):
            self.note(Step(Phase.WISH, Outcome.LOOKED, text))
        recorded = tuple([address for address, _ in self.service.ingress])
        if recorded and not self.held:
            text = "not of the families that it wants, or not readable"
            self.note(Step(Phase.HELD, Outcome.NO, text, addresses=recorded))

    def note(self, step: Step) -> None:
        """Write a step to the trail, if somebody follows it."""
        if self.trail is not None:
            self.trail.add(step)

    def tell(self, kind: str, reason: str, message: str) -> None:
        """Raise an Event on the Service."""
        self.events.append(PlanEvent(kind, reason, message))

    def refuse(self, why: str) -> None:
        """Raise the Warning of an allocation that failed; what is held stays held."""
        message = f'Failed to allocate IP for "{self.service.key}": {why}'
        self.tell(WARNING, FAILED, message)
        self.waits = True
        if not self.addresses:
            self.refusal = Refusal(FAILED, message)

    def grant(self, addresses: tuple[IPAddress, ...], pool: str, *, new: bool) -> None:
        """Decide for addresses; `new` ones are told in an Event."""
        self.addresses, self.pool, self.refusal = addresses, pool, None
        if new:
            self.tell(NORMAL, "IPAllocated", f"Assigned IP {listed(addresses)}")

    def plan(self) -> ServicePlan:
        """The decision as a value."""
        changed = needs_write(self.service, self.addresses, self.pool)
        if not changed:
            # It lost its address to an older holder that then went elsewhere, and has it back.
            self.events = [event for event in self.events if event.reason not in _MOVES]
        else:
            for key in sorted(self.service.annotations):
                if key.startswith(OLD_DOMAIN):
                    text = f"Service uses deprecated annotation {key}"
                    self.tell(WARNING, "deprecatedAnnotation", text)
        return ServicePlan(
            key=self.service.key,
            addresses=self.addresses,
            pool=self.pool,
            refusal=self.refusal,
            events=tuple(self.events),
            changed=changed,
        )


def age(service: Service) -> tuple[bool, str, ObjectKey]:
    """Sort key: oldest first, by name where times are equal; unknown times are youngest."""
    return not service.created, service.created, service.key


def needs_write(service: Service, addresses: tuple[IPAddress, ...], pool: str | None) -> bool:
    """Whether status or the pool note of a Service differs from a decision.

    An absent ipMode means VIP; the API server fills it in, so it must not count as a difference.
    """
    if tuple([address for address, _ in service.ingress]) != addresses or service.ingress_errors:
        return True
    if any(mode not in ("", "VIP") for _, mode in service.ingress):
        return True
    return service.annotations.get(POOL_NOTE) != pool


def decide(service: Service, pools: PoolIndex, granted: tuple[IPAddress, ...] | None) -> Case:
    """Open the case of a Service of ours: its families, its request, what it may still hold.

    `granted` are addresses that were decided before and are not in its status yet.
    """
    case = Case(service, age(service))
    if not pools.by_name and not pools.unusable:
        case.refusal = _quiet(service, "no pools are configured")
        case.waits = True
        return case
    held = granted or tuple([address for address, _ in service.ingress])
    try:
        families = wanted_families(service, pools)
    except RequestError as error:
        return _unknown_families(case, held, str(error))
    if not families:
        case.refusal = _quiet(service, "the Service has no ClusterIPs")
        return case
    if _lacks_cluster_ips(service):
        ips = " ".join(service.cluster_ips)
        text = f"Service requires dual stack but not enough clusterips [{ips}]"
        case.tell(WARNING, "not enough clusterips", text)
        case.refusal = Refusal("not enough clusterips", text)
        return case
    case.wish = wish_of(service, families)
    case.held = _kept(case, held)
    return case


def _quiet(service: Service, why: str) -> Refusal:
    """A refusal without an Event, as upstream's."""
    return Refusal(FAILED, f'Failed to allocate IP for "{service.key}": {why}')


def _lacks_cluster_ips(service: Service) -> bool:
    policy = service.ip_family_policy
    return policy == "RequireDualStack" and len(service.cluster_ips) == 1


def _unknown_families(case: Case, held: tuple[IPAddress, ...], why: str) -> Case:
    """ClusterIPs that are no addresses: what is held stays, nothing new is given."""
    service = case.service
    if not held:
        case.refuse(why)
        case.waits = False
        return case
    ips = f"{listed(service.cluster_ips)} {service.cluster_ips[0]}"
    text = f"Failed to retrieve ClusterIPs IPFamily for {ips}"
    case.tell(WARNING, "noclusterIPsIPFamily", f"{text}: {why}")
    case.wish = wish_of(service, tuple(family_of(address) for address in held))
    case.held = held
    return case


def _kept(case: Case, held: tuple[IPAddress, ...]) -> tuple[IPAddress, ...]:
    """What of the status may be claimed: () where its families are not those that are wanted."""
    wish, errors = case.wish, case.service.ingress_errors
    if wish is None or not (held or errors):
        return ()
    problem = pair_problem(held)
    if errors:
        problem = f"IPFamilyForAddresses: Invalid address {listed([*map(str, held), *errors])}"
    if problem:
        text = f"Failed to retrieve LBIPs IPFamily for {listed([*map(str, held), *errors])}"
        case.tell(WARNING, "nolbIPsIPFamily", f"{text}: {problem}")
        return ()
    families = {family_of(address) for address in held}
    if families == set(wish.families):
        return held
    # One address of two is fine where a dual stack is only preferred.
    return held if families < set(wish.families) and not wish.dual_required else ()
