# SPDX-License-Identifier: Apache-2.0
"""The three steps of an allocation run: claim, requests, choice (see `allocator`)."""

from collections.abc import Sequence

from fairlead.model.addresses import family_of
from fairlead.model.names import Family, IPAddress
from fairlead.model.pool import Pool
from fairlead.planner.case import NORMAL, WARNING, Case
from fairlead.planner.ledger import Ledger
from fairlead.planner.pools import NamespaceLabels, PoolIndex, closed_to, objection
from fairlead.planner.requests import POOL_NOTE, Wish, listed
from fairlead.planner.trail import Outcome, Phase, Step, passed_over

NO_ADDRESS = "no available IPs"
Found = tuple[tuple[IPAddress, ...], Pool]


class AllocationError(Exception):
    """Why a request or a choice failed, in upstream's words."""


class Chooser:
    """Carries cases through the steps, on one ledger."""

    def __init__(self, ledger: Ledger, pools: PoolIndex, labels: NamespaceLabels) -> None:
        self._ledger, self._pools, self._labels = ledger, pools, labels

    def claim(self, cases: Sequence[Case]) -> None:
        """Step 1: holders claim what they hold, in the order given (oldest first)."""
        for case in cases:
            wish = case.wish
            if wish is None or not case.held:
                continue
            try:
                pool = self._may_keep(case, wish)
            except AllocationError as why:
                case.tell(
                    NORMAL,
                    "ClearAssignment",
                    f'current IP for "{case.service.key}" not allowed by config, '
                    f"will attempt for new IP assignment: {why}",
                )
                case.note(Step(Phase.HELD, Outcome.NO, str(why), addresses=case.held))
                case.held = ()
                continue
            self._ledger.claim(wish.use, case.held)
            in_force = pool in self._pools.by_name
            text = "still allowed" if in_force else "kept while the pool object can't be used"
            case.note(Step(Phase.HELD, Outcome.YES, text, pool, case.held))
            case.grant(case.held, pool, new=False)

    def assign(self, cases: Sequence[Case]) -> None:
        """Steps 2 and 3 for cases that have claimed."""
        open_cases = [case for case in cases if case.wish is not None]
        for case in open_cases:
            self._note_unreadable(case)
        asking = [case for case in open_cases if self.asks(case)]
        self._serve_requests(asking)
        for case in open_cases:
            if not case.addresses and case.refusal is None:
                self._choose(case)
            elif self._lacks_family(case):
                self._add_family(case)

    def _note_unreadable(self, case: Case) -> None:
        """A request that can't be understood: who holds an address keeps it."""
        wish = case.wish
        if wish is None or not wish.address_error:
            return
        case.note(Step(Phase.REQUEST, Outcome.NO, wish.address_error))
        if case.addresses:
            text = f"invalid requested loadbalancer IPs: {wish.address_error}"
            case.tell(WARNING, "LoadBalancerFailed", text)
        else:
            case.refuse(wish.address_error)
            case.waits = False

    def asks(self, case: Case) -> bool:
        """Whether a case asks by name for something it does not have."""
        wish = case.wish
        if wish is None or wish.address_error:
            return False
        if wish.addresses and not set(wish.addresses) <= set(case.addresses):
            return True
        if wish.pool:
            return case.pool != wish.pool if case.addresses else bool(wish.addresses)
        return False

    def _serve_requests(self, asking: Sequence[Case]) -> None:
        """Step 2: requests, oldest first, those for addresses before those for pools.

        Who moves gives up its address first, so that others can have it. Where a move fails, its
        old address is its again, and whatever was built on that move is undone: all is tried anew
        without it. Repeated until nobody else can be served, so that a second run finds the same.
        """
        ordered = sorted(asking, key=lambda case: not (case.wish and case.wish.addresses))
        left = list(ordered)
        while left:
            reasons = self._try_together(left)
            if len(reasons) == len(left):
                break
            left = [case for case in left if id(case) in reasons]
        for case in left:
            case.refuse(reasons[id(case)])

    def _try_together(self, cases: Sequence[Case]) -> dict[int, str]:
        """Serve as many as can be served together; reasons of the others by `id(case)`."""
        staying: dict[int, str] = {}
        while True:
            for case in cases:
                self._ledger.release(case.service.key)
            for case in cases:
                if id(case) in staying:
                    self._reclaim(case)
            failed: dict[int, str] = {}
            found: list[tuple[Case, Found]] = []
            for case in cases:
                if id(case) in staying:
                    continue
                try:
                    result = self._requested(case)
                except AllocationError as why:
                    failed[id(case)] = str(why)
                    case.note(Step(Phase.REQUEST, Outcome.NO, str(why)))
                    continue
                found.append((case, result))
                case.note(Step(Phase.REQUEST, Outcome.YES, "granted", result[1].name, result[0]))
            holders = {id(c): failed[id(c)] for c in cases if id(c) in failed and c.addresses}
            if not holders:
                for case, (addresses, pool) in found:
                    case.grant(addresses, pool.name, new=True)
                return {**staying, **failed}
            staying.update(holders)
            _note_again(found)

    def _reclaim(self, case: Case) -> None:
        if case.wish is not None and case.addresses:
            self._ledger.claim(case.wish.use, case.addresses)

    def _requested(self, case: Case) -> Found:
        """Claim what a case asks for by name."""
        wish = _wish(case)
        if not wish.addresses:
            return self._take(case, self._from_pool(case, wish))
        if {family_of(address) for address in wish.addresses} != set(wish.families):
            raise AllocationError(
                f"requested loadBalancer IP(s) {listed(wish.addresses)} "
                "does not match the ipFamily of the service"
            )
        pool = self._allowed(case, wish, wish.addresses)
        if wish.pool and pool.name != wish.pool:
            raise AllocationError(
                f"requested loadBalancer IP(s) {listed(wish.addresses)} "
                f"is not compatible with requested address pool {wish.pool}"
            )
        return self._take(case, (wish.addresses, pool))

    def _take(self, case: Case, found: Found) -> Found:
        self._ledger.claim(_wish(case).use, found[0])
        return found

    def _allowed(self, case: Case, wish: Wish, addresses: tuple[IPAddress, ...]) -> Pool:
        """The pool from which a case may have exactly these addresses."""
        pool = self._pools.common_owner(addresses)
        if pool is None:
            raise AllocationError(f"{listed(addresses)} is not allowed in config")
        self._see_admitted(case, pool)
        self._no_quarrel(wish, addresses)
        return pool

    def _may_keep(self, case: Case, wish: Wish) -> str:
        """Name of the pool from which a case may go on holding what it holds."""
        note = case.service.annotations.get(POOL_NOTE, "")
        if self._pools.holds_over(note, case.held):
            self._no_quarrel(wish, case.held)
            return note
        return self._allowed(case, wish, case.held).name

    def _no_quarrel(self, wish: Wish, addresses: tuple[IPAddress, ...]) -> None:
        """See that others on these addresses have nothing against it."""
        for address in addresses:
            problem = self._ledger.problem(wish.use, address)
            if problem:
                raise AllocationError(problem)

    def _see_admitted(self, case: Case, pool: Pool) -> None:
        """See that a pool's selectors let a case in."""
        why = objection(pool, case.service, self._labels)
        if why:
            case.note(Step(Phase.CHOICE, Outcome.NO, why, pool.name))
            raise AllocationError(f"pool {pool.name} not compatible for ip assignment")

    def _choose(self, case: Case) -> None:
        """Step 3: an address for a case that has none."""
        wish = _wish(case)
        try:
            found = self._from_pool(case, wish) if wish.pool else self._from_any(case, wish)
        except AllocationError as why:
            case.note(Step(Phase.CHOICE, Outcome.NO, str(why)))
            case.refuse(str(why))
            return
        addresses, pool = self._take(case, found)
        case.note(Step(Phase.CHOICE, Outcome.YES, "taken", pool.name, addresses))
        case.grant(addresses, pool.name, new=True)

    def _from_pool(self, case: Case, wish: Wish) -> Found:
        pool = self._pools.by_name.get(wish.pool)
        if pool is None:
            raise AllocationError(f'unknown pool "{wish.pool}"')
        picked = self._pick(case, pool, wish)
        if not picked:
            raise AllocationError(f"{NO_ADDRESS} in pool {pool.name}")
        if wish.dual_required and len(picked) < 2:
            raise AllocationError(f"{NO_ADDRESS} in pool {pool.name} for dual IPFamily")
        self._see_admitted(case, pool)
        return _in_order(picked), pool

    def _from_any(self, case: Case, wish: Wish) -> Found:
        """The first pool that can give all families; else, if that will do, the preferred one."""
        self._note_closed(case)
        for group in self._pools.candidates(case.service, self._labels):
            fallback: dict[Family, Found] = {}
            for pool in group:
                picked = self._pick(case, pool, wish)
                if len(picked) == len(wish.families):
                    return _in_order(picked), pool
                if not wish.dual_required:
                    for family, address in picked.items():
                        fallback.setdefault(family, ((address,), pool))
            for family in wish.families:
                if family in fallback:
                    return fallback[family]
        raise AllocationError(NO_ADDRESS)

    def _pick(self, case: Case, pool: Pool, wish: Wish) -> dict[Family, IPAddress]:
        picked = {}
        for family in wish.families:
            address = self._ledger.pick(pool, family, wish.use)
            if address is not None:
                picked[family] = address
            self._note_pick(case, pool, family, address)
        return picked

    def _note_pick(self, case: Case, pool: Pool, family: Family, address: IPAddress | None) -> None:
        """Write down what a pool has to offer; looking at what it has not takes time."""
        if case.trail is None:
            return
        use = _wish(case).use
        passed, more = passed_over((self._ledger, self._pools), pool, family, use, address)
        if address is not None:
            found = Step(
                Phase.CHOICE, Outcome.LOOKED, "offers", pool.name, (address,), passed, more
            )
        elif passed:
            text = f"has no {family} address left"
            found = Step(Phase.CHOICE, Outcome.NO, text, pool.name, (), passed, more)
        else:
            found = Step(Phase.CHOICE, Outcome.NO, f"has no {family} range", pool.name)
        case.note(found)

    def _note_closed(self, case: Case) -> None:
        """Write down which pools automatic choice does not look at."""
        if case.trail is not None:
            for pool in self._pools.by_name.values():
                why = closed_to(pool, case.service, self._labels)
                if why:
                    case.note(Step(Phase.CHOICE, Outcome.NO, why, pool.name))

    def _lacks_family(self, case: Case) -> bool:
        wish = case.wish
        return (
            wish is not None
            and not wish.dual_required
            and len(wish.families) == 2
            and len(case.addresses) == 1
            and case.addresses == case.held
            and case.pool in self._pools.by_name
        )

    def _add_family(self, case: Case) -> None:
        """PreferDualStack that holds one address: the other family, from the same pool."""
        wish = _wish(case)
        (own,) = case.addresses
        pool = self._pools.by_name[case.pool or ""]
        missing = next(family for family in wish.families if family is not family_of(own))
        added = self._ledger.pick(pool, missing, wish.use)
        if added is not None:
            self._ledger.claim(wish.use, (own, added))
            case.grant((own, added), pool.name, new=False)
            case.tell(NORMAL, "IPAllocated", f'Assigned additional IP "{added}"')
            case.note(Step(Phase.SECOND_FAMILY, Outcome.YES, "added", pool.name, (added,)))
            return
        # Also where the pool is full: to upstream one's own address is a free one.
        why = f"{listed([str(own), '<nil>'])} is not allowed in config"
        text = f"cannot assign additional IP in PreferDualStack: {why}"
        case.tell(NORMAL, "AdditionalAssignFailed", text)
        case.note(Step(Phase.SECOND_FAMILY, Outcome.NO, why, pool.name))
        case.waits = True


def _wish(case: Case) -> Wish:
    if case.wish is None:
        raise AllocationError("the Service can't have an address")
    return case.wish


def _note_again(found: Sequence[tuple[Case, Found]]) -> None:
    for case, _ in found:
        text = "tried anew: another Service keeps its address after all"
        case.note(Step(Phase.REQUEST, Outcome.LOOKED, text))


def _in_order(picked: dict[Family, IPAddress]) -> tuple[IPAddress, ...]:
    """IPv4 first, as upstream writes a pair that it chose itself."""
    return tuple(sorted(picked.values(), key=lambda address: address.version))
