# SPDX-License-Identifier: Apache-2.0
"""Stories of Services and pools: steps, and after each what status, note and Events say.

A story is data, so that one table serves two runners: `play` on the planner alone, and the one in
`support.live_story` on a real API server with a real agent.

    "held-is-kept": (
        Step([P, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x", ports="81")]),
    )

What a step does not name must stay as it is and say nothing.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import msgspec

from fairlead.model.kube import Namespace, Service
from fairlead.model.names import ObjectKey
from fairlead.model.pool import Pool
from fairlead.planner.allocate import allocate
from fairlead.planner.incremental import PlannerState
from fairlead.planner.requests import POOL_NOTE
from property.strategies_cluster import applied
from support.build import INVENTORY, texts

NORMAL = {"IPAllocated", "ClearAssignment", "AdditionalAssignFailed", "nodeAssigned"}


@dataclass(frozen=True)
class Gone:
    """A Service, or with `pool/NAME` a pool, is deleted."""

    name: str


@dataclass(frozen=True)
class Status:
    """Somebody writes a Service's status by hand: addresses `a b`, "" wipes it; ipMode of all."""

    name: str
    holds: str
    mode: str = "VIP"


@dataclass(frozen=True)
class Step:
    """Changes that come together, and what they lead to.

    Attributes:
        expect: By Service: "addresses pool" (or "" for neither), then the Events' texts.
    """

    changes: list[Any]
    expect: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __init__(self, changes: list[Any], /, **expect: str | tuple[str, ...]) -> None:
        rows = {k: (v,) if isinstance(v, str) else v for k, v in expect.items()}
        object.__setattr__(self, "changes", changes)
        object.__setattr__(self, "expect", rows)


Story = tuple[Step, ...]


def got(*addresses: str) -> str:
    """The Event of an allocation."""
    return f"IPAllocated: Assigned IP {_listed(addresses)}"


def more(address: str) -> str:
    """The Event of a second family."""
    return f'IPAllocated: Assigned additional IP "{address}"'


def failed(name: str, why: str) -> str:
    """The Event of a refusal."""
    return f'AllocationFailed: Failed to allocate IP for "{_full(name)}": {why}'


def cleared(name: str, why: str) -> str:
    """The Event of an address that had to be given up."""
    return (
        f'ClearAssignment: current IP for "{_full(name)}" not allowed by config, '
        f"will attempt for new IP assignment: {why}"
    )


def old_key(key: str) -> str:
    """The Event about an annotation under the old prefix."""
    return f"deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/{key}"


def not_in_config(*addresses: str) -> str:
    """Why an address that no pool gives is refused."""
    return f"{_listed(addresses)} is not allowed in config"


def in_use(name: str, *others: str) -> str:
    """Why an address can't be shared."""
    holders = ",".join(_full(other) for other in others)
    return f'can\'t change sharing key for "{_full(name)}", address also in use by {holders}'


def one(service: Service, pools: list[Any], status: str, *said: str) -> Story:
    """A story of one step: pools and one Service called x."""
    return (Step([*pools, service], x=(status, *said)),)


def _listed(addresses: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{address}"' for address in addresses) + "]"


def _full(name: str) -> str:
    return name if "/" in name else f"default/{name}"


class Player:
    """Plays stories on the planner as the agent uses it: deltas in, decisions out, written back."""

    def __init__(self, inventory=INVENTORY) -> None:
        self.inventory = inventory
        self.state = PlannerState(inventory)
        self.objects: dict[tuple[str, ObjectKey], Any] = {}

    def step(self, step: Step) -> dict[str, tuple[str, ...]]:
        """Apply changes; what became of the Services that changed or said something."""
        for change in step.changes:
            self._apply(change)
        before = self.shown()  # a Service may come with a status
        said = self._settle()
        self._restart_agrees()
        after = self.shown()
        names = sorted({n for n in after if before[n] != after[n]} | said.keys())
        return {name: (after.get(name, ""), *said.get(name, ())) for name in names}

    def shown(self) -> dict[str, str]:
        """`addresses pool` of each Service."""
        return {_name(s.key): _shown(s) for s in self._services().values()}

    def _services(self) -> dict[ObjectKey, Service]:
        return {key: value for (kind, key), value in self.objects.items() if kind == "Service"}

    def _apply(self, change: Any) -> None:
        if isinstance(change, Gone):
            kind, _, name = change.name.rpartition("/")
            pool = kind == "pool"
            key = ObjectKey("metallb-system", name) if pool else _key(change.name)
            kind = "IPAddressPool" if pool else "Service"
            del self.objects[kind, key]
            self.state.remove(kind, key)
        elif isinstance(change, Status):
            service = self.objects["Service", _key(change.name)]
            ingress = tuple((ip_address(text), change.mode) for text in change.holds.split())
            self._put(msgspec.structs.replace(service, ingress=ingress))
        elif isinstance(change, Service):
            self._put(self._as_applied(change))
        else:
            self._put(change)

    def _as_applied(self, service: Service) -> Service:
        """What `kubectl apply` leaves alone: status, and the note that is not in the manifest."""
        before = self.objects.get(("Service", service.key))
        if before is None:
            return service
        note = before.annotations.get(POOL_NOTE)
        kept = {POOL_NOTE: note} if note else {}
        ingress = before.ingress if service.type == "LoadBalancer" else ()
        return msgspec.structs.replace(
            service,
            created=before.created,
            ingress=ingress,
            annotations={**service.annotations, **kept},
        )

    def _put(self, value: Any) -> None:
        kind = "IPAddressPool" if isinstance(value, Pool) else type(value).__name__
        key = ObjectKey("", value.name) if isinstance(value, Namespace) else value.key
        self.objects[kind, key] = value
        self.state.put(value)

    def _settle(self) -> dict[str, list[str]]:
        said: dict[str, list[str]] = {}
        for _ in range(12):
            wrote = False
            for plan in self.state.take_decisions():
                rows = said.setdefault(_name(plan.key), [])
                rows += [text for text in texts(plan) if text not in rows]
                for event in plan.events:
                    assert event.type == ("Normal" if event.reason in NORMAL else "Warning")
                if plan.changed:
                    self._put(applied(self.objects["Service", plan.key], plan))
                    wrote = True
            if not wrote:
                return {name: rows for name, rows in said.items() if rows}
        raise AssertionError("allocation does not come to rest")

    def _restart_agrees(self) -> None:
        """A new process that knows nothing but the cluster has nothing to write."""
        pools = self.state.pool_index.by_name.values()
        spaces = [v for (kind, _), v in self.objects.items() if kind == "Namespace"]
        services = list(self._services().values())
        for plan in allocate(services, pools, spaces, self.inventory):
            assert not plan.changed, plan


def play(story: Story, inventory=INVENTORY) -> None:
    """Play a story on the planner and compare after each step."""
    player = Player(inventory)
    for number, step in enumerate(story, start=1):
        assert player.step(step) == step.expect, f"step {number}"


def _shown(service: Service) -> str:
    note = service.annotations.get(POOL_NOTE, "")
    return " ".join([*(str(address) for address, _ in service.ingress), *note.split()])


def _key(name: str) -> ObjectKey:
    namespace, _, short = name.rpartition("/")
    return ObjectKey(namespace or "default", short)


def _name(key: ObjectKey) -> str:
    return str(key).removeprefix("default/")
