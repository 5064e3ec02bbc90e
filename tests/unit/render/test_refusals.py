# SPDX-License-Identifier: Apache-2.0
"""Text that a daemon's grammar could misread never reaches a file."""

from ipaddress import ip_address

import msgspec
import pytest

from fairlead.model.errors import InventoryError
from fairlead.model.inventory import BgpPeer, BgpSettings
from fairlead.render import render_bird, render_keepalived
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


def _peers(**changes: object) -> BgpSettings:
    peer = BgpPeer(name="tor1", address=ip_address("192.0.2.1"), asn=64500)
    return BgpSettings(peers=(msgspec.structs.replace(peer, **changes),))


@pytest.mark.parametrize("password", ['a"b', "a\\b", "a\nb", "", "x" * 81])
def test_secrets_that_end_the_quotes_are_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(InventoryError, match="a secret must be") as caught:
        render_bird(cases.EDGE, _peers(password=password), ())
    assert not password or password not in str(caught.value)


def test_peer_names_are_words() -> None:
    with pytest.raises(InventoryError, match=r"bgp\.peers"):
        render_bird(cases.EDGE, _peers(name="x' { }"), ())


def test_a_peer_needs_an_own_address_of_its_family() -> None:
    edge = msgspec.structs.replace(cases.EDGE, address6=None)
    with pytest.raises(InventoryError, match="edge1 has no IPv6 address"):
        render_bird(edge, _peers(address=ip_address("2001:db8::1")), ())


def test_router_id_is_written_as_ipv4() -> None:
    edge = msgspec.structs.replace(cases.EDGE, address=ip_address("2001:db8::11"))
    with pytest.raises(InventoryError, match="router_id"):
        render_bird(edge, BgpSettings(), ())


def test_order_of_input_does_not_matter() -> None:
    (mixed,) = cases.KEEPALIVED["mixed-families"]
    turned = msgspec.structs.replace(mixed, addresses=tuple(reversed(mixed.addresses)))
    assert render_keepalived((mixed,)) == render_keepalived((turned,))
    edge, bgp, pools = cases.BIRD["bfd-and-password"]
    turned_bgp = msgspec.structs.replace(bgp, peers=tuple(reversed(bgp.peers)))
    assert render_bird(edge, bgp, pools) == render_bird(edge, turned_bgp, tuple(reversed(pools)))
