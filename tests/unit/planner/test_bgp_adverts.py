# SPDX-License-Identifier: Apache-2.0
"""What BGPAdvertisements, BGPPeers, BFDProfiles and Communities make of BGP (3.2 to 3.4)."""

import pytest

from fairlead.model.names import Announce
from support.adverts import (
    RACK_A,
    WEB,
    bgp,
    config,
    document,
    errors,
    peer,
    planned,
    routes,
    ways,
)
from support.build import svc

RACK_B = {"matchLabels": {"rack": "b"}}
TIER = {"labels": {"tier": "web"}}
HOST = "10.0.0.1/32"
VRRP, BGP = "vrrp", "bgp"


BGP_ROUTES = [
    ([bgp()], [f"{HOST} > tor"]),
    ([bgp(aggregationLength=32)], [f"{HOST} > tor"]),
    ([bgp(ipAddressPools=["p"], aggregationLength=29)], ["10.0.0.0/29 > tor"]),
    ([bgp(ipAddressPools=["p"], aggregationLength=28)], ["10.0.0.0/28 > tor"]),
    ([bgp(localPref=200)], [f"{HOST} > tor 200"]),
    ([bgp(communities=["65000:2", "65000:1"])], [f"{HOST} > tor [65000:1 65000:2]"]),
    ([bgp(communities=["large:1:2:3", "7:7"])], [f"{HOST} > tor [7:7 large:1:2:3]"]),
    ([bgp(communities=["blue"])], [f"{HOST} > tor [65000:9]"]),
    ([bgp(communities=["blue", "65000:9"])], [f"{HOST} > tor [65000:9]"]),
    ([bgp(peers=["tor"])], [f"{HOST} > tor"]),
    ([bgp(peers=["tor", "nobody"])], [f"{HOST} > tor"]),
    ([bgp(peers=["nobody"])], []),
    ([bgp(peers=["spine"])], []),  # a v4 prefix does not go over a v6 session
    # Several advertisements of one prefix: communities unite, peer by peer.
    ([bgp("a", communities=["1:1"]), bgp("b", communities=["1:2"])], [f"{HOST} > tor [1:1 1:2]"]),
    (
        [bgp("a", communities=["1:1"]), bgp("b", peers=["nobody"], communities=["1:2"])],
        [f"{HOST} > tor [1:1]"],
    ),
    ([bgp("a", localPref=7), bgp("b", localPref=7)], [f"{HOST} > tor 7"]),
    (
        [bgp("a"), bgp("b", ipAddressPools=["p"], aggregationLength=28, localPref=9)],
        [f"{HOST} > tor", "10.0.0.0/28 > tor 9"],
    ),
]
ALIASES = document("Community", "names", communities=[{"name": "blue", "value": "65000:9"}])


@pytest.mark.parametrize(("objects", "expected"), BGP_ROUTES)
def test_bgp_routes(objects, expected) -> None:
    assert routes(planned(ALIASES, *objects)) == expected


def test_an_aggregate_stands_while_any_vip_inside_is_ready() -> None:
    wide = bgp(ipAddressPools=["p"], aggregationLength=28)
    services = [svc("a", holds="10.0.0.1", note="p"), svc("b", holds="10.0.0.9", note="p")]
    assert routes(planned(wide, services=services)) == ["10.0.0.0/28 > tor"]
    assert routes(planned(wide, services=services, silent=["a"])) == ["10.0.0.0/28 > tor"]
    assert routes(planned(wide, services=services, silent=["a", "b"])) == []


def test_aggregation_follows_the_family() -> None:
    service = svc("web", holds="fd00::1", note="six", ips="fd00:96::1")
    wide = bgp(ipAddressPools=["six"], aggregationLengthV6=124)
    plan = planned(wide, services=[service])
    assert plan.edges["edge1"].bgp == ()  # its endpoints are of the other family
    assert [p.prefixes for p in plan.edges["edge1"].bgp_policies] == [("fd00::/120",)]
    assert [p.length for p in plan.edges["edge1"].bgp_policies] == [124]


def test_policies_do_not_depend_on_services() -> None:
    objects = [ALIASES, bgp("a", communities=["blue"]), bgp("b", serviceSelectors=[WEB])]
    busy, idle = planned(*objects, **TIER), planned(*objects, services=[svc("z", type="ClusterIP")])
    assert busy.edges["edge1"].bgp_policies == idle.edges["edge1"].bgp_policies
    told = {
        (policy.prefixes, policy.length, policy.peers, policy.communities)
        for policy in busy.edges["edge1"].bgp_policies
    }
    assert told == {
        (("10.0.0.0/28", "10.0.1.0/28"), 32, ("tor",), ("65000:9",)),
        (("fd00::/120",), 128, ("spine",), ("65000:9",)),
    }


def test_service_selectors_add_to_what_is_for_all() -> None:
    objects = [
        bgp("all", communities=["1:1"]),
        bgp("web", communities=["1:2"], serviceSelectors=[WEB]),
    ]
    assert routes(planned(*objects, **TIER)) == [f"{HOST} > tor [1:1 1:2]"]
    assert routes(planned(*objects)) == [f"{HOST} > tor [1:1]"]


RANGE = document("IPAddressPool", "range", addresses=["10.3.3.2-10.3.3.254"])
BGP_ERRORS = [  # what clashes or is missing: named, isolated, the others go on
    ([RANGE, bgp("a", ipAddressPools=["range"], aggregationLength=26)], []),
    (
        [RANGE, bgp("a", ipAddressPools=["range"], aggregationLength=24)],
        ["BGPAdvertisement/a spec.aggregationLength"],
    ),
    ([bgp("a", aggregationLength=26)], ["BGPAdvertisement/a spec.aggregationLength"]),
    (
        [bgp("a", ipAddressPools=["six"], aggregationLengthV6=64)],
        ["BGPAdvertisement/a spec.aggregationLengthV6"],
    ),
    ([bgp("a", communities=["green"])], ["BGPAdvertisement/a spec.communities[0]"]),
    (
        [bgp("a", created="2026-01-02", localPref=1), bgp("b", created="2026-01-01", localPref=2)],
        ["BGPAdvertisement/a spec.localPref"],  # the older one stays
    ),
    ([bgp("a", localPref=1), bgp("b")], ["BGPAdvertisement/b spec.localPref"]),
    ([bgp("a", localPref=1, ipAddressPools=["p"]), bgp("b", ipAddressPools=["q"])], []),
    ([bgp("a", localPref=1, peers=["tor"]), bgp("b", peers=["spine"])], []),
    ([bgp("a", localPref=1, nodeSelectors=[RACK_A]), bgp("b", nodeSelectors=[RACK_B])], []),
    (
        [
            bgp("a", localPref=1, ipAddressPools=["p"]),
            bgp("b", ipAddressPools=["p"], aggregationLength=28),
        ],
        [],
    ),
    ([bgp("a", localPref=1), bgp("b", localPref=2, serviceSelectors=[WEB])], []),
]


@pytest.mark.parametrize(("objects", "expected"), BGP_ERRORS)
def test_bgp_clashes(objects, expected) -> None:
    plan = planned(*objects)
    assert errors(plan) == expected
    assert all(error.file == "f.yaml" and error.document for error in plan.errors)


def test_a_refused_advertisement_leaves_the_others() -> None:
    plan = planned(bgp("good"), bgp("bad", communities=["green"]))
    assert routes(plan) == [f"{HOST} > tor"]


def test_contradiction_for_one_service() -> None:
    objects = [bgp("a", localPref=1), bgp("b", localPref=2, serviceSelectors=[WEB])]
    assert routes(planned(*objects)) == [f"{HOST} > tor 1"]
    plan = planned(*objects, **TIER)
    assert ways(plan) == {"edge1": "", "edge2": ""}


FAST = document("BFDProfile", "fast", receiveInterval=100)
ECHO = document("BFDProfile", "echo", echoMode=True)
NEW = {"peerAddress": "10.9.0.2"}
PEERS = [  # objects, sessions of edge1, errors
    ([peer("rack", **NEW)], ["rack", "spine", "tor"], []),
    ([peer("rack", **NEW, nodeSelectors=[RACK_A])], ["rack", "spine", "tor"], []),
    ([peer("rack", **NEW, nodeSelectors=[RACK_B])], ["spine", "tor"], []),
    ([peer("tor", **NEW)], ["spine", "tor"], ["BGPPeer/tor spec.name"]),
    (
        [peer("again", peerAddress="10.9.0.1")],
        ["spine", "tor"],
        ["BGPPeer/again spec.peerAddress"],
    ),
    ([peer("again", peerAddress="10.9.0.1", vrf="red")], ["again", "spine", "tor"], []),
    (
        [
            peer("a", interface="eth1", nodeSelectors=[RACK_A]),
            peer("b", interface="eth1", nodeSelectors=[RACK_B]),
        ],
        ["a", "spine", "tor"],
        [],
    ),
    (
        [peer("a", interface="eth1"), peer("b", interface="eth1")],
        ["a", "spine", "tor"],
        ["BGPPeer/b spec.interface"],
    ),
    ([peer("rack", **NEW, bfdProfile="fast"), FAST], ["rack", "spine", "tor"], []),
    ([peer("rack", **NEW, bfdProfile="gone")], ["spine", "tor"], ["BGPPeer/rack spec.bfdProfile"]),
    (
        [
            peer("rack", **NEW, bfdProfile="echo"),
            ECHO,
            bgp("four", ipAddressPools=["p"]),
            bgp("six", ipAddressPools=["six"]),
        ],
        ["rack", "spine", "tor"],
        ["BGPAdvertisement/six spec.peers"],
    ),
    (
        [
            peer("rack", **NEW, bfdProfile="echo"),
            ECHO,
            bgp("six", ipAddressPools=["six"], peers=["spine"]),
        ],
        ["rack", "spine", "tor"],
        [],
    ),
    (
        [
            document("Community", "a", communities=[{"name": "x", "value": "1:1"}]),
            document("Community", "b", communities=[{"name": "x", "value": "1:2"}]),
        ],
        ["spine", "tor"],
        ["Community/b spec.communities[0].name"],
    ),
]


@pytest.mark.parametrize(("objects", "sessions", "expected"), PEERS)
def test_peers(objects, sessions, expected) -> None:
    plan = planned(*objects)
    assert [one.name for one in plan.edges["edge1"].bgp_peers] == sessions
    assert errors(plan) == expected


def test_a_session_is_resolved() -> None:
    plan = planned(FAST, peer("rack", **NEW, bfdProfile="fast", passwordSecret={"name": "key"}))
    rack, _, tor = plan.edges["edge1"].bgp_peers
    assert (rack.bfd.receive, rack.bfd.transmit, rack.bfd_profile) == (0.1, 0.3, "")
    assert rack.password_secret.namespace == "metallb-system"
    assert (rack.my_asn, tor.my_asn, tor.bfd) == (64512, 64512, None)
    assert planned(inventory=config(announce=(Announce.VRRP,))).edges["edge1"].bgp_peers == ()


@pytest.mark.parametrize(
    ("spec", "heard"),
    [
        ({"peerAddress": "fd00:9::7"}, False),
        ({"peerAddress": "fd00:9::7", "dualStackAddressFamily": True}, True),
        ({"interface": "eth1"}, True),
        (NEW, True),
    ],
)
def test_a_v4_prefix_needs_a_session_that_carries_it(spec, heard: bool) -> None:
    plan = planned(peer("rack", **spec), bgp(peers=["rack"]))
    assert routes(plan) == ([f"{HOST} > rack"] if heard else [])
