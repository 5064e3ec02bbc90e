# SPDX-License-Identifier: Apache-2.0
"""What must hold for every cluster, whatever is in it."""

from dataclasses import dataclass
from itertools import combinations

import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.snapshot import Snapshot
from fairlead.planner.allocate import allocate
from fairlead.planner.encode import plan_from_json, plan_to_json
from fairlead.planner.incremental import KIND_OF, PlannerState, object_key
from fairlead.planner.plan import make_plan
from fairlead.planner.pools import PoolIndex, is_avoided, namespace_labels, objection
from fairlead.planner.requests import is_ours, use_of
from property.strategies_adverts import bgp_advertisements, l2_advertisements, peers
from property.strategies_cluster import (
    NAMES,
    NODES,
    UNUSABLE,
    applied,
    inventory,
    nodes,
    services,
    snapshots,
)
from property.strategies_cluster import slices as slice_values

INVENTORY = inventory()
# Whole clusters take long to draw where several test runs share two cores.
UNHURRIED = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def decide(snapshot: Snapshot):
    unusable = [error.name for error in snapshot.errors]
    return allocate(
        snapshot.services, snapshot.pools, snapshot.namespaces, INVENTORY, unusable=unusable
    )


def settle(snapshot: Snapshot) -> Snapshot:
    """The cluster after its decisions were written, as often as anything changes."""
    for _ in range(12):
        decided = {plan.key: plan for plan in decide(snapshot)}
        after = tuple(applied(service, decided.get(service.key)) for service in snapshot.services)
        if after == snapshot.services:
            return snapshot
        snapshot = msgspec.structs.replace(snapshot, services=after)
    raise AssertionError("allocation does not come to rest")


@UNHURRIED
@given(snapshots())
def test_no_two_services_on_one_address_unless_they_may_share_it(snapshot: Snapshot) -> None:
    by_key = {service.key: service for service in snapshot.services}
    pools, labels = PoolIndex(snapshot.pools), namespace_labels(snapshot.namespaces)
    decisions = decide(snapshot)
    for one, other in combinations(decisions, 2):
        if set(one.addresses) & set(other.addresses):
            first, second = use_of(by_key[one.key]), use_of(by_key[other.key])
            assert first.may_share(second)
            assert not first.ports & second.ports
    for plan in decisions:
        for address in plan.addresses:
            pool = pools.owner(address)
            if pool is None:  # held over: nobody is given an address that no pool has
                assert snapshot.errors
                assert plan.pool == UNUSABLE.name
                assert address in [held for held, _ in by_key[plan.key].ingress]
                continue
            assert pool.name == plan.pool
            assert not is_avoided(pool, address)
            assert not objection(pool, by_key[plan.key], labels)
        assert bool(plan.addresses) == (plan.refusal is None) or not is_ours(
            by_key[plan.key], INVENTORY
        )


@UNHURRIED
@given(snapshots(), st.randoms())
def test_order_of_the_input_does_not_matter(snapshot: Snapshot, random) -> None:
    def shuffled(values):
        values = list(values)
        random.shuffle(values)
        return tuple(values)

    other = Snapshot(
        services=shuffled(snapshot.services),
        slices=shuffled(snapshot.slices),
        nodes=shuffled(snapshot.nodes),
        namespaces=shuffled(snapshot.namespaces),
        pools=shuffled(snapshot.pools),
        l2_advertisements=shuffled(snapshot.l2_advertisements),
        bgp_advertisements=shuffled(snapshot.bgp_advertisements),
        bgp_peers=shuffled(snapshot.bgp_peers),
        errors=snapshot.errors,
    )
    assert plan_to_json(make_plan(snapshot, INVENTORY)) == plan_to_json(make_plan(other, INVENTORY))


@UNHURRIED
@given(snapshots())
def test_a_written_decision_changes_nothing_more(snapshot: Snapshot) -> None:
    decided = {plan.key: plan for plan in decide(snapshot)}
    after = msgspec.structs.replace(
        snapshot,
        services=tuple(applied(s, decided.get(s.key)) for s in snapshot.services),
    )
    # A dual stack is completed in a second step, as upstream does it.
    if any("Assigned additional" in e.message for p in decide(after) for e in p.events):
        event("second address came in the second run")
        after = settle(after)
    for plan in decide(after):
        before = decided.get(plan.key)
        assert not plan.changed, (plan, before)


@UNHURRIED
@given(snapshots(), st.data())
def test_a_service_that_comes_or_goes_moves_nobody(snapshot: Snapshot, data) -> None:
    snapshot = settle(snapshot)
    before = {plan.key: plan.addresses for plan in decide(snapshot)}
    key = data.draw(st.sampled_from(NAMES))
    rest = tuple(service for service in snapshot.services if service.key != key)
    newcomer = data.draw(st.none() | services(key))
    if newcomer is not None:
        newcomer = msgspec.structs.replace(newcomer, ingress=(), ingress_errors=())
        rest = (*rest, newcomer)
    after = {
        plan.key: plan.addresses
        for plan in decide(msgspec.structs.replace(snapshot, services=rest))
    }
    requests = {
        service.key
        for service in rest
        if any("loadBalancerIPs" in name or "address-pool" in name for name in service.annotations)
        or service.load_balancer_ip
    }
    for other, addresses in before.items():
        # Who asks for an address that just came free may move to it, and only they may.
        if other != key and addresses and other not in requests:
            assert after[other][: len(addresses)] == addresses


@UNHURRIED
@given(snapshots())
def test_json_round_trip(snapshot: Snapshot) -> None:
    plan = make_plan(snapshot, INVENTORY)
    data = plan_to_json(plan)
    again = plan_from_json(data)
    assert plan_to_json(again) == data
    assert again.edges == plan.edges


@dataclass(frozen=True)
class PoolEdit:
    """What somebody does to a pool, if it is there; the unusable one comes or goes."""

    name: str
    how: str

    def of(self, pool):
        if self.how == "shrink":
            return msgspec.structs.replace(pool, ranges=pool.ranges[:-1])
        if self.how == "flip":
            return msgspec.structs.replace(pool, auto_assign=not pool.auto_assign)
        return msgspec.structs.replace(pool, avoid_buggy_ips=not pool.avoid_buggy_ips)


@st.composite
def changes(draw):
    """One watch event: an object that came, changed or went."""
    kind = draw(
        st.sampled_from(["Service", "EndpointSlice", "EndpointSlice", "Node", "Advert", "Pool"])
    )
    if kind == "Pool":
        name = draw(st.sampled_from(["p", "q", "r", UNUSABLE.name]))
        value = PoolEdit(name, draw(st.sampled_from(["shrink", "flip", "avoid"])))
    elif kind == "Service":
        value = draw(services(draw(st.sampled_from(NAMES))))
    elif kind == "EndpointSlice":
        value = draw(slice_values(draw(st.integers(0, 5))))
    elif kind == "Advert":
        value = draw(l2_advertisements() | bgp_advertisements() | peers())
    else:
        value = draw(nodes(draw(st.sampled_from(NODES))))
    return value, draw(st.sampled_from([False, False, True]))


WHOLE = ("addresses", "vrrp", "bgp", "bgp_policies", "bgp_peers", "failed")
SNAPSHOT_FIELDS = {
    "Service": "services",
    "EndpointSlice": "slices",
    "Node": "nodes",
    "Namespace": "namespaces",
    "IPAddressPool": "pools",
    "L2Advertisement": "l2_advertisements",
    "BGPAdvertisement": "bgp_advertisements",
    "BGPPeer": "bgp_peers",
    "BFDProfile": "bfd_profiles",
    "Community": "communities",
}


class Follower:
    """What an edge knows that only ever saw deltas."""

    def __init__(self) -> None:
        self.servers = {}
        self.told = {}

    def take(self, delta) -> None:
        self.servers.update({key: one.servers for key, one in delta.virtual_servers.items()})
        for part in WHOLE:
            value = getattr(delta, part)
            if value is not None:
                self.told[part] = value


def edit_pool(edit: PoolEdit, gone: bool, state: PlannerState, objects: dict) -> None:
    key = ObjectKey("metallb-system", edit.name)
    if gone:
        objects.pop(("IPAddressPool", key), None)
        state.remove("IPAddressPool", key)
    elif edit.name == UNUSABLE.name:
        objects["IPAddressPool", key] = UNUSABLE
        state.put_unreadable("IPAddressPool", key)
    elif ("IPAddressPool", key) in objects:
        objects["IPAddressPool", key] = edit.of(objects["IPAddressPool", key])
        state.put(objects["IPAddressPool", key])


def listed(state: PlannerState, kind: str, values) -> None:
    """A complete list of a kind; unreadable ones are kept."""
    bad = [ObjectKey(v.namespace, v.name) for v in values if isinstance(v, ObjectError)]
    state.replace(kind, [v for v in values if not isinstance(v, ObjectError)], bad)


def snapshot_of(objects: dict) -> Snapshot:
    def of(kind):
        return tuple(value for (k, _), value in sorted(objects.items()) if k == kind)

    found = {field: of(kind) for kind, field in SNAPSHOT_FIELDS.items()}
    errors = tuple(value for value in found["pools"] if value is UNUSABLE)
    usable = tuple(value for value in found["pools"] if value is not UNUSABLE)
    return Snapshot(**{**found, "pools": usable, "errors": errors})


@UNHURRIED
@given(snapshots(), st.lists(changes(), max_size=8), st.booleans())
def test_incremental_is_full(snapshot: Snapshot, events, hold: bool) -> None:
    """After every event: deltas add up to what a fresh state says, and decisions to `allocate`."""
    config = inventory(hold_unready=hold)
    state, follower = PlannerState(config), Follower()
    objects: dict[tuple[str, ObjectKey], object] = {}
    for kind in KIND_OF.values():
        values = getattr(snapshot, SNAPSHOT_FIELDS[kind])
        if kind == "IPAddressPool":
            values = (*values, *snapshot.errors)
        listed(state, kind, values)
        objects.update({(kind, key_of(value)): value for value in values})
    for value, gone in [(None, False), *events]:
        if isinstance(value, PoolEdit):
            edit_pool(value, gone, state, objects)
        elif value is not None:
            kind, key = KIND_OF[type(value)], object_key(value)
            if gone:
                objects.pop((kind, key), None)
                state.remove(kind, key)
            else:
                objects[kind, key] = value
                state.put(value)
        for decision in write_decisions(state, objects):
            state.put(decision)
        follower.take(state.take_edge_delta("edge2"))
        now = snapshot_of(objects)
        fresh = PlannerState(config)
        for kind in KIND_OF.values():
            listed(fresh, kind, [v for (k, _), v in objects.items() if k == kind])
        full = fresh.edge_plan("edge2")
        assert state.edge_plan("edge2") == full
        assert full == make_plan(now, config).edges["edge2"]
        assert essence(state.decisions()) == essence(make_plan(now, config).services)
        assert {s for many in follower.servers.values() for s in many} == set(full.virtual_servers)
        assert follower.told == {part: getattr(full, part) for part in WHOLE}


def key_of(value) -> ObjectKey:
    if isinstance(value, ObjectError):
        return ObjectKey(value.namespace, value.name)
    return object_key(value)


def essence(plans):
    """Decisions without their sentences: a refusal names who held the address when it was asked."""
    return [
        (p.key, p.addresses, p.pool, p.changed, p.refusal is None, [e.reason for e in p.events])
        for p in plans
    ]


def write_decisions(state: PlannerState, objects: dict):
    """Play the Lease holder until it has nothing to write."""
    for _ in range(12):
        wrote = []
        for plan in state.take_decisions():
            if plan.changed:
                after = applied(objects["Service", plan.key], plan)
                objects["Service", plan.key] = after
                wrote.append(after)
        if not wrote:
            return
        yield from wrote
    raise AssertionError("allocation does not come to rest")
