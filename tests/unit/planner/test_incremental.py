# SPDX-License-Identifier: Apache-2.0
"""What an edge is told, and when: nothing twice, nothing that did not change."""

from ipaddress import ip_address

import msgspec

from fairlead.model.kube import Namespace, Taint
from fairlead.model.names import ObjectKey
from fairlead.model.pool import PoolSelection
from fairlead.model.selector import LabelSelector
from fairlead.planner.incremental import PlannerState
from support.build import INVENTORY, endpoint, eps, node, pool, svc

KEY = ObjectKey("default", "x")
P = pool("p", "10.0.0.1-10.0.0.3")
N1, N2 = node("n1", "192.0.2.101"), node("n2", "192.0.2.102")


def state(*objects) -> PlannerState:
    made = PlannerState(INVENTORY)
    for value in (P, N1, N2, *objects):
        made.put(value)
    made.take_decisions()
    return made


def weights(servers) -> dict[str, int]:
    return {str(r.address): r.weight for server in servers for r in server.real_servers}


def test_the_first_delta_is_everything_and_the_second_is_nothing() -> None:
    made = state(svc("x", holds="10.0.0.1"), eps("x", "10.244.0.1@n1"))
    first = made.take_edge_delta("edge1")
    assert list(first.virtual_servers) == [KEY]
    assert [str(vip.address) for vip in first.addresses] == ["10.0.0.1"]
    assert [str(address) for address in first.vrrp[0].addresses] == ["10.0.0.1"]
    assert not made.take_edge_delta("edge1")
    assert made.take_edge_delta("edge2").virtual_servers == first.virtual_servers


def test_a_readiness_flip_tells_one_service_and_no_announcement() -> None:
    made = state(
        svc("x", holds="10.0.0.1", local=True),
        svc("y", holds="10.0.0.2", local=True),
        eps("x", "10.244.0.1@n1", "10.244.0.2@n1"),
        eps("y", "10.244.0.3@n2"),
    )
    made.take_edge_delta("edge1")
    made.put(eps("x", "10.244.0.1@n1", "10.244.0.2@n1 unready"))
    delta = made.take_edge_delta("edge1")
    assert {k: weights(v.servers) for k, v in delta.virtual_servers.items()} == {
        KEY: {"192.0.2.101": 1}
    }
    assert (delta.addresses, delta.vrrp, delta.bgp) == (None, None, None)


def test_the_last_endpoint_withdraws_the_announcement() -> None:
    made = state(svc("x", holds="10.0.0.1"), eps("x", "10.244.0.1@n1"))
    made.take_edge_delta("edge1")
    made.put(eps("x", "10.244.0.1@n1 unready"))
    delta = made.take_edge_delta("edge1")
    assert [vip.ready for vip in delta.addresses] == [False]
    assert delta.vrrp[0].addresses == ()
    assert weights(delta.virtual_servers[KEY].servers) == {}


def test_a_service_that_goes_is_told_as_nothing_left() -> None:
    made = state(svc("x", holds="10.0.0.1"), eps("x", "10.244.0.1@n1"))
    made.take_edge_delta("edge1")
    made.remove("Service", KEY)
    delta = made.take_edge_delta("edge1")
    assert delta.virtual_servers[KEY].servers == ()
    assert delta.addresses == ()
    made.remove("Service", KEY)
    assert not made.take_edge_delta("edge1")


def test_a_decision_is_carried_only_once_status_says_so() -> None:
    made = PlannerState(INVENTORY)
    for value in (P, N1, svc("x"), eps("x", "10.244.0.1@n1")):
        made.put(value)
    (decision,) = made.take_decisions()
    assert (str(decision.addresses[0]), decision.changed) == ("10.0.0.1", True)
    assert made.take_decisions() == ()
    assert not made.take_edge_delta("edge1").virtual_servers
    made.put(svc("x", holds="10.0.0.1"))
    assert made.take_decisions() == ()
    assert list(made.take_edge_delta("edge1").virtual_servers) == [KEY]


def test_a_decision_that_is_not_written_yet_does_not_wander() -> None:
    made = state(svc("old", holds="10.0.0.1"), svc("x"))
    assert str(made.decision(KEY).addresses[0]) == "10.0.0.2"
    made.remove("Service", ObjectKey("default", "old"))
    made.put(svc("x", ports="81"))
    assert str(made.decision(KEY).addresses[0]) == "10.0.0.2"


def test_a_request_that_goes_lets_those_through_that_it_stood_before() -> None:
    # x asks for what y has and can share it; c asks for the same and can't be met. Nothing is set
    # free when c goes.
    made = PlannerState(INVENTORY)
    for value in (
        pool("p", "10.0.0.1-10.0.0.3"),
        svc("a", holds="10.0.0.1"),
        svc("y", share="l", ports="81", want="10.0.0.1", holds="10.0.0.3"),
        svc("c", want="10.0.0.3"),
        svc("x", share="l", want="10.0.0.3", holds="10.0.0.2"),
    ):
        made.put(value)
    assert [str(one) for one in made.decision(KEY).addresses] == ["10.0.0.2"]
    made.remove("Service", ObjectKey("default", "c"))
    assert [str(one) for one in made.decision(KEY).addresses] == ["10.0.0.3"]


def test_an_address_set_free_is_offered_to_who_waits_oldest_first() -> None:
    one = pool("p", "10.0.0.1/32")
    made = PlannerState(INVENTORY)
    for value in (one, svc("x", holds="10.0.0.1", age=9), svc("a"), svc("b", age=5)):
        made.put(value)
    made.take_decisions()
    made.remove("Service", KEY)
    told = {plan.key.name: plan for plan in made.take_decisions()}
    assert [str(address) for address in told["b"].addresses] == ["10.0.0.1"]
    assert "a" not in told


def test_slices_and_nodes_never_touch_allocation() -> None:
    made = state(svc("x"))
    made.put(eps("x", "10.244.0.1@n1"))
    made.put(msgspec.structs.replace(N1, ready=False))
    assert made.take_decisions() == ()


def test_a_node_that_goes_touches_those_that_send_to_it() -> None:
    made = state(
        svc("x", holds="10.0.0.1", local=True),
        svc("y", holds="10.0.0.2", local=True),
        svc("z", holds="10.0.0.3"),
        eps("x", "10.244.0.1@n1"),
        eps("y", "10.244.0.3@n2"),
        eps("z", "10.244.0.4@n2"),
    )
    made.take_edge_delta("edge1")
    made.put(node("n2", "192.0.2.102", labels={"other": "label"}))
    assert not made.take_edge_delta("edge1")
    made.put(node("n2", "192.0.2.102", taints=(Taint("karpenter.sh/disrupted", ""),)))
    delta = made.take_edge_delta("edge1")
    assert {key.name for key in delta.virtual_servers} == {"y", "z"}
    made.put(N2)
    assert {key.name for key in made.take_edge_delta("edge1").virtual_servers} == {"y", "z"}


def test_of_two_services_on_one_port_the_older_has_it() -> None:
    """Status is what anybody wrote; the allocator will move one, until then the older serves."""
    made = state(
        svc("x", holds="10.0.0.1", age=1),
        svc("old", holds="10.0.0.1", age=2, ports="80 81"),
        eps("x", "10.244.0.1@n1"),
    )
    servers = made.edge_plan("edge1").virtual_servers
    assert [(str(s.service), s.port) for s in servers] == [("default/old", 80), ("default/old", 81)]
    made.remove("Service", ObjectKey("default", "old"))
    assert [str(s.service) for s in made.edge_plan("edge1").virtual_servers] == ["default/x"]


def test_a_list_removes_what_is_not_in_it_but_keeps_what_could_not_be_parsed() -> None:
    made = state(svc("x", holds="10.0.0.1"), svc("y", holds="10.0.0.2"), svc("z", holds="10.0.0.3"))
    made.replace("Service", [svc("x", holds="10.0.0.1")], [ObjectKey("default", "y")])
    services = [str(server.service) for server in made.edge_plan("edge1").virtual_servers]
    assert services == ["default/x", "default/y"]


def test_pools_of_another_namespace_are_not_read() -> None:
    made = PlannerState(INVENTORY)
    made.put(msgspec.structs.replace(P, namespace="default"))
    assert not made.pool_index.by_name


def test_a_pool_that_comes_and_overlaps_is_named_whatever_its_age() -> None:
    made = state()
    made.put(pool("q", "10.0.0.0/24", created="2026-01-01T00:00:00Z"))
    made.take_edge_delta("edge1")
    assert [error.name for error in made.pool_errors] == ["q"]
    made.remove("IPAddressPool", P.key)
    made.take_edge_delta("edge1")
    assert made.pool_errors == ()
    assert list(made.pool_index.by_name) == ["q"]


def test_a_pool_edited_into_an_overlap_stays_as_it_was() -> None:
    made = state(pool("q", "10.0.1.0/24"), svc("x", holds="10.0.1.9", note="q"))
    made.put(pool("q", "10.0.0.0/16"))
    assert made.take_decisions() == ()
    (error,) = made.pool_errors
    assert (error.name, error.field) == ("q", "spec.addresses[0]")
    assert "the version before stays in force" in error.message
    assert [part.text for found in made.pool_index.by_name.values() for part in found.ranges] == [
        "10.0.0.1-10.0.0.3",
        "10.0.1.0/24",
    ]
    made.put(pool("q", "10.0.1.0/25"))
    made.take_decisions()
    assert made.pool_errors == ()


def test_namespace_labels_matter_to_pools_that_select_them() -> None:
    selecting = pool(
        "q",
        "10.0.1.0/24",
        select=PoolSelection(namespace_selectors=(LabelSelector({"tier": "web"}),)),
    )
    made = PlannerState(INVENTORY)
    for value in (selecting, Namespace("default", {}), svc("x")):
        made.put(value)
    assert made.take_decisions()[0].refusal is not None
    made.put(Namespace("default", {"tier": "web"}))
    assert str(made.take_decisions()[0].addresses[0]) == "10.0.1.0"


def test_an_address_outside_all_pools_is_not_ours() -> None:
    made = state(
        svc("x", holds="192.0.2.77"), svc("y", holds="10.0.0.1", load_balancer_class="other")
    )
    assert made.edge_plan("edge1").virtual_servers == ()
    assert ip_address("192.0.2.77") not in [v.address for v in made.edge_plan("edge1").addresses]


def test_a_slice_that_changes_its_service_leaves_the_former_one() -> None:
    made = state(
        svc("x", holds="10.0.0.1", local=True),
        svc("y", holds="10.0.0.2", local=True),
        eps("x", "10.244.0.1@n1", name="s"),
    )
    made.take_edge_delta("edge1")
    made.put(eps("y", "10.244.0.1@n1", name="s"))
    delta = made.take_edge_delta("edge1")
    assert {key.name: weights(found.servers) for key, found in delta.virtual_servers.items()} == {
        "x": {},
        "y": {"192.0.2.101": 1},
    }


def test_endpoint_words_mean_what_they_say() -> None:
    assert endpoint("10.244.0.1@n1 draining").serving
    assert not endpoint("10.244.0.1@n1 gone").serving


def test_an_address_that_nobody_names_any_more_is_the_first_choice_again() -> None:
    made = state(svc("y", want="10.0.0.1", want_pool="nowhere"), svc("x", holds="10.0.0.2"))
    made.remove("Service", ObjectKey("default", "y"))
    made.put(svc("z"))
    (decision,) = made.take_decisions()
    assert str(decision.addresses[0]) == "10.0.0.1"
