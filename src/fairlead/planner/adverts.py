# SPDX-License-Identifier: Apache-2.0
"""Which VIP goes out by which edge, and how.

Services are sorted into classes: Services of one pool that match the same advertisements go out
alike, so what they may reach is worked out once per class. Without serviceSelectors the class is
the pool, and a Service costs one look-up.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from fairlead.model.advertisement import BgpAdvertisement, L2Advertisement
from fairlead.model.bgp import BgpPeer
from fairlead.model.communities import MAX_COMMUNITIES, parse_community
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import Service
from fairlead.model.names import Announce, IPAddress, ObjectKey
from fairlead.model.plan import BgpPolicy, VipAddress
from fairlead.model.pool import Pool
from fairlead.model.selector import any_matches
from fairlead.planner.advert_objects import (
    UsableAdverts,
    edge_labels,
    peer_edges,
    selected_edges,
)
from fairlead.planner.advert_rules import (
    announced_within,
    length_for,
    local_prefs_fit,
    pools_of,
)
from fairlead.planner.requests import OLD_PREFIX, PREFIX, SHARING
from fairlead.planner.vrrp_groups import VrrpGroup, default_group, make_group


class Offer(msgspec.Struct, frozen=True):
    """One prefix around a VIP as some peers hear it."""

    length: int
    peers: tuple[str, ...]
    communities: tuple[str, ...] = ()
    local_pref: int | None = None


class ServiceClass(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Advertisements that Services of one pool match, by position; ads for any edge.

    Attributes:
        shared: Carries a sharing key while some L2 advertisement picked it: VRRP is refused.
    """

    pool: str
    l2: tuple[int, ...] = ()
    bgp: tuple[int, ...] = ()
    shared: bool = False


class Reach(msgspec.Struct, frozen=True):
    """How VIPs of some classes go out, in one family.

    Attributes:
        all_ways: Ways of announcing that any edge has, each once.
        ways: Position in `all_ways` by edge.
        group: Edges that hold them by VRRP, None without.
        offers: BGP prefixes by edge.
        failed: Interfaces that advertisements ask of an edge that has none of them, by edge.
        conflicts: Edges on which BGP advertisements contradict each other.
    """

    all_ways: tuple[tuple[Announce, ...], ...]
    ways: Mapping[str, int]
    group: VrrpGroup | None
    offers: Mapping[str, tuple[Offer, ...]]
    failed: Mapping[str, tuple[str, ...]]
    conflicts: frozenset[str]


class VipRow(msgspec.Struct, frozen=True, gc=False):
    """A VIP with what is told to each edge.

    Attributes:
        carried: What edges carry, one for each entry of `Reach.all_ways`.
        users: Services on it, only where some edge fails to announce it.
        source: The only Service on it; None where there are more.
    """

    address: IPAddress
    ready: bool
    reach: Reach
    carried: tuple[VipAddress, ...]
    users: tuple[ObjectKey, ...] = ()
    source: Service | None = None


class _PoolAds(msgspec.Struct, frozen=True):
    """Advertisements for one pool: for every Service, and for chosen ones."""

    plain: ServiceClass
    l2: tuple[int, ...] = ()
    bgp: tuple[int, ...] = ()


class Advertising:
    """What follows from inventory, pools and advertisements. Immutable; answers are remembered."""

    def __init__(self, inventory: Inventory, pools: Iterable[Pool], adverts: UsableAdverts) -> None:
        self.inventory, self.adverts = inventory, adverts
        self.default = default_group(inventory)
        self._pools = {pool.name: pool for pool in sorted(pools, key=lambda pool: pool.name)}
        self._l2_edges = [selected_edges(inventory, ad.edge_selectors) for ad in adverts.l2]
        self._bgp_edges = [selected_edges(inventory, ad.edge_selectors) for ad in adverts.bgp]
        self._ads: dict[str, _PoolAds] = {}
        self._reaches: dict[tuple[tuple[ServiceClass, ...], int], Reach] = {}
        self._groups: dict[VrrpGroup, VrrpGroup] = {self.default: self.default}
        self._peers: dict[str, tuple[BgpPeer, ...]] = {
            edge.name: tuple(
                msgspec.structs.replace(peer, edges=(), edge_selectors=(), bfd_profile="")
                for peer in adverts.peers
                if edge.name in peer_edges(inventory, peer)
            )
            for edge in inventory.edges
        }

    # -- what a Service's VIPs may do --------------------------------------------------------

    def class_of(self, service: Service, pool: str) -> ServiceClass:
        """The class of a Service with an address of this pool."""
        ads = self._ads_of(pool)
        if not ads.l2 and not ads.bgp:
            return ads.plain
        l2 = self._matching(self.adverts.l2, ads.l2, service)
        bgp = self._matching(self.adverts.bgp, ads.bgp, service)
        if not l2 and not bgp:
            return ads.plain
        shared = bool(l2) and any(
            prefix + SHARING in service.annotations for prefix in (PREFIX, OLD_PREFIX)
        )
        return ServiceClass(pool, (*ads.plain.l2, *l2), (*ads.plain.bgp, *bgp), shared)

    def reach(self, classes: Iterable[ServiceClass], version: int) -> Reach:
        """How a VIP goes out that Services of these classes use."""
        distinct = tuple(classes)
        if len(distinct) > 1:
            each = dict.fromkeys(distinct)
            distinct = tuple(sorted(each, key=lambda c: (c.pool, c.l2, c.bgp, c.shared)))
        found = self._reaches.get((distinct, version))
        if found is None:
            found = self._reaches[distinct, version] = self._reach(distinct, version)
        return found

    def row(self, address: IPAddress, users: Sequence[tuple[Service, bool]], pool: str) -> VipRow:
        """A VIP of some Services, each with whether it could answer there now.

        Who can't answer has no say, unless nobody can.
        """
        source: Service | None
        if len(users) == 1:  # the usual case, and there are many
            source, is_ready = users[0]
            counted = [source]
        else:
            source = None
            ready = [service for service, answers in users if answers]
            is_ready, counted = bool(ready), ready or [service for service, _ in users]
        reach = self.reach([self.class_of(service, pool) for service in counted], address.version)
        carried = tuple([VipAddress(address, ways, is_ready) for ways in reach.all_ways])
        keys = tuple(sorted(service.key for service in counted)) if reach.failed else ()
        return VipRow(address, is_ready, reach, carried, keys, source)

    def reaches_edge(self, one: ServiceClass, way: Announce, edge: str) -> bool:
        """Whether any advertisement of a class is for this edge."""
        return bool(self.matching(one, way, edge))

    def matching(self, one: ServiceClass, way: Announce, edge: str) -> tuple[str, ...]:
        """Names of the advertisements of a class that are for this edge."""
        if way is Announce.VRRP:
            return tuple(self.adverts.l2[i].name for i in one.l2 if edge in self._l2_edges[i])
        return tuple(self.adverts.bgp[i].name for i in one.bgp if edge in self._bgp_edges[i])

    def pool_reaches(self, pool: str, edge: str) -> bool:
        """Whether any BGPAdvertisement takes a pool to an edge, for whatever Services."""
        ads = self._ads_of(pool)
        return any(edge in self._bgp_edges[index] for index in (*ads.plain.bgp, *ads.bgp))

    # -- what does not depend on Services ----------------------------------------------------

    def peers(self, edge: str) -> tuple[BgpPeer, ...]:
        """BGP sessions of an edge, resolved; () where the inventory does not announce by BGP."""
        return self._peers[edge] if Announce.BGP in self.inventory.announce else ()

    def policies(self, edge: str) -> tuple[BgpPolicy, ...]:
        """What an edge tells about any VIP of the pools, whoever uses it."""
        within: dict[Offer, set[str]] = {}
        for name, pool in self._pools.items():
            plain = self._ads_of(name).plain
            for version in (4, 6):
                for offer in self.reach((plain,), version).offers.get(edge, ()):
                    networks = announced_within(pool, version, offer.length)
                    within.setdefault(offer, set()).update(map(str, networks))
        return tuple(
            BgpPolicy(
                prefixes=tuple(sorted(prefixes)),
                length=offer.length,
                peers=offer.peers,
                communities=offer.communities,
                local_pref=offer.local_pref,
            )
            for offer, prefixes in sorted(within.items(), key=_offer_order)
            if prefixes
        )

    # -- working it out ----------------------------------------------------------------------

    def _ads_of(self, name: str) -> _PoolAds:
        """Advertisements for a pool; one that is not in force any more has only its name."""
        ads = self._ads.get(name)
        if ads is None:
            pool = self._pools.get(name) or Pool(name=name, ranges=())
            l2, bgp = _for_pool(self.adverts.l2, pool), _for_pool(self.adverts.bgp, pool)
            ads = self._ads[name] = _PoolAds(ServiceClass(name, l2[0], bgp[0]), l2[1], bgp[1])
        return ads

    def _matching(
        self,
        ads: Sequence[L2Advertisement | BgpAdvertisement],
        chosen: tuple[int, ...],
        service: Service,
    ) -> tuple[int, ...]:
        return tuple([i for i in chosen if any_matches(ads[i].service_selectors, service.labels)])

    def _reach(self, classes: tuple[ServiceClass, ...], version: int) -> Reach:
        announce = self.inventory.announce
        group: VrrpGroup | None = None
        failed: dict[str, tuple[str, ...]] = {}
        offers: dict[str, tuple[Offer, ...]] = {}
        conflicts: set[str] = set()
        if not self.adverts.explicit:
            if self.inventory.announce_default:
                group = self.default
                offers = {edge.name: self._all_peers(edge, version) for edge in self._edges}
        else:
            l2 = {index for one in classes if not one.shared for index in one.l2}
            group, failed = self._group(sorted(l2))
            for edge in self._edges:
                offers[edge.name] = self._offers(classes, edge.name, version, conflicts)
        if Announce.VRRP not in announce:
            group, failed = None, {}
        if Announce.BGP not in announce:
            offers = {}
        members = frozenset(one.edge for one in group.members) if group else frozenset()
        ways = {}
        for edge in self._edges:
            here = {Announce.VRRP: edge.name in members, Announce.BGP: offers.get(edge.name)}
            ways[edge.name] = tuple(way for way in Announce if here[way])
        distinct = tuple(dict.fromkeys(ways.values()))
        places = {edge: distinct.index(able) for edge, able in ways.items()}
        return Reach(distinct, places, group, offers, failed, frozenset(conflicts))

    @property
    def _edges(self) -> tuple[Edge, ...]:
        return self.inventory.edges

    def _group(self, indexes: Sequence[int]) -> tuple[VrrpGroup | None, dict[str, tuple[str, ...]]]:
        devices: dict[str, tuple[str, ...]] = {}
        failed: dict[str, tuple[str, ...]] = {}
        scores: dict[str, int] = {}
        for edge in self._edges:
            own = [self.adverts.l2[i] for i in indexes if edge.name in self._l2_edges[i]]
            if not own:
                continue
            has = (edge.interface, *edge.interfaces)
            wanted = {name for ad in own for name in ad.interfaces}
            if any(not ad.interfaces for ad in own):
                wanted = set(has)
            found = tuple(name for name in has if name in wanted)
            if not found:
                failed[edge.name] = tuple(sorted(wanted))
                continue
            devices[edge.name] = found
            labels = edge_labels(edge)
            scores[edge.name] = sum(
                one.weight for ad in own for one in ad.preferences if one.preference.matches(labels)
            )
        if not devices:
            return None, failed
        group = make_group(self.inventory, devices, scores)
        return self._groups.setdefault(group, group), failed

    def _all_peers(self, edge: Edge, version: int) -> tuple[Offer, ...]:
        peers = tuple(p.name for p in self._peers[edge.name] if _carries(p, version))
        return (Offer(32 if version == 4 else 128, peers),) if peers else ()

    def _offers(
        self, classes: tuple[ServiceClass, ...], edge: str, version: int, conflicts: set[str]
    ) -> tuple[Offer, ...]:
        indexes: set[int] = set()
        for one in classes:
            here = [index for index in one.bgp if edge in self._bgp_edges[index]]
            if self._contradict(one.pool, [self.adverts.bgp[index] for index in here]):
                conflicts.add(edge)
            else:
                indexes.update(here)
        heard: dict[tuple[int, str], tuple[set[str], int | None]] = {}
        for ad in [self.adverts.bgp[index] for index in sorted(indexes)]:
            for peer in self._peers[edge]:
                if _carries(peer, version) and (not ad.peers or peer.name in ad.peers):
                    key = (length_for(ad, version), peer.name)
                    _hear(heard, key, ad.communities, ad.local_pref)
        if any(len(communities) > MAX_COMMUNITIES for communities, _ in heard.values()):
            conflicts.add(edge)
            return ()
        return _gathered(heard)

    def _contradict(self, name: str, ads: Sequence[BgpAdvertisement]) -> bool:
        pool = self._pools.get(name)
        return pool is not None and any(
            not local_prefs_fit(one, other, pool)
            for index, one in enumerate(ads)
            for other in ads[index + 1 :]
        )


def _for_pool(
    ads: Sequence[L2Advertisement | BgpAdvertisement], pool: Pool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the advertisements for a pool: for every Service, and for chosen ones."""
    mine = [index for index, ad in enumerate(ads) if pools_of(ad, (pool,))]
    return (
        tuple(index for index in mine if not ads[index].service_selectors),
        tuple(index for index in mine if ads[index].service_selectors),
    )


def _carries(peer: BgpPeer, version: int) -> bool:
    """Whether a session carries prefixes of a family: its own, or both."""
    return peer.dual_stack or peer.address is None or peer.address.version == version


def _gathered(heard: Mapping[tuple[int, str], tuple[set[str], int | None]]) -> tuple[Offer, ...]:
    """Peers that hear the same of one prefix, together."""
    peers: dict[tuple[int, tuple[str, ...], int | None], list[str]] = {}
    for (length, peer), (communities, local_pref) in heard.items():
        ordered = tuple(sorted(communities, key=community_order))
        peers.setdefault((length, ordered, local_pref), []).append(peer)
    offers = [
        Offer(length, tuple(sorted(names)), communities, local_pref)
        for (length, communities, local_pref), names in peers.items()
    ]
    return tuple(sorted(offers, key=lambda offer: (offer.length, offer.peers)))


def merged_offers(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """Several offers of one prefix, one per set of peers: communities unite, the best pref wins."""
    distinct = set(offers)
    if len(distinct) == 1:
        return tuple(distinct)
    heard: dict[tuple[int, str], tuple[set[str], int | None]] = {}
    for offer in distinct:
        for peer in offer.peers:
            _hear(heard, (offer.length, peer), offer.communities, offer.local_pref)
    return _gathered(heard)


def _hear(
    heard: dict[tuple[int, str], tuple[set[str], int | None]],
    key: tuple[int, str],
    communities: Iterable[str],
    local_pref: int | None,
) -> None:
    known, pref = heard.get(key, (set(), None))
    prefs = [one for one in (pref, local_pref) if one is not None]
    heard[key] = (known | set(communities), max(prefs, default=None))


def community_order(text: str) -> tuple[int, tuple[int, ...]]:
    """Sort key: standard before large, then by number."""
    numbers = parse_community(text) or ()
    return len(numbers), numbers


def _offer_order(row: tuple[Offer, set[str]]) -> tuple[int, tuple[str, ...], list[str]]:
    offer, prefixes = row
    return offer.length, offer.peers, sorted(prefixes)
