# SPDX-License-Identifier: Apache-2.0
"""Fields of metallb.io's announcing kinds: their defaults, their limits (reference 3.1 to 3.4)."""

from ipaddress import ip_address

import pytest

from fairlead.model.bgp import BfdSettings, DynamicAsn, SecretRef
from fairlead.model.errors import InventoryError, ObjectFieldError
from fairlead.model.selector import LabelRequirement, LabelSelector
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from fairlead.snapshot.resources import parse_object
from support.adverts import bgp, document, l2, peer

AB = {"matchLabels": {"a": "b"}}
SAME_TERMS = {
    "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "a", "operator": "In", "values": ["y", "x"]},
    ]
}


def parse(data):
    return parse_object(data["kind"], data)


REFUSED_L2 = [  # 3.1
    ({"ipAddressPools": ["p", "p"]}, "ipAddressPools[1]"),
    ({"ipAddressPoolSelectors": [AB, AB]}, "ipAddressPoolSelectors[1]"),
    ({"nodeSelectors": [AB, AB]}, "nodeSelectors[1]"),
    ({"serviceSelectors": [AB, AB]}, "serviceSelectors[1]"),
    ({"interfaces": ["eth0", "eth0"]}, "interfaces[1]"),
    ({"nodeSelectors": [SAME_TERMS]}, "nodeSelectors[0].matchExpressions[1]"),
    (
        {"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]},
        "nodeSelectors[0].matchExpressions[0].operator",
    ),
    (
        {
            "nodeSelectors": [
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "x"]}]}
            ]
        },
        "nodeSelectors[0].matchExpressions[0].values[1]",
    ),
    (
        {"preferredNodeSelectors": [{"weight": 0, "preference": {}}]},
        "preferredNodeSelectors[0].weight",
    ),
    (
        {"preferredNodeSelectors": [{"weight": 101, "preference": {}}]},
        "preferredNodeSelectors[0].weight",
    ),
    ({"interfaces": "eth0"}, "interfaces"),
]
REFUSED_BGP = [  # 3.2
    ({"aggregationLength": 0}, "aggregationLength"),
    ({"aggregationLength": 33}, "aggregationLength"),
    ({"aggregationLengthV6": 129}, "aggregationLengthV6"),
    ({"localPref": -1}, "localPref"),
    ({"localPref": 1 << 32}, "localPref"),
    ({"communities": ["65000:1", "65000:1"]}, "communities[1]"),
    ({"communities": ["65536:1"]}, "communities[0]"),
    ({"communities": ["1:x"]}, "communities[0]"),
    ({"communities": ["big:1:2:3"]}, "communities[0]"),
    ({"communities": ["large:1:2:4294967296"]}, "communities[0]"),
    ({"communities": [""]}, "communities[0]"),
    ({"communities": [f"1:{n}" for n in range(64)]}, "communities"),
    ({"peers": ["a", "a"]}, "peers[1]"),
    ({"ipAddressPools": ["p", "p"]}, "ipAddressPools[1]"),
    ({"ipAddressPoolSelectors": [AB, AB]}, "ipAddressPoolSelectors[1]"),
    ({"nodeSelectors": [AB, AB]}, "nodeSelectors[1]"),
    ({"serviceSelectors": [AB, AB]}, "serviceSelectors[1]"),
    ({"serviceSelectors": [AB], "aggregationLength": 24}, "aggregationLength"),
    ({"serviceSelectors": [AB], "aggregationLengthV6": 64}, "aggregationLengthV6"),
]
AT = {"peerAddress": "10.0.0.1"}
REFUSED_PEER = [  # 3.3
    ({**AT, "myASN": 0}, "myASN"),
    ({**AT, "myASN": 1 << 32}, "myASN"),
    ({**AT, "peerASN": 0}, "peerASN"),
    ({**AT, "dynamicASN": "internal"}, "peerASN"),
    ({**AT, "peerASN": 0, "dynamicASN": "other"}, "dynamicASN"),
    ({**AT, "localASN": 0}, "localASN"),
    ({}, "peerAddress"),
    ({**AT, "interface": "eth0"}, "peerAddress"),
    ({"peerAddress": "tor"}, "peerAddress"),
    ({"interface": "a b"}, "interface"),
    ({**AT, "sourceAddress": "me"}, "sourceAddress"),
    ({**AT, "routerID": "fd00::1"}, "routerID"),
    ({**AT, "peerPort": 16385}, "peerPort"),
    ({**AT, "holdTime": "2s"}, "holdTime"),
    ({**AT, "holdTime": "soon"}, "holdTime"),
    ({**AT, "holdTime": 90}, "holdTime"),
    ({**AT, "holdTime": "9s", "keepaliveTime": "10s"}, "keepaliveTime"),
    ({**AT, "connectTime": "0s"}, "connectTime"),
    ({**AT, "connectTime": "1500ms"}, "connectTime"),
    ({**AT, "connectTime": "65536s"}, "connectTime"),
    ({**AT, "nodeSelectors": [AB, AB]}, "nodeSelectors[1]"),
    ({**AT, "password": "s", "passwordSecret": {"name": "n"}}, "passwordSecret"),
    ({**AT, "passwordSecret": {"name": "N"}}, "passwordSecret.name"),
    ({**AT, "peerASN": 64512, "ebgpMultiHop": True}, "ebgpMultiHop"),
    ({**AT, "peerASN": 0, "dynamicASN": "internal", "ebgpMultiHop": True}, "ebgpMultiHop"),
    ({**AT, "vrf": "a/b"}, "vrf"),
]
REFUSED_BFD = [  # 3.4
    ({"receiveInterval": 9}, "receiveInterval"),
    ({"transmitInterval": 60001}, "transmitInterval"),
    ({"detectMultiplier": 1}, "detectMultiplier"),
    ({"detectMultiplier": 256}, "detectMultiplier"),
    ({"echoInterval": 9}, "echoInterval"),
    ({"minimumTtl": 0}, "minimumTtl"),
    ({"minimumTtl": 255}, "minimumTtl"),
]
REFUSED_COMMUNITY = [
    ({"communities": [{"value": "1:2"}]}, "communities[0].name"),
    ({"communities": [{"name": "a", "value": "b"}]}, "communities[0].value"),
    ({"communities": [{"name": "a"}]}, "communities[0].value"),
    (
        {"communities": [{"name": "a", "value": "1:2"}, {"name": "a", "value": "1:3"}]},
        "communities[1].name",
    ),
]
REFUSED = [
    *((l2(**spec), field) for spec, field in REFUSED_L2),
    *((bgp(**spec), field) for spec, field in REFUSED_BGP),
    *((peer("tor", **spec), field) for spec, field in REFUSED_PEER),
    *((document("BFDProfile", **spec), field) for spec, field in REFUSED_BFD),
    *((document("Community", **spec), field) for spec, field in REFUSED_COMMUNITY),
]


@pytest.mark.parametrize(("data", "field"), REFUSED)
def test_a_mistake_names_its_field(data, field: str) -> None:
    with pytest.raises(ObjectFieldError) as caught:
        parse(data)
    assert caught.value.field == f"spec.{field}"
    assert caught.value.message


def test_defaults() -> None:
    advertised = parse(bgp())
    assert (advertised.aggregation_length, advertised.aggregation_length_v6) == (32, 128)
    assert (advertised.local_pref, advertised.communities, advertised.peers) == (None, (), ())
    assert parse(l2()).interfaces == ()
    router = parse(peer("tor", peerAddress="10.0.0.1"))
    assert (router.port, router.hold_time, router.keepalive_time) == (179, 180, 60)
    assert (router.connect_time, router.graceful_restart, router.dual_stack) == (None, False, False)
    bfd = parse(document("BFDProfile")).settings
    assert (bfd.receive, bfd.transmit, bfd.multiplier) == (0.3, 0.3, 3)
    assert (bfd.echo, bfd.echo_interval, bfd.passive, bfd.minimum_ttl) == (False, 0.05, False, 254)


def test_every_field_of_an_l2_advertisement() -> None:
    found = parse(
        l2(
            "a",
            created="2026-02-01",
            ipAddressPools=["p"],
            ipAddressPoolSelectors=[AB],
            nodeSelectors=[{"matchExpressions": [{"key": "k", "operator": "Exists"}]}],
            interfaces=["eth0"],
            serviceSelectors=[AB],
            preferredNodeSelectors=[{"weight": 5, "preference": AB}],
        )
    )
    assert (found.name, found.created, found.origin) == ("a", "2026-02-01", "cluster")
    assert (found.pools, found.interfaces) == (("p",), ("eth0",))
    assert found.pool_selectors == found.service_selectors == (LabelSelector({"a": "b"}),)
    assert found.edge_selectors == (LabelSelector({}, (LabelRequirement("k", "Exists"),)),)
    assert (found.preferences[0].weight, found.preferences[0].preference.match_labels) == (
        5,
        {"a": "b"},
    )


def test_every_field_of_a_peer() -> None:
    found = parse(
        peer(
            "tor",
            peerASN=0,
            dynamicASN="external",
            localASN=64999,
            interface="eth2",
            sourceAddress="10.0.0.9",
            routerID="1.1.1.1",
            peerPort=1179,
            holdTime="1m30s",
            keepaliveTime="5s",
            connectTime="10s",
            nodeSelectors=[AB],
            passwordSecret={"name": "key", "namespace": "elsewhere"},
            bfdProfile="fast",
            enableGracefulRestart=True,
            ebgpMultiHop=True,
            vrf="red",
            disableMP=True,
            dualStackAddressFamily=True,
        )
    )
    assert (found.asn, found.dynamic_asn, found.my_asn) == (None, DynamicAsn.EXTERNAL, 64512)
    assert (found.address, found.interface, found.local_asn) == (None, "eth2", 64999)
    assert (found.source_address, found.router_id) == (
        ip_address("10.0.0.9"),
        ip_address("1.1.1.1"),
    )
    assert (found.port, found.hold_time, found.keepalive_time, found.connect_time) == (
        1179,
        90,
        5,
        10,
    )
    # The Secret is looked up beside the peer, as upstream does, whatever the reference says.
    assert found.password_secret == SecretRef("default", "key")
    assert (found.bfd_profile, found.vrf, found.ebgp_multihop) == ("fast", "red", True)
    assert found.graceful_restart
    assert found.dual_stack
    assert found.disable_mp
    assert found.edge_selectors == (LabelSelector({"a": "b"}),)


@pytest.mark.parametrize(
    ("spec", "times"),
    [
        ({}, (180, 60)),
        ({"holdTime": "30s"}, (30, None)),
        ({"keepaliveTime": "3s"}, (9, 3)),
        ({"holdTime": "0s"}, (0, None)),
        ({"holdTime": "0s", "keepaliveTime": "0s"}, (0, 0)),
        ({"holdTime": "3.9s"}, (3, None)),
        ({"holdTime": "1h", "keepaliveTime": "1m"}, (3600, 60)),
    ],
)
def test_one_time_sets_the_other(spec, times) -> None:
    found = parse(peer("tor", **AT, **spec))
    assert (found.hold_time, found.keepalive_time) == times


def test_v1beta1_peers_have_fewer_fields() -> None:
    old = {**peer("tor", **AT, vrf="red", holdTime="30s"), "apiVersion": "metallb.io/v1beta1"}
    snapshot = snapshot_from_documents([Document("f", 1, old)])
    assert not snapshot.errors
    assert (snapshot.bgp_peers[0].vrf, snapshot.bgp_peers[0].hold_time) == ("", 30)


def test_other_namespaces_are_not_read() -> None:
    data = {**l2(), "metadata": {"name": "x", "namespace": "elsewhere"}}
    (error,) = snapshot_from_documents([Document("f", 1, data)]).errors
    assert error.field == "metadata.namespace"
    assert "metallb-system" in error.message


EDGE = {"name": "edge1", "address": "10.0.0.11"}


def inventory(**sections):
    return inventory_from_dict({"edges": [EDGE], **sections})


@pytest.mark.parametrize(
    "spec",
    [
        {
            "ipAddressPools": ["p"],
            "ipAddressPoolSelectors": [AB],
            "nodeSelectors": [AB],
            "serviceSelectors": [AB],
            "preferredNodeSelectors": [{"weight": 5, "preference": AB}],
        },
        {
            "ip_address_pools": ["p"],
            "ip_address_pool_selectors": [{"match_labels": {"a": "b"}}],
            "node_selectors": [{"match_labels": {"a": "b"}}],
            "service_selectors": [AB],
            "preferred_node_selectors": [{"weight": 5, "preference": {"match_labels": {"a": "b"}}}],
        },
    ],
)
def test_the_inventory_takes_both_spellings(spec) -> None:
    (found,) = inventory(l2_advertisements=[{"name": "a", **spec}]).l2_advertisements
    assert found.pools == ("p",)
    assert found.pool_selectors == found.edge_selectors == found.service_selectors
    assert found.edge_selectors == (LabelSelector({"a": "b"}),)
    assert found.preferences[0].preference == LabelSelector({"a": "b"})
    assert (found.origin, found.namespace) == ("inventory", "")


def test_a_label_may_be_spelt_like_a_field() -> None:
    entry = {"name": "a", "nodeSelectors": [{"matchLabels": {"local_pref": "x"}}]}
    (found,) = inventory(bgp_advertisements=[entry]).bgp_advertisements
    assert found.edge_selectors == (LabelSelector({"local_pref": "x"}),)


def test_every_kind_of_the_inventory() -> None:
    found = inventory(
        bgp_advertisements=[
            {"name": "b", "aggregation_length": 26, "local_pref": 7, "communities": ["blue"]}
        ],
        bfd_profiles=[{"name": "fast", "receive_interval": 100, "detect_multiplier": 5}],
        communities=[{"name": "c", "communities": [{"name": "blue", "value": "065000:1"}]}],
        bgp={
            "peers": [
                {
                    "name": "tor",
                    "address": "10.0.0.1",
                    "asn": 64500,
                    "node_selectors": [AB],
                    "hold_time": "30s",
                    "password_secret": {"name": "key"},
                    "bfd_profile": "fast",
                }
            ]
        },
    )
    assert found.bgp_advertisements[0].aggregation_length == 26
    assert found.bfd_profiles[0].settings == BfdSettings(0.3, 5, receive_interval=0.1)
    assert found.communities[0].aliases[0].value == "65000:1"
    (router,) = found.bgp.peers
    assert router.password_secret == SecretRef("metallb-system", "key")
    assert (router.hold_time, router.bfd_profile, router.namespace) == (30, "fast", "")


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"l2_advertisements": [{}]}, "l2_advertisements[0]"),
        ({"l2_advertisements": [{"name": "A"}]}, "l2_advertisements[0].name"),
        ({"l2_advertisements": [{"name": "a"}, {"name": "a"}]}, "l2_advertisements[1].name"),
        ({"l2_advertisements": [{"name": "a", "pools": []}]}, "l2_advertisements[0]"),
        (
            {"l2_advertisements": [{"name": "a", "ip_address_pools": ["p", "p"]}]},
            "l2_advertisements[0].ip_address_pools[1]",
        ),
        (
            {"bgp_advertisements": [{"name": "a", "aggregationLength": 40}]},
            "bgp_advertisements[0].aggregation_length",
        ),
        ({"bfd_profiles": [{"name": "a", "echo_interval": 1}]}, "bfd_profiles[0].echo_interval"),
        (
            {"communities": [{"name": "a", "communities": [{"name": "b", "value": "c"}]}]},
            "communities[0].communities[0].value",
        ),
        ({"bgp": {"peers": [{"name": "t", "asn": 1}]}}, "bgp.peers[0].address"),
        (
            {"bgp": {"peers": [{"name": "t", "asn": 1, "address": "10.0.0.1", "hold_time": 2}]}},
            "bgp.peers[0].hold_time",
        ),
        (
            {
                "bgp": {
                    "local_asn": 1,
                    "peers": [
                        {"name": "t", "asn": 1, "address": "10.0.0.1", "ebgp_multihop": True}
                    ],
                }
            },
            "bgp.peers[0].ebgp_multihop",
        ),
        (
            {
                "bgp": {
                    "peers": [
                        {
                            "name": "t",
                            "asn": 1,
                            "address": "10.0.0.1",
                            "bfd": True,
                            "bfd_profile": "x",
                        }
                    ]
                }
            },
            "bgp.peers[0].bfd_profile",
        ),
    ],
)
def test_a_mistake_in_the_inventory_is_named_in_its_spelling(sections, field: str) -> None:
    with pytest.raises(InventoryError) as caught:
        inventory(**sections)
    assert caught.value.field == field


def test_further_interfaces_of_an_edge() -> None:
    data = {"edges": [{**EDGE, "interfaces": ["eth1", "eth0", "eth2"]}]}
    assert inventory_from_dict(data).edges[0].interfaces == ("eth1", "eth2")
    with pytest.raises(InventoryError) as caught:
        inventory_from_dict({"edges": [{**EDGE, "interfaces": ["eth1", "eth1"]}]})
    assert caught.value.field == "edges[0].interfaces[1]"
