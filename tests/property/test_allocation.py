# SPDX-License-Identifier: Apache-2.0
"""What must hold for allocation, on clusters so crowded that every rule is met all the time.

Few addresses, many Services, all of them ours: `test_planner` draws whole clusters, where two that
collide are rare.
"""

from ipaddress import ip_address
from itertools import combinations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.model.kube import Service
from fairlead.model.names import ObjectKey, TrafficPolicy
from fairlead.planner.allocate import allocate
from fairlead.planner.incremental import PlannerState
from fairlead.planner.requests import POOL_NOTE
from property.strategies_cluster import applied
from support.build import INVENTORY, pool, port, svc

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
POOLS = [
    (pool("p", "10.0.0.1-10.0.0.3"),),
    (pool("p", "10.0.0.1-10.0.0.2"), pool("q", "10.0.0.3/32", auto_assign=False)),
    (pool("p", "10.0.0.1/32", "10.0.0.2-10.0.0.3", avoid_buggy_ips=True),),
    (pool("q", "10.0.0.2-10.0.0.3"),),
]
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@st.composite
def crowded(draw, name: str) -> Service:
    return svc(
        name,
        ports=draw(st.sampled_from(["80", "81", "80 81"])),
        share=draw(st.sampled_from(["", "k", "k", "l"])),
        local=draw(st.booleans()),
        selector=draw(st.sampled_from([{"app": "a"}, {"app": "b"}])),
        want=draw(st.sampled_from(["", "", "", *ADDRESSES])),
        want_pool=draw(st.sampled_from(["", "", "", "p", "q"])),
        holds=draw(st.sampled_from(["", *ADDRESSES, "10.0.0.9"])),
        note=draw(st.sampled_from(["", "p", "u"])),
        age=draw(st.integers(0, 2)),
    )


@st.composite
def clusters(draw):
    services = [draw(crowded(name)) for name in "abcdef"[: draw(st.integers(2, 6))]]
    return services, draw(st.sampled_from(POOLS))


def decide(services, pools):
    return {plan.key: plan for plan in allocate(services, pools, (), INVENTORY, unusable=["u"])}


def rest(services, pools):
    """Services after all decisions were written."""
    for _ in range(12):
        plans = decide(services, pools)
        after = [applied(service, plans.get(service.key)) for service in services]
        if after == services:
            return services
        services = after
    raise AssertionError("allocation does not come to rest")


def independent_may_share(one: Service, other: Service) -> bool:
    """The rule of section 2.4, said once more without the planner's code."""
    keys = [s.annotations.get("metallb.io/allow-shared-ip", "") for s in (one, other)]
    pods = [s.selector if s.policy is TrafficPolicy.LOCAL else {} for s in (one, other)]
    ports = [{(p.protocol, p.port) for p in s.ports} for s in (one, other)]
    return bool(keys[0]) and keys[0] == keys[1] and pods[0] == pods[1] and not ports[0] & ports[1]


@UNHURRIED
@given(clusters())
def test_never_one_address_to_two_that_may_not_share_it(cluster) -> None:
    services, pools = cluster
    plans = decide(services, pools)
    for one, other in combinations(services, 2):
        if set(plans[one.key].addresses) & set(plans[other.key].addresses):
            assert independent_may_share(one, other)


@UNHURRIED
@given(clusters(), st.randoms())
def test_shuffled_input_gives_the_same(cluster, random) -> None:
    services, pools = cluster
    plans = decide(services, pools)
    shuffled = list(services)
    random.shuffle(shuffled)
    again = decide(shuffled, pools[::-1])
    assert {key: msgspec.json.encode(str(plan)) for key, plan in plans.items()} == {
        key: msgspec.json.encode(str(plan)) for key, plan in again.items()
    }


@UNHURRIED
@given(clusters())
def test_what_was_decided_is_final(cluster) -> None:
    services, pools = cluster
    plans = decide(services, pools)
    after = [applied(service, plans[service.key]) for service in services]
    for key, plan in decide(after, pools).items():
        assert (plan.addresses, plan.changed) == (plans[key].addresses, False)


@UNHURRIED
@given(clusters(), crowded("z"), st.booleans())
def test_who_comes_or_goes_moves_nobody_that_asks_for_nothing(cluster, newcomer, go) -> None:
    services, pools = cluster
    services = rest(services, pools)
    changed = services[1:] if go else [*services, msgspec.structs.replace(newcomer, ingress=())]
    plans = decide(changed, pools)
    for service in services:
        asks = any(name.rpartition("/")[2] in ("loadBalancerIPs", "address-pool")
                   for name in service.annotations)  # fmt: skip
        held = tuple(address for address, _ in service.ingress)
        if service in changed and held and not asks:
            assert plans[service.key].addresses == held


@UNHURRIED
@given(clusters())
def test_what_is_free_is_with_nobody_who_waits_for_any(cluster) -> None:
    """At rest nobody is left without while an address that he could have is free."""
    services, pools = cluster
    services = rest(services, pools)
    used = {address for service in services for address, _ in service.ingress}
    free = [
        address
        for one in pools
        if one.auto_assign
        for address in map(ip_address, ADDRESSES)
        if address in one and address not in used
    ]
    for service in services:
        asks = {"metallb.io/loadBalancerIPs", "metallb.io/address-pool"} & set(service.annotations)
        assert service.ingress or asks or not free


@UNHURRIED
@given(clusters())
def test_held_over_is_only_what_was_held(cluster) -> None:
    services, pools = cluster
    for key, plan in decide(services, pools).items():
        if plan.pool == "u":
            (service,) = [one for one in services if one.key == key]
            assert service.annotations[POOL_NOTE] == "u"
            assert plan.addresses == tuple(address for address, _ in service.ingress)
            assert not any(address in one for one in pools for address in plan.addresses)


events = st.one_of(
    st.sampled_from("abcdef").flatmap(crowded),
    st.sampled_from([*"abcdef", *POOLS, "unusable", "usable"]),
)


def essence(plans):
    """Decisions without sentences: a refusal names who held the address when it was asked."""
    return [
        (p.key, p.addresses, p.pool, p.changed, p.refusal is None, [e.reason for e in p.events])
        for p in plans
    ]


def written(state: PlannerState, services: dict[ObjectKey, Service]) -> None:
    """Play the leader until it has nothing to write."""
    for _ in range(12):
        plans = [plan for plan in state.take_decisions() if plan.changed]
        for plan in plans:
            services[plan.key] = applied(services[plan.key], plan)
            state.put(services[plan.key])
        if not plans:
            return
    raise AssertionError("allocation does not come to rest")


@UNHURRIED
@given(clusters(), st.lists(events, min_size=1, max_size=8))
def test_who_follows_changes_decides_as_who_starts_anew(cluster, changes) -> None:
    """Freed addresses reach who waits, whatever freed them; so do pools that come and go."""
    listed, pools = cluster
    services: dict[ObjectKey, Service] = {}
    bad: list[str] = []
    state = PlannerState(INVENTORY)
    for change in [pools, *listed, *changes]:
        if isinstance(change, Service):
            services[change.key] = change
            state.put(change)
        elif isinstance(change, tuple) or change in ("unusable", "usable"):
            if isinstance(change, tuple):
                pools = change
            else:
                bad = ["u"] if change == "unusable" else []
            state.replace("IPAddressPool", pools, [ObjectKey("metallb-system", n) for n in bad])
        else:
            services.pop(ObjectKey("default", change), None)
            state.remove("Service", ObjectKey("default", change))
        written(state, services)
        anew = allocate(services.values(), pools, (), INVENTORY, unusable=bad)
        assert essence(state.decisions()) == essence(anew)


def test_the_rule_said_twice_is_about_ports_at_all() -> None:
    one, other = svc("x", share="k"), svc("y", share="k", ports="81")
    assert independent_may_share(one, other)
    assert not independent_may_share(one, msgspec.structs.replace(other, ports=(port("80"),)))
