# SPDX-License-Identifier: Apache-2.0
"""Typed inputs whose rendered twins stand beside this file."""

from ipaddress import ip_address

import msgspec

from fairlead.model.bgp import BfdSettings, BgpPeer, DynamicAsn
from fairlead.model.inventory import Edge
from fairlead.model.names import Announce, Protocol
from fairlead.model.plan import (
    BgpAnnouncement,
    BgpPolicy,
    EdgePlan,
    VipAddress,
    VrrpInstance,
)
from fairlead.render import MasqueradeTarget
from fairlead.render.port_marks import PortMark

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
    # VIPs on another interface than the adverts, on two of them, and a group that has not the
    # inventory's own advertised address.
    "devices": (
        _instance(devices=("eth0", "eth1"), addresses=(ip_address("192.0.2.200"),)),
        _instance(
            instance="fairlead-0a1b2c3d",
            vrid=77,
            advertised_address="169.254.17.77/32",
            devices=("eth1",),
            addresses=(ip_address("192.0.2.201"), ip_address("2001:db8::a1")),
        ),
    ),
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

_PEER = BgpPeer(name="tor1", address=ip_address("192.0.2.1"), asn=64500, my_asn=64512)
_LAN = ("192.0.2.160/27",)
_LAN6 = ("2001:db8::a0/123",)


def peer(**changes: object) -> BgpPeer:
    """The usual peer, otherwise."""
    return msgspec.structs.replace(_PEER, **changes)


def policies(
    *peers: str, communities: tuple[str, ...] = (), local_pref: int | None = None
) -> tuple[BgpPolicy, ...]:
    """Host routes of both families of the pool to some peers."""
    return tuple(
        BgpPolicy(
            prefixes=prefixes,
            length=length,
            peers=peers,
            communities=communities,
            local_pref=local_pref,
        )
        for prefixes, length in ((_LAN, 32), (_LAN6, 128))
    )


def vips(*texts: str) -> tuple[VipAddress, ...]:
    """VIPs that stand on the link."""
    return tuple(VipAddress(ip_address(text), (Announce.BGP,), True) for text in texts)


def told(prefix: str, *peers: str, **attributes: object) -> BgpAnnouncement:
    """What some peers hear now."""
    return BgpAnnouncement(prefix=prefix, peers=peers, **attributes)


def _sessions(*peers: BgpPeer) -> EdgePlan:
    names = tuple(one.name for one in peers)
    return EdgePlan(bgp_peers=peers, bgp_policies=policies(*names) if names else ())


BIRD = {
    "no-peers": _sessions(),
    "no-policies": EdgePlan(bgp_peers=(_PEER,)),
    "one-peer": _sessions(_PEER),
    # Words of BIRD's own grammar as names of peers.
    "keywords": _sessions(
        *(
            peer(name=name, address=ip_address(f"192.0.2.{number}"))
            for number, name in enumerate(("router", "rt", "bgp", "filter"), start=1)
        )
    ),
    "bfd-and-password": _sessions(
        peer(
            name="tor2.v6",
            address=ip_address("2001:db8::1"),
            asn=64501,
            my_asn=4200000001,
            port=1179,
            hold_time=30,
            password="s3cret; }",
        ),
        peer(bfd=BfdSettings(interval=0.1, multiplier=3)),
    ),
    "bfd-profile": _sessions(
        peer(
            bfd=BfdSettings(
                receive_interval=0.15, transmit_interval=0.06, multiplier=5, passive=True
            )
        )
    ),
    "session-options": _sessions(
        peer(
            name="far",
            address=ip_address("198.51.100.1"),
            port=1790,
            source_address=ip_address("192.0.2.111"),
            router_id=ip_address("192.0.2.250"),
            local_asn=64999,
            hold_time=90,
            keepalive_time=30,
            connect_time=20,
            ebgp_multihop=True,
            graceful_restart=True,
        ),
        peer(name="external", asn=None, dynamic_asn=DynamicAsn.EXTERNAL, hold_time=0),
        peer(
            name="internal",
            address=ip_address("192.0.2.2"),
            asn=None,
            dynamic_asn=DynamicAsn.INTERNAL,
        ),
        peer(name="red", address=ip_address("10.9.0.1"), vrf="red"),
        peer(name=f"a-very-long-name.{'x' * 100}", address=ip_address("192.0.2.3")),
    ),
    "dual-stack": _sessions(
        peer(dual_stack=True),
        peer(name="tor2", address=ip_address("2001:db8::2"), dual_stack=True),
    ),
    "unnumbered": _sessions(
        peer(name="leaf1", address=None, interface="eth1"),
        peer(name="leaf2", address=None, interface="eth2", bfd=BfdSettings()),
    ),
    "communities": EdgePlan(
        bgp_peers=(_PEER, peer(name="ibgp", address=ip_address("192.0.2.2"), asn=64512)),
        bgp_policies=(
            *policies("tor1", "ibgp", communities=("64512:100", "65535:65281", "large:64512:1:2")),
            *policies("ibgp", communities=("64512:9",), local_pref=200),
        ),
    ),
    # One VIP of a Service that an advertisement selects, one that only some peer hears, one that
    # nobody hears, and one for which the policies say all.
    "exceptions": EdgePlan(
        bgp_peers=(_PEER, peer(name="tor2", address=ip_address("192.0.2.2"))),
        bgp_policies=policies("tor1", communities=("64512:1",)),
        addresses=vips("192.0.2.161", "192.0.2.162", "192.0.2.163", "192.0.2.164", "2001:db8::a1"),
        bgp=(
            told("192.0.2.161/32", "tor1", communities=("64512:1",)),
            told("192.0.2.162/32", "tor1", communities=("64512:1", "64512:7")),
            told("192.0.2.162/32", "tor2", communities=("64512:7",)),
            told("192.0.2.163/32", "tor2"),
            told("2001:db8::a1/128", "tor1", communities=("64512:1",)),
        ),
    ),
    "aggregates": EdgePlan(
        bgp_peers=(_PEER, peer(name="tor2", address=ip_address("2001:db8::2"))),
        bgp_policies=(
            BgpPolicy(prefixes=_LAN, length=27, peers=("tor1",)),
            BgpPolicy(prefixes=_LAN6, length=64, peers=("tor2",)),
        ),
        addresses=vips("192.0.2.161", "2001:db8::a1"),
        bgp=(
            told("192.0.2.160/27", "tor1", communities=("64512:3",)),
            told("2001:db8::/64", "tor2"),
        ),
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

MARKS = {
    "no-marks": frozenset[PortMark](),
    # A range around a declared port, one that is a prefix of port numbers, one of IPv6.
    "marks": frozenset(
        PortMark(ip_address(vip), Protocol(protocol), first, last, mark)
        for vip, protocol, first, last, mark in (
            ("192.0.2.20", "UDP", 10_000, 15_059, 0x0FA00001),
            ("192.0.2.20", "UDP", 15_061, 20_000, 0x0FA00001),
            ("192.0.2.20", "UDP", 20_002, 20_002, 0x0FA00001),
            ("192.0.2.3", "TCP", 16_384, 32_767, 0x0FAFFFFF),
            ("2001:db8::a0", "UDP", 10_000, 20_000, 0x0FA00001),
        )
    ),
}
