# SPDX-License-Identifier: Apache-2.0
"""Text that a daemon's grammar could misread never reaches a file."""

from ipaddress import ip_address

import msgspec
import pytest

from fairlead.model.bgp import BfdSettings, SecretRef
from fairlead.model.errors import InventoryError
from fairlead.model.plan import EdgePlan
from fairlead.render import render_bird, render_keepalived, session_name
from golden import cases

(INSTANCE,) = cases.KEEPALIVED["no-vips"]


@pytest.mark.parametrize("name", ["", "a b", "a}\nnotify /bin/sh", "é", "-x", "x" * 49])
def test_instance_names_are_words(name: str) -> None:
    with pytest.raises(InventoryError, match=r"vrrp\.instance"):
        render_keepalived((msgspec.structs.replace(INSTANCE, instance=name),))


@pytest.mark.parametrize("advertised", ["", "nonsense", "2001:db8::9/64"])
def test_advertised_address_is_one_of_the_adverts_family(advertised: str) -> None:
    with pytest.raises(InventoryError, match=r"vrrp\.advertised_address"):
        render_keepalived((msgspec.structs.replace(INSTANCE, advertised_address=advertised),))


def _errors(**changes: object) -> list[tuple[str, str]]:
    """Where and what is wrong with one peer; the text is that of a file without it."""
    good = cases.peer(name="good", address=ip_address("192.0.2.2"))
    plan = EdgePlan(bgp_peers=(cases.peer(**changes), good))
    rendered = render_bird(cases.EDGE, plan)
    alone = render_bird(cases.EDGE, EdgePlan(bgp_peers=(good,)))
    left_out = any("left out" in error.message for error in rendered.errors)
    assert (rendered.text == alone.text) is left_out
    return [(error.field, error.message) for error in rendered.errors]


@pytest.mark.parametrize("password", ['a"b', "a\\b", "a\nb", "", "x" * 81])
def test_secrets_that_end_the_quotes_are_refused_and_not_repeated(password: str) -> None:
    ((field, message),) = _errors(password=password)
    assert field == "bgp.peers[tor1].password"
    assert message.startswith("a secret must be")
    assert not password or password not in message


NO_IPV6 = msgspec.structs.replace(cases.EDGE, address6=None)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": "x' { }"}, "bgp.peers[x' { }].name", "letters, digits"),
        ({"my_asn": None}, "bgp.peers[tor1].my_asn", "needs an ASN"),
        ({"vrf": "a b"}, "bgp.peers[tor1].vrf", "letters, digits"),
        ({"address": None, "interface": "x;"}, "bgp.peers[tor1].interface", "letters, digits"),
        (
            {"source_address": ip_address("2001:db8::9")},
            "bgp.peers[tor1].source_address",
            "two families",
        ),
        ({"address": ip_address("fe80::1")}, "bgp.peers[tor1].address", "name the interface"),
        (
            {"origin": "cluster", "namespace": "metallb-system",
             "password_secret": SecretRef("metallb-system", "tor")},
            "spec.passwordSecret",
            "no Secret metallb-system/tor of type kubernetes.io/basic-auth",
        ),
    ],
)  # fmt: skip
def test_a_session_that_cannot_be_is_left_out_and_named(
    changes: dict[str, object], field: str, words: str
) -> None:
    ((found, message),) = _errors(**changes)
    assert found == field
    assert words in message


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"bfd": BfdSettings(echo=True)}, "spec.bfdProfile", "echoMode: BIRD has no BFD echo"),
        (
            {"bfd": BfdSettings(minimum_ttl=250), "ebgp_multihop": True},
            "spec.bfdProfile",
            "minimumTtl: BIRD can't require a TTL of 250",
        ),
        ({"address": None, "interface": "eth1", "port": 1790}, "spec.peerPort", "port 1790"),
        (
            {"address": None, "interface": "eth1", "ebgp_multihop": True},
            "spec.ebgpMultiHop",
            "the session runs without multihop",
        ),
    ],
)
def test_what_bird_lacks_is_said_and_the_session_runs_without(
    changes: dict[str, object], field: str, words: str
) -> None:
    ((found, message),) = _errors(origin="cluster", **changes)
    assert found == field
    assert words in message


@pytest.mark.parametrize("changes", [{"address": ip_address("2001:db8::1")}, {"dual_stack": True}])
def test_a_peer_needs_an_own_address_of_each_family(changes: dict[str, object]) -> None:
    rendered = render_bird(NO_IPV6, EdgePlan(bgp_peers=(cases.peer(**changes),)))
    assert "edge1 has no IPv6 address" in rendered.errors[0].message
    assert "tor1" not in rendered.text


def test_a_password_comes_from_whoever_knows_it() -> None:
    asking = cases.peer(password_secret=SecretRef("metallb-system", "tor"))
    rendered = render_bird(cases.EDGE, EdgePlan(bgp_peers=(asking,)), {"tor1": "s3cret"})
    assert not rendered.errors
    assert 'password "s3cret";' in rendered.text


def test_long_names_stay_different() -> None:
    names = {session_name(f"{'x' * 100}{number}") for number in range(50)}
    assert len(names) == 50
    assert all(len(name) <= 56 for name in names)


def test_router_id_is_written_as_ipv4() -> None:
    edge = msgspec.structs.replace(cases.EDGE, address=ip_address("2001:db8::11"))
    with pytest.raises(InventoryError, match=r"edges\[edge1\]\.router_id: BGP needs one"):
        render_bird(edge, EdgePlan(bgp_peers=(cases.peer(),)))
    assert "router id" not in render_bird(edge, EdgePlan()).text  # nobody would hear it


def test_unicast_peers_are_of_one_family() -> None:
    mixed = msgspec.structs.replace(INSTANCE, peers=(ip_address("2001:db8::12"),))
    with pytest.raises(InventoryError, match=r"edges\[\]\.address: 2001:db8::12 is not of the fam"):
        render_keepalived((mixed,))


def test_order_of_input_does_not_matter() -> None:
    (mixed,) = cases.KEEPALIVED["mixed-families"]
    turned = msgspec.structs.replace(mixed, addresses=tuple(reversed(mixed.addresses)))
    assert render_keepalived((mixed,)) == render_keepalived((turned,))
    for plan in cases.BIRD.values():
        backwards = EdgePlan(
            addresses=tuple(reversed(plan.addresses)),
            bgp=tuple(reversed(plan.bgp)),
            bgp_policies=tuple(reversed(plan.bgp_policies)),
            bgp_peers=tuple(reversed(plan.bgp_peers)),
        )
        assert render_bird(cases.EDGE, plan) == render_bird(cases.EDGE, backwards)
