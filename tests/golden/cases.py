# SPDX-License-Identifier: Apache-2.0
"""Typed inputs whose rendered twins stand beside this file."""

from ipaddress import ip_address

from fairlead.model.inventory import BfdSettings, BgpPeer, BgpSettings, Edge
from fairlead.model.names import Protocol
from fairlead.model.plan import VrrpInstance
from fairlead.model.pool import AddressRange, Pool
from fairlead.render import MasqueradeTarget


def pool(name: str, *ranges: tuple[str, str]) -> Pool:
    """A pool from (first, last) pairs."""
    return Pool(
        name=name,
        ranges=tuple(
            AddressRange(ip_address(first), ip_address(last), f"{first}-{last}")
            for first, last in ranges
        ),
    )


EDGE = Edge(
    name="edge1",
    address=ip_address("192.0.2.11"),
    address6=ip_address("2001:db8::11"),
    interface="eth0",
)

_INSTANCE = VrrpInstance(
    instance="fairlead",
    interface="eth0",
    vrid=51,
    priority=200,
    advert_interval=0.1,
    preempt=False,
    source=ip_address("192.0.2.11"),
    peers=(ip_address("192.0.2.12"),),
    advertised_address="192.0.2.9/24",
)


def _instance(**changes: object) -> VrrpInstance:
    fields = {name: getattr(_INSTANCE, name) for name in _INSTANCE.__struct_fields__}
    return VrrpInstance(**{**fields, **changes})


KEEPALIVED = {
    "empty": (),
    "no-vips": (_INSTANCE,),
    "mixed-families": (
        _instance(
            preempt=True,
            addresses=tuple(
                ip_address(text)
                for text in ("2001:db8::a1", "192.0.2.200", "192.0.2.21", "2001:db8::a0")
            ),
        ),
    ),
    "one-edge": (_instance(peers=(), addresses=(ip_address("192.0.2.200"),)),),
    "two-instances": (
        _instance(
            instance="fairlead-v6",
            vrid=52,
            advert_interval=1.0,
            source=ip_address("2001:db8::11"),
            peers=(ip_address("2001:db8::13"), ip_address("2001:db8::12")),
            advertised_address="2001:db8::9/64",
            addresses=(ip_address("2001:db8::a0"),),
        ),
        _INSTANCE,
    ),
}

_POOLS = (
    pool("lan", ("192.0.2.160", "192.0.2.191"), ("2001:db8::a0", "2001:db8::bf")),
    pool("odd", ("198.51.100.3", "198.51.100.9")),
)
_PEER = BgpPeer(name="tor1", address=ip_address("192.0.2.1"), asn=64500)

BIRD = {
    "no-peers": (EDGE, BgpSettings(), _POOLS),
    "no-pools": (EDGE, BgpSettings(peers=(_PEER,)), ()),
    # Words of BIRD's own grammar as names of peers.
    "keywords": (
        EDGE,
        BgpSettings(
            peers=tuple(
                BgpPeer(name=name, address=ip_address(f"192.0.2.{number}"), asn=64500)
                for number, name in enumerate(("router", "rt", "bgp", "filter"), start=1)
            )
        ),
        _POOLS,
    ),
    "bfd-and-password": (
        EDGE,
        BgpSettings(
            local_asn=4200000001,
            peers=(
                BgpPeer(
                    name="tor2.v6",
                    address=ip_address("2001:db8::1"),
                    asn=64501,
                    port=1179,
                    hold_time=30,
                    password="s3cret; }",
                ),
                BgpPeer(
                    name="tor1",
                    address=ip_address("192.0.2.1"),
                    asn=64500,
                    bfd=BfdSettings(interval=0.1, multiplier=3),
                ),
                BgpPeer(name="other", address=ip_address("192.0.2.2"), asn=64500, edges=("edge2",)),
            ),
        ),
        _POOLS,
    ),
}

NFT = {
    "empty": (),
    "both-families": tuple(
        MasqueradeTarget(ip_address(address), protocol, port)
        for address, protocol, port in (
            ("2001:db8::a0", Protocol.TCP, 443),
            ("192.0.2.200", Protocol.UDP, 53),
            ("192.0.2.200", Protocol.TCP, 53),
            ("192.0.2.21", Protocol.SCTP, 5060),
        )
    ),
}
