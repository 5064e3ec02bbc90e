# SPDX-License-Identifier: Apache-2.0
"""Advertisements and peers over the small clusters of `strategies_cluster`.

None of them clashes with another by itself: what is in force after a clash depends on the past,
which a full plan does not have.
"""

from ipaddress import ip_address

from hypothesis import strategies as st

from fairlead.model.advertisement import (
    BgpAdvertisement,
    Community,
    CommunityAlias,
    EdgePreference,
    L2Advertisement,
)
from fairlead.model.bgp import BgpPeer
from fairlead.model.selector import LabelRequirement, LabelSelector
from fairlead.planner.advert_rules import aggregation_problem, pools_of

WHO = {"namespace": "metallb-system", "origin": "cluster"}
COMMUNITIES = (Community(name="names", aliases=(CommunityAlias("blue", "65000:2"),)),)

WEB = LabelSelector({"tier": "web"})
EDGES = [
    LabelSelector({"kubernetes.io/hostname": "edge1"}),
    LabelSelector({}, (LabelRequirement("kubernetes.io/hostname", "In", ("edge2", "edge3")),)),
    LabelSelector({"rack": "none"}),
]
pools = st.sampled_from([(), (), ("p",), ("q", "r"), ("nowhere",)])
edges = st.lists(st.sampled_from(EDGES), max_size=2, unique_by=str).map(tuple)
services = st.sampled_from([(), (), (WEB,)])
preferences = st.lists(
    st.builds(EdgePreference, st.sampled_from([1, 50]), st.sampled_from(EDGES)), max_size=2
).map(tuple)


@st.composite
def l2_advertisements(draw) -> L2Advertisement:
    return L2Advertisement(
        name=draw(st.sampled_from(["l2a", "l2b"])),
        pools=draw(pools),
        edge_selectors=draw(edges),
        service_selectors=draw(services),
        interfaces=draw(st.sampled_from([(), (), ("eth0",), ("eth1",), ("eth1", "eth9")])),
        preferences=draw(preferences),
        **WHO,
    )


@st.composite
def bgp_advertisements(draw) -> BgpAdvertisement:
    chosen = draw(services)
    return BgpAdvertisement(
        name=draw(st.sampled_from(["bgpa", "bgpb", "bgpc"])),
        pools=draw(pools),
        edge_selectors=draw(edges),
        service_selectors=chosen,
        peers=draw(st.sampled_from([(), (), ("tor",), ("rack",), ("nobody",)])),
        communities=draw(st.sampled_from([(), ("65000:1",), ("large:1:2:3", "blue")])),
        local_pref=draw(st.sampled_from([None, 100, 200])) if chosen else None,
        **WHO,
    )


@st.composite
def peers(draw) -> BgpPeer:
    name = draw(st.sampled_from(["rack", "six"]))
    return BgpPeer(
        name=name,
        address=ip_address("192.0.2.7" if name == "rack" else "fd00:9::7"),
        asn=64501,
        dual_stack=draw(st.booleans()),
        edge_selectors=draw(edges),
        **WHO,
    )


@st.composite
def aggregates(draw, of_pools) -> list[BgpAdvertisement]:
    """At most one advertisement of wider prefixes, where the pools allow it."""
    one = BgpAdvertisement(
        name="wide",
        pools=draw(pools),
        aggregation_length=draw(st.sampled_from([30, 31])),
        aggregation_length_v6=draw(st.sampled_from([126, 128])),
        **WHO,
    )
    fits = not any(aggregation_problem(one, pool) for pool in pools_of(one, of_pools))
    return [one] if fits and draw(st.booleans()) else []


def some(strategy, count: int = 2):
    """A few objects of different names."""
    return st.lists(strategy, max_size=count, unique_by=lambda one: one.name).map(tuple)
