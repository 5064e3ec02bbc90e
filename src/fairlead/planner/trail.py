# SPDX-License-Identifier: Apache-2.0
"""What the allocator looked at on the way to one Service's decision, for `fairlead plan --explain`.

The allocator itself writes here, in the run whose decision is explained; where nobody asks there is
no trail and nothing is written.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from fairlead.model.kube import Service
from fairlead.model.names import Family, IPAddress, ObjectKey
from fairlead.model.pool import Pool
from fairlead.planner.ledger import Ledger, Use
from fairlead.planner.pools import PoolIndex, range_numbers
from fairlead.planner.requests import (
    ADDRESSES,
    POOL,
    PREFIX,
    SHARING,
    Wish,
    annotation,
    listed,
    quoted,
)

SHOWN = 8
"""Addresses of a pool that were passed over, as far as they are listed one by one."""


class Phase(StrEnum):
    """Which question of an allocation run a step belongs to."""

    WISH = "wish"
    HELD = "held"
    REQUEST = "request"
    CHOICE = "choice"
    SECOND_FAMILY = "second-family"


class Outcome(StrEnum):
    """How a step ended: `looked` is neither success nor failure."""

    YES = "yes"
    NO = "no"
    LOOKED = "looked"


class Passed(msgspec.Struct, frozen=True):
    """An address that comes before the one that was found, and why it was not taken."""

    address: IPAddress
    why: str


class Step(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        pool: Name of the pool it is about, None where no pool is.
        passed: First addresses passed over; `more` were, too.
    """

    phase: Phase
    outcome: Outcome
    message: str
    pool: str | None = None
    addresses: tuple[IPAddress, ...] = ()
    passed: tuple[Passed, ...] = ()
    more: int = 0


@dataclass(slots=True)
class Trail:
    """Steps about one Service, in the order in which they were made."""

    key: ObjectKey
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Note a step; requests are tried in rounds, and what a round finds again is known."""
        if step not in self.steps:
            self.steps.append(step)


def passed_over(
    books: tuple[Ledger, PoolIndex],
    pool: Pool,
    family: Family,
    use: Use,
    until: IPAddress | None,
) -> tuple[tuple[Passed, ...], int]:
    """Addresses of a pool that a Service can't have or that others come first for.

    `until` is the address that was picked, None where none was: the whole pool was passed over.
    Returns the first of them with the reason of each, and how many more there are.
    """
    ledger, pools = books
    shown: list[Passed] = []
    more = 0
    for index, first, last in range_numbers(pool, family):
        inside = until is not None and until in pool.ranges[index]
        end = int(until) - 1 if inside and until is not None else last
        make = type(pool.ranges[index].first)
        stop = min(end, first + SHOWN - len(shown) - 1)
        for number in range(first, stop + 1):
            address = make(number)
            shown.append(Passed(address, why_not(ledger, pools, pool, address, use)))
        more += max(0, end - max(stop, first - 1))
        if inside:
            break
    return tuple(shown), more


def why_not(ledger: Ledger, pools: PoolIndex, pool: Pool, address: IPAddress, use: Use) -> str:
    """Why automatic choice passes over an address; "" where nothing speaks against it."""
    forbidden = pools.why_forbidden(pool, address)
    if forbidden:
        return forbidden
    users = sorted(str(key) for key in ledger.users(address) if key != use.key)
    if users:
        problem = ledger.problem(use, address)
        return f"in use by {', '.join(users)}" + (f": {problem}" if use.sharing and problem else "")
    if ledger.is_named(address):
        return "a Service asks for it by name"
    return ""


def wish_texts(wish: Wish, service: Service) -> tuple[str, ...]:
    """A request in sentences: families, addresses and pool, sharing."""
    source = "no ClusterIPs yet: by ipFamilies, request and pools"
    if service.cluster_ips:
        source = f"ClusterIPs {listed(service.cluster_ips)}"
    families = " and ".join(wish.families)
    sharing = f"shares its address with nobody (no {PREFIX}{SHARING})"
    if wish.use.sharing:
        pods = " and the same selector (policy Local)" if wish.use.backend else ""
        sharing = f"may share with Services of the key {quoted(wish.use.sharing)}{pods}"
    return (
        f"wants {families} ({service.ip_family_policy}; {source})",
        _asked(wish, service),
        sharing,
    )


def _asked(wish: Wish, service: Service) -> str:
    if wish.address_error:
        return f"asks for addresses that can't be read: {wish.address_error}"
    asked = []
    if wish.addresses:
        by_annotation = annotation(service, ADDRESSES)
        where = f"annotation {ADDRESSES}" if by_annotation else "spec.loadBalancerIP"
        asked.append(f"{listed(wish.addresses)} by {where}")
    if wish.pool:
        asked.append(f"pool {quoted(wish.pool)} by annotation {POOL}")
    return f"asks for {' and '.join(asked)}" if asked else "asks for no address and no pool by name"
