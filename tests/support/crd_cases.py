# SPDX-License-Identifier: Apache-2.0
"""Manifests for the definitions of metallb.io: what passes, what is refused, and in what words."""

from typing import Any, NamedTuple

V1, V2 = "metallb.io/v1beta1", "metallb.io/v1beta2"


class Case(NamedTuple):
    """`says` are parts of the answer; none for a manifest that passes."""

    name: str
    kind: str
    spec: dict[str, Any]
    says: tuple[str, ...] = ()
    version: str = V1


def pool(*addresses: str, **more: Any) -> dict[str, Any]:
    return {"addresses": list(addresses), **more}


def selector(*terms: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"matchLabels": labels, "matchExpressions": list(terms)}


def term(operator: str, *values: str, key: str = "tier") -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def allocation(**fields: Any) -> dict[str, Any]:
    return pool("192.0.2.0/24", serviceAllocation=fields)


def peer(**fields: Any) -> dict[str, Any]:
    return {"myASN": 64512, "peerASN": 64500, "peerAddress": "192.0.2.1", **fields}


def without(spec: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in names}


P, L2, BGP, PEER, BFD, NAMES = (
    "IPAddressPool",
    "L2Advertisement",
    "BGPAdvertisement",
    "BGPPeer",
    "BFDProfile",
    "Community",
)

GOOD = [
    Case("cidr", P, pool("192.0.2.0/24")),
    Case("cidr-with-host-bits", P, pool("192.0.2.77/24")),
    Case("range", P, pool("192.0.2.9-192.0.2.10")),
    Case("range-of-one", P, pool("192.0.2.9-192.0.2.9")),
    Case("range-with-blanks", P, pool("192.0.2.1 - 192.0.2.200")),
    Case("range-9-to-10", P, pool("9.255.0.1-10.0.0.1")),
    Case("v6", P, pool("2001:db8::/64", "2001:db8:1::f-2001:db8:1::10")),
    Case("v6-halves", P, pool("::1-::ffff", "1:2:3:4:5:6:7:8-1:2:3:4:5:6:7:9", "ff00::-ff00:1::")),
    Case("v6-upper-case", P, pool("2001:DB8::A-2001:db8::b")),
    Case("both-families", P, pool("192.0.2.0/24", "2001:db8::/64")),
    Case("neighbours", P, pool("192.0.2.0/25", "192.0.2.128-192.0.2.200", "192.0.2.201/32")),
    Case("many", P, pool(*(f"10.{n}.0.0-10.{n}.255.255" for n in range(128)))),
    Case("many-v6", P, pool(*(f"2001:db8:{n:x}:ffff:ffff:ffff:ffff:1000-2001:db8:{n:x}:ffff:ffff:"
                              "ffff:ffff:2000" for n in range(128)))),
    Case("one-too-few-to-meet", P, pool("10.0.0.0/9", "10.128.0.0/9", "2001:db8::/33",
                                         "2001:db8:8000::-2001:db8:8000::f")),
    Case("halves-of-v6", P, pool("::/1", "8000::/1")),
    Case("switches", P, pool("192.0.2.0/24", autoAssign=False, avoidBuggyIPs=True)),
    Case("allocation", P, allocation(
        priority=50, namespaces=["a", "b"], namespaceSelectors=[selector(term("Exists"))],
        serviceSelectors=[selector(app="x"), selector(term("In", "a", "b"))])),
    Case("empty-selector", P, allocation(serviceSelectors=[{}])),
    Case("prefixed-label", P, allocation(serviceSelectors=[
        selector(term("DoesNotExist", key="example.com/tier"), **{"a.b/c": "d"})])),
    Case("l2-bare", L2, {}),
    Case("l2-full", L2, {
        "ipAddressPools": ["a", "b"], "ipAddressPoolSelectors": [selector(a="b")],
        "nodeSelectors": [selector(term("NotIn", "x"))], "interfaces": ["eth0", "eth1"],
        "serviceSelectors": [selector(a="b")],
        "preferredNodeSelectors": [{"weight": 100, "preference": {}}]}),
    Case("bgp-bare", BGP, {}),
    Case("bgp-full", BGP, {
        "aggregationLength": 24, "aggregationLengthV6": 64, "localPref": 100,
        "communities": ["65535:65281", "large:1:4294967295:3", "alias"], "peers": ["west"],
        "ipAddressPools": ["a"], "nodeSelectors": [selector(a="b")]}),
    Case("bgp-services", BGP, {"serviceSelectors": [selector(a="b")], "aggregationLength": 32}),
    Case("peer", PEER, peer(), version=V2),
    Case("peer-dynamic", PEER, without(peer(dynamicASN="internal"), "peerASN"), version=V2),
    Case("peer-unnumbered", PEER, without(peer(interface="eth1"), "peerAddress"), version=V2),
    Case("peer-full", PEER, peer(
        localASN=64513, peerPort=1790, sourceAddress="192.0.2.2", routerID="192.0.2.3",
        holdTime="1m30s", keepaliveTime="30s", connectTime="10s", passwordSecret={"name": "s"},
        bfdProfile="fast", ebgpMultiHop=True, vrf="red", dualStackAddressFamily=True,
        nodeSelectors=[selector(a="b")], enableGracefulRestart=True), version=V2),
    Case("peer-empty-strings", PEER, peer(password="", sourceAddress="", passwordSecret={}),
         version=V2),
    Case("peer-hold-off", PEER, peer(holdTime="0s", keepaliveTime="0s"), version=V2),
    Case("peer-v1beta1", PEER, peer(holdTime="9s", nodeSelectors=[selector(term("In", "x"))])),
    Case("bfd", BFD, {
        "receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 2,
        "echoInterval": 50, "echoMode": True, "passiveMode": True, "minimumTtl": 254}),
    Case("community", NAMES, {"communities": [
        {"name": "no-export", "value": "65535:65281"}, {"name": "far", "value": "large:1:2:3"}]}),
]  # fmt: skip

BAD = [
    Case("no-addresses", P, {}, ("spec.addresses", "Required value")),
    Case("empty-addresses", P, pool(), ("spec.addresses", "at least 1")),
    Case("text", P, pool("lan"), ('"lan" is neither a CIDR nor a range first-last',)),
    Case("bare", P, pool("192.0.2.1"), ("single address: write 192.0.2.1/32",)),
    Case("bare-v6", P, pool("2001:db8::1"), ("single address: write 2001:db8::1/128",)),
    Case("prefix", P, pool("192.0.2.0/33"), ('"192.0.2.0/33" is neither a CIDR',)),
    Case("octet", P, pool("192.0.2.0-192.0.2.256"), ("is neither a CIDR nor a range",)),
    Case("blank-before-cidr", P, pool(" 192.0.2.0/24"), ("is neither a CIDR nor a range",)),
    Case("three-ends", P, pool("192.0.2.1-192.0.2.2-192.0.2.3"), ("is neither a CIDR",)),
    Case("second", P, pool("192.0.2.0/24", "x"), ("spec.addresses[1]",)),
    Case("reversed", P, pool("192.0.2.10-192.0.2.9"), ("is reversed",)),
    Case("reversed-octets", P, pool("10.0.0.1-9.255.0.1"), ("is reversed",)),
    Case("reversed-v6", P, pool("2001:db8::10-2001:db8::f"), ("is reversed",)),
    Case("reversed-v6-halves", P, pool("1::-::1"), ("is reversed",)),
    Case("families", P, pool("192.0.2.1-2001:db8::1"), ("one address family to the other",)),
    Case("overlap", P, pool("192.0.2.0/24", "192.0.2.128/25"), ("shares addresses",)),
    Case("overlap-range", P, pool("192.0.2.1-192.0.2.9", "192.0.2.9-192.0.2.20"),
         ("192.0.2.1-192.0.2.9 shares addresses",)),
    Case("overlap-mixed", P, pool("192.0.2.250-192.0.3.5", "192.0.3.0/24"), ("shares addresses",)),
    Case("overlap-v6", P, pool("2001:db8::/64", "2001:db8::9-2001:db8::a"), ("shares addresses",)),
    Case("overlap-halves", P, pool("::/1", "7fff:ffff::-8000::1"), ("shares addresses",)),
    Case("overlap-v6-low-bits", P, pool("2001:db8::/127", "2001:db8::1/128"),
         ("shares addresses",)),
    Case("129-entries", P, pool(*(f"10.{n}.0.0/16" for n in range(129))), ("at most 128",)),
    Case("twice", P, pool("192.0.2.0/24", "192.0.2.0/24"), ("shares addresses",)),
    Case("priority", P, allocation(priority=-1), ("spec.serviceAllocation.priority",)),
    Case("namespace-twice", P, allocation(namespaces=["a", "a"]),
         ("a: a namespace is there twice",)),
    Case("selector-twice", P, allocation(serviceSelectors=[selector(a="b"), selector(a="b")]),
         ("a selector is there twice",)),
    Case("operator", P, allocation(serviceSelectors=[selector(term("Equals", "x"))]),
         ("Unsupported value", '"DoesNotExist"')),
    Case("in-without-values", P, allocation(namespaceSelectors=[selector(term("In"))]),
         ("operator In needs values",)),
    Case("exists-with-values", P, allocation(namespaceSelectors=[selector(term("Exists", "x"))]),
         ("operator Exists takes no values",)),
    Case("label", P, allocation(serviceSelectors=[selector(**{"not a key": "x"})]),
         ("not that of a label",)),
    Case("label-value", P, allocation(serviceSelectors=[selector(a="b c")]),
         ("not that of a label",)),
    Case("l2-pool-twice", L2, {"ipAddressPools": ["a", "b", "a"]}, ("a: a pool is there twice",)),
    Case("l2-weight", L2, {"preferredNodeSelectors": [{"weight": 101, "preference": {}}]},
         ("weight", "less than or equal to 100")),
    Case("l2-node-selector", L2, {"nodeSelectors": [selector(term("NotIn"))]},
         ("operator NotIn needs values",)),
    Case("bgp-length", BGP, {"aggregationLength": 33}, ("aggregationLength", "equal to 32")),
    Case("bgp-length-v6", BGP, {"aggregationLengthV6": 129}, ("aggregationLengthV6", "to 128")),
    Case("bgp-services", BGP, {"serviceSelectors": [selector(a="b")], "aggregationLength": 24},
         ("exclude each other",)),
    Case("bgp-community", BGP, {"communities": ["65536:1"]}, ('"65536:1" is neither a:b',)),
    Case("bgp-large", BGP, {"communities": ["large:1:2"]}, ('"large:1:2" is neither a:b',)),
    Case("bgp-large-value", BGP, {"communities": ["large:1:2:4294967296"]}, ("is neither a:b",)),
    Case("bgp-community-twice", BGP, {"communities": ["1:1", "1:1"]}, ("is there twice",)),
    Case("bgp-64-communities", BGP, {"communities": [f"1:{n}" for n in range(64)]},
         ("spec.communities", "at most 63")),
    Case("peer-my-asn", PEER, without(peer(), "myASN"), ("spec.myASN", "Required"), V2),
    Case("peer-no-asn", PEER, without(peer(), "peerASN"),
         ("exactly one of peerASN and dynamicASN",), V2),
    Case("peer-two-asns", PEER, peer(dynamicASN="external"),
         ("exactly one of peerASN and dynamicASN",), V2),
    Case("peer-two-ends", PEER, peer(interface="eth1"),
         ("exactly one of peerAddress and interface",), V2),
    Case("peer-no-end", PEER, without(peer(), "peerAddress"),
         ("exactly one of peerAddress and interface",), V2),
    Case("peer-address", PEER, peer(peerAddress="router"), ('"router" is not an IP address',), V2),
    Case("peer-router-id", PEER, peer(routerID="2001:db8::1"), ("is not an IPv4 address",), V2),
    Case("peer-port", PEER, peer(peerPort=16385), ("peerPort", "equal to 16384"), V2),
    Case("peer-passwords", PEER, peer(password="x", passwordSecret={"name": "s"}),
         ("password and passwordSecret exclude each other",), V2),
    Case("peer-hold", PEER, peer(holdTime="2s"), ("must be 0s or 3s to 65535s",), V2),
    Case("peer-duration", PEER, peer(holdTime="90"), ('"90" is not a duration',), V2),
    Case("peer-keepalive", PEER, peer(holdTime="9s", keepaliveTime="10s"),
         ("keepaliveTime must not be longer than holdTime",), V2),
    Case("peer-connect", PEER, peer(connectTime="1500ms"), ("must be whole seconds",), V2),
    Case("peer-multihop", PEER, peer(peerASN=64512, ebgpMultiHop=True),
         ("ebgpMultiHop is for eBGP",), V2),
    Case("peer-v1beta1-address", PEER, peer(peerAddress="router"), ("is not an IP address",)),
    Case("bfd-interval", BFD, {"receiveInterval": 9}, ("receiveInterval", "equal to 10")),
    Case("bfd-multiplier", BFD, {"detectMultiplier": 1}, ("detectMultiplier", "equal to 2")),
    Case("bfd-ttl", BFD, {"minimumTtl": 255}, ("minimumTtl", "equal to 254")),
    Case("community-value", NAMES, {"communities": [{"name": "a", "value": "1"}]},
         ('"1" is neither a:b',)),
    Case("community-name", NAMES, {"communities": [{"name": "1:1", "value": "1:1"}]},
         ("a name has no colon",)),
    Case("community-twice", NAMES,
         {"communities": [{"name": "a", "value": "1:1"}, {"name": "a", "value": "1:2"}]},
         ("a name is there twice",)),
]  # fmt: skip
