# SPDX-License-Identifier: Apache-2.0
"""L2Advertisement and BGPAdvertisement: which addresses go out where, and with what attributes."""

from fairlead.crds.communities import communities
from fairlead.crds.definition import Column, Definition, Version
from fairlead.crds.schema import Schema, array, checked, names, number, rule, struct
from fairlead.crds.selectors import selector, selectors

_POOLS = Column("IPAddressPools", "string", ".spec.ipAddressPools")
_POOL_SELECTORS = Column("IPAddressPool Selectors", "string", ".spec.ipAddressPoolSelectors")
_NODES = Column("Node Selectors", "string", ".spec.nodeSelectors", priority=10)


def l2_advertisement() -> Definition:
    """The definition of L2Advertisement."""
    preference = struct(
        "Edges that are liked better.",
        ("preference", "weight"),
        preference=selector("Labels of the edges."),
        weight=number("How much they are liked.", 1, 100),
    )
    spec = struct(
        "What, and where.",
        **_common(),
        interfaces=names("Interfaces to answer on; all of them without any.", "an interface"),
        preferredNodeSelectors=array("Edges that are liked better than others.", preference, 32),
    )
    columns = (
        _POOLS,
        _POOL_SELECTORS,
        Column("Interfaces", "string", ".spec.interfaces"),
        _NODES,
    )
    about = "Makes addresses answer on the LAN of the edges."
    version = Version("v1beta1", about, spec, columns=columns)
    return Definition("L2Advertisement", "l2advertisements", (version,))


def bgp_advertisement() -> Definition:
    """The definition of BGPAdvertisement."""
    spec = struct(
        "What, where, and with which attributes.",
        **_common(),
        aggregationLength=number("Length of IPv4 prefixes.", 1, 32, default=32),
        aggregationLengthV6=number("Length of IPv6 prefixes.", 1, 128, default=128),
        localPref=number("Local preference, for iBGP peers; 0 sets none.", 0, 2**32 - 1,
                         size="int64"),
        communities=communities("BGP communities of the prefixes."),
        peers=names("Peers by name; all of them without any.", "a peer"),
    )  # fmt: skip
    whole = (
        "(!has(self.aggregationLength) || self.aggregationLength == 32)"
        " && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128)"
    )
    checked_spec = checked(
        spec,
        rule(
            f"!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || ({whole})",
            "serviceSelectors and an aggregation length exclude each other: an aggregate speaks "
            "for all of its addresses",
        ),
    )
    columns = (_POOLS, _POOL_SELECTORS, Column("Peers", "string", ".spec.peers"), _NODES)
    about = "Announces addresses to BGP peers."
    version = Version("v1beta1", about, checked_spec, columns=columns)
    return Definition("BGPAdvertisement", "bgpadvertisements", (version,))


def _common() -> dict[str, Schema]:
    return {
        "ipAddressPools": names("Pools by name; with their selectors, either will do.", "a pool"),
        "ipAddressPoolSelectors": selectors("Pools by label.", "a pool"),
        "nodeSelectors": selectors("Edges by label; all of them without any.", "an edge"),
        "serviceSelectors": selectors("Services by label; all of them without any.", "a Service"),
    }
