# SPDX-License-Identifier: Apache-2.0
"""Advertisements: which addresses go out by which edge, and how (`metallb.io` objects, inventory).

Where upstream says node, an edge is meant: its labels and interfaces come from the inventory, and
`kubernetes.io/hostname` is its name.
"""

import msgspec

from fairlead.model.bgp import BfdSettings
from fairlead.model.names import ObjectKey
from fairlead.model.selector import LabelSelector


class EdgePreference(msgspec.Struct, frozen=True):
    """`preferredNodeSelectors`: edges that match gain `weight` (1..100); empty matches all."""

    weight: int
    preference: LabelSelector


class L2Advertisement(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses that VRRP announces.

    Attributes:
        pools, pool_selectors: Names and labels of pools, OR-ed; both empty mean every pool.
        edge_selectors: OR-ed; empty means every edge.
        interfaces: Where VIPs stand on an edge; empty means all that the inventory names.
        service_selectors: OR-ed over the labels of Services; empty means every Service.
        preferences: Soft order among the edges; weights add up over advertisements.
        origin: "inventory" or "cluster".
        namespace, created: Of the object, "" for the inventory.
    """

    name: str
    pools: tuple[str, ...] = ()
    pool_selectors: tuple[LabelSelector, ...] = ()
    edge_selectors: tuple[LabelSelector, ...] = ()
    interfaces: tuple[str, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    preferences: tuple[EdgePreference, ...] = ()
    origin: str = "inventory"
    namespace: str = ""
    created: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name of the object; the namespace is "" for the inventory."""
        return ObjectKey(self.namespace, self.name)


class BgpAdvertisement(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses that BGP announces, and with which attributes.

    Attributes:
        aggregation_length, aggregation_length_v6: Length of the announced prefixes.
        local_pref: LOCAL_PREF, None where unset.
        communities: As written: `a:b`, `large:a:b:c`, or the name of an alias.
        peers: Names of peers; empty means all. Unknown names are tolerated.

    The other attributes are those of `L2Advertisement`.
    """

    name: str
    pools: tuple[str, ...] = ()
    pool_selectors: tuple[LabelSelector, ...] = ()
    edge_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    peers: tuple[str, ...] = ()
    aggregation_length: int = 32
    aggregation_length_v6: int = 128
    local_pref: int | None = None
    communities: tuple[str, ...] = ()
    origin: str = "inventory"
    namespace: str = ""
    created: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name of the object; the namespace is "" for the inventory."""
        return ObjectKey(self.namespace, self.name)


class BfdProfile(msgspec.Struct, frozen=True, kw_only=True):
    """BFD settings that peers name (`BfdProfile`); defaults are FRR's, as upstream's."""

    name: str
    settings: BfdSettings = BfdSettings(interval=0.3, multiplier=3)
    origin: str = "inventory"
    namespace: str = ""
    created: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name of the object; the namespace is "" for the inventory."""
        return ObjectKey(self.namespace, self.name)


class CommunityAlias(msgspec.Struct, frozen=True):
    """A name for a community; `value` is `a:b` or `large:a:b:c`."""

    name: str
    value: str


class Community(msgspec.Struct, frozen=True, kw_only=True):
    """A `Community` object: a collection of aliases, each unique over all objects."""

    name: str
    aliases: tuple[CommunityAlias, ...] = ()
    origin: str = "inventory"
    namespace: str = ""
    created: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name of the object; the namespace is "" for the inventory."""
        return ObjectKey(self.namespace, self.name)
