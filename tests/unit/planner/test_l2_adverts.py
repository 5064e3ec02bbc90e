# SPDX-License-Identifier: Apache-2.0
"""Selection, and what L2Advertisements make of VRRP (reference 3.1): a row a rule."""

import pytest

from fairlead.model.names import Announce, ObjectKey
from fairlead.snapshot.inventory_adverts import bgp_entries, l2_entries
from support.adverts import (
    RACK_A,
    WEB,
    bgp,
    config,
    errors,
    l2,
    planned,
    ways,
)

BOTH, VRRP, BGP = "vrrp+bgp", "vrrp", "bgp"
BLUE = {"matchLabels": {"zone": "blue"}}
TIER = {"labels": {"tier": "web"}}
RACK_B = {"matchLabels": {"rack": "b"}}


def test_without_advertisements_the_inventory_decides() -> None:
    assert ways(planned()) == {"edge1": BOTH, "edge2": BOTH}
    silent = config(announce_default=False)
    assert ways(planned(inventory=silent)) == {"edge1": "", "edge2": ""}


WHO_AND_WHERE = [  # (spec, labels of the Service, ways by edge); both kinds have these fields
    ({}, {}, (1, 1)),
    ({"ipAddressPools": ["p"]}, {}, (1, 1)),
    ({"ipAddressPools": ["q"]}, {}, (0, 0)),
    ({"ipAddressPools": ["nowhere"]}, {}, (0, 0)),
    ({"ipAddressPoolSelectors": [BLUE]}, {}, (1, 1)),
    ({"ipAddressPoolSelectors": [{"matchLabels": {"zone": "red"}}]}, {}, (0, 0)),
    ({"ipAddressPools": ["q"], "ipAddressPoolSelectors": [BLUE]}, {}, (1, 1)),
    ({"nodeSelectors": [RACK_A]}, {}, (1, 0)),
    ({"nodeSelectors": [RACK_A, {"matchLabels": {"rack": "b"}}]}, {}, (1, 1)),
    ({"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "edge2"}}]}, {}, (0, 1)),
    ({"nodeSelectors": [{"matchLabels": {"rack": "none"}}]}, {}, (0, 0)),
    ({"serviceSelectors": [WEB]}, {"tier": "web"}, (1, 1)),
    ({"serviceSelectors": [WEB]}, {"tier": "db"}, (0, 0)),
    ({"serviceSelectors": [{"matchLabels": {"tier": "db"}}, WEB]}, {"tier": "web"}, (1, 1)),
]


@pytest.mark.parametrize(("spec", "labels", "reached"), WHO_AND_WHERE)
@pytest.mark.parametrize(("make", "way"), [(l2, VRRP), (bgp, BGP)])
def test_selection(make, way: str, spec, labels, reached) -> None:
    expected = {f"edge{n}": way if yes else "" for n, yes in enumerate(reached, 1)}
    assert ways(planned(make(**spec), labels=labels)) == expected
    plan = planned(make(**spec), labels=labels)
    announced = [
        any(instance.addresses for instance in edge.vrrp) if way == VRRP else bool(edge.bgp)
        for edge in plan.edges.values()
    ]
    assert announced == [bool(yes) for yes in reached]


@pytest.mark.parametrize(("spec", "labels", "reached"), WHO_AND_WHERE)
def test_the_inventory_says_the_same_as_objects(spec, labels, reached) -> None:
    inventory = config(
        l2_advertisements=l2_entries([{"name": "a", **spec}]),
        bgp_advertisements=bgp_entries([{"name": "a", **spec}]),
    )
    expected = {f"edge{n}": BOTH if yes else "" for n, yes in enumerate(reached, 1)}
    assert ways(planned(inventory=inventory, labels=labels)) == expected


@pytest.mark.parametrize(
    ("announce", "expected"),
    [((Announce.VRRP,), VRRP), ((Announce.BGP,), BGP), ((Announce.VRRP, Announce.BGP), BOTH)],
)
def test_both_only_where_the_inventory_has_the_way(announce, expected: str) -> None:
    plan = planned(l2(), bgp(), inventory=config(announce=announce))
    assert ways(plan) == {"edge1": expected, "edge2": expected}


def test_an_advertisement_that_cannot_be_read_still_counts_as_one() -> None:
    """A typing error must not let everything out."""
    plan = planned(l2(interfaces="eth0"))
    assert ways(plan) == {"edge1": "", "edge2": ""}
    assert errors(plan) == ["L2Advertisement/l2 spec.interfaces"]


def instances(plan, edge: str) -> list[tuple]:
    """Named instances with addresses: (priority, devices)."""
    return [(i.priority, i.devices) for i in plan.edges[edge].vrrp if i.addresses]


def prefer(weight: int, selector) -> dict:
    return {"preferredNodeSelectors": [{"weight": weight, "preference": selector}]}


MAIN, ALL, SECOND = (), ("eth0", "eth1"), ("eth1",)
L2_GROUPS = [  # advertisements, instance on edge1, instance on edge2
    ([l2()], [(200, MAIN)], [(190, ALL)]),
    ([l2(interfaces=["eth0"])], [(200, MAIN)], [(190, MAIN)]),
    ([l2(interfaces=["eth1"])], [], [(190, SECOND)]),
    ([l2(interfaces=["eth9"])], [], []),
    ([l2(interfaces=["eth0", "eth9"])], [(200, MAIN)], [(190, MAIN)]),
    ([l2("a", interfaces=["eth0"]), l2("b", interfaces=["eth1"])], [(200, MAIN)], [(190, ALL)]),
    ([l2("a", interfaces=["eth0"]), l2("b")], [(200, MAIN)], [(190, ALL)]),
    ([l2(**prefer(10, RACK_B))], [(190, MAIN)], [(200, ALL)]),
    ([l2(**prefer(10, {}))], [(200, MAIN)], [(190, ALL)]),
    ([l2(**prefer(10, RACK_A))], [(200, MAIN)], [(190, ALL)]),
    ([l2("a", **prefer(10, RACK_A)), l2("b", **prefer(20, RACK_B))], [(190, MAIN)], [(200, ALL)]),
    (
        [l2("a", **prefer(10, RACK_A)), l2("b", **prefer(5, RACK_B)), l2("c", **prefer(6, RACK_B))],
        [(190, MAIN)],
        [(200, ALL)],
    ),
    # A preference counts only among edges that its own advertisement is for.
    ([l2("a"), l2("b", nodeSelectors=[RACK_A], **prefer(9, RACK_B))], [(200, MAIN)], [(190, ALL)]),
    ([l2(nodeSelectors=[RACK_A])], [(200, MAIN)], []),
]


@pytest.mark.parametrize(("objects", "first", "second"), L2_GROUPS)
def test_vrrp_groups(objects, first, second) -> None:
    plan = planned(*objects)
    assert (instances(plan, "edge1"), instances(plan, "edge2")) == (first, second)


def test_the_default_group_is_the_inventorys_instance() -> None:
    plan = planned(l2(interfaces=["eth0"]))
    for edge in plan.edges.values():
        (own,) = edge.vrrp
        assert (own.instance, own.vrid, own.advertised_address) == ("fairlead", 51, "10.9.0.9/24")


def test_another_group_has_its_own_name_vrid_and_address_on_all_its_edges() -> None:
    plan = planned(l2(**prefer(1, RACK_B)))
    one, two = (
        next(i for i in plan.edges[name].vrrp if i.addresses) for name in ("edge1", "edge2")
    )
    assert (one.instance, one.vrid) == (two.instance, two.vrid)
    assert one.instance.startswith("fairlead-")
    assert one.vrid != 51
    assert one.advertised_address == two.advertised_address
    assert one.advertised_address.startswith("169.254.")
    assert one.advertised_address.endswith(f".{one.vrid}/32")
    assert (one.source, one.peers) == (two.peers[0], (two.source,))
    # The inventory's own instance stays, empty: the edges know their master before the first VIP.
    assert [i.addresses for i in plan.edges["edge1"].vrrp if i.instance == "fairlead"] == [()]


def test_edges_outside_a_group_do_not_hear_it() -> None:
    plan = planned(l2(nodeSelectors=[RACK_A]))
    own = next(i for i in plan.edges["edge1"].vrrp if i.addresses)
    assert own.peers == ()
    assert [i.instance for i in plan.edges["edge2"].vrrp] == ["fairlead"]


def test_a_missing_interface_is_announce_failed() -> None:
    plan = planned(l2(interfaces=["eth1"]))
    (failed,) = plan.edges["edge1"].failed
    assert (failed.reason, failed.way, failed.edge) == ("announceFailed", Announce.VRRP, "edge1")
    assert "eth1" in failed.message
    assert failed.service == ObjectKey("default", "web")
    assert plan.edges["edge2"].failed == ()


@pytest.mark.parametrize(
    ("annotation", "spec", "reached"),
    [
        ("metallb.io/allow-shared-ip", {"serviceSelectors": [WEB]}, ""),
        ("metallb.universe.tf/allow-shared-ip", {"serviceSelectors": [WEB]}, ""),
        ("metallb.io/allow-shared-ip", {}, VRRP),
        ("metallb.io/other", {"serviceSelectors": [WEB]}, VRRP),
    ],
)
def test_sharing_and_service_selectors_exclude_each_other(annotation, spec, reached) -> None:
    plan = planned(l2(**spec), **TIER, annotations={annotation: "key"})
    assert ways(plan) == {"edge1": reached, "edge2": reached}
