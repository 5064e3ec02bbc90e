# SPDX-License-Identifier: Apache-2.0
"""Advertisements, peers and what they name, checked against each other.

Upstream refuses the whole set where one object clashes with another or names something that is not
there. Here that object is named and left as it was, and all others go on: those in force first,
then the older. The inventory's come before all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from fairlead.model.advertisement import (
    BfdProfile,
    BgpAdvertisement,
    Community,
    L2Advertisement,
)
from fairlead.model.bgp import BfdSettings, BgpPeer
from fairlead.model.communities import parse_community
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import Pool
from fairlead.model.selector import LabelSelector, any_matches
from fairlead.planner.advert_rules import aggregation_problem, local_prefs_fit, pools_of

HOSTNAME = "kubernetes.io/hostname"
ObjectId = tuple[str, ObjectKey]
"""Kind and key."""


class _Named(Protocol):
    @property
    def created(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def key(self) -> ObjectKey: ...


T = TypeVar("T", bound=_Named)
_Problem = tuple[str, str] | None
"""Field and sentence."""


class AdvertObjects(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of the cluster as they are now.

    Attributes:
        broken: Whether the cluster has advertisements that could not even be parsed: they count as
            advertisements, so that a typing error does not let everything out.
    """

    l2: tuple[L2Advertisement, ...] = ()
    bgp: tuple[BgpAdvertisement, ...] = ()
    peers: tuple[BgpPeer, ...] = ()
    profiles: tuple[BfdProfile, ...] = ()
    communities: tuple[Community, ...] = ()
    broken: bool = False


class UsableAdverts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be used, and why the rest can't.

    Attributes:
        bgp: Communities are resolved.
        peers: BFD profiles and our ASN are resolved.
        explicit: Whether any advertisement exists, usable or not.
        in_force: The objects behind it, as they were given.
    """

    l2: tuple[L2Advertisement, ...]
    bgp: tuple[BgpAdvertisement, ...]
    peers: tuple[BgpPeer, ...]
    explicit: bool
    errors: tuple[ObjectError, ...]
    in_force: Mapping[ObjectId, Any]


def edge_labels(edge: Edge) -> Mapping[str, str]:
    """An edge's labels; its name is the label that Kubernetes gives every node."""
    return {HOSTNAME: edge.name, **edge.labels}


def selected_edges(inventory: Inventory, selectors: Sequence[LabelSelector]) -> frozenset[str]:
    """Names of the edges that some selector matches; all where there is none."""
    return frozenset(
        edge.name
        for edge in inventory.edges
        if not selectors or any_matches(selectors, edge_labels(edge))
    )


def peer_edges(inventory: Inventory, peer: BgpPeer) -> frozenset[str]:
    """Names of the edges that peer with a router."""
    chosen = selected_edges(inventory, peer.edge_selectors)
    return chosen & frozenset(peer.edges) if peer.edges else chosen


def usable_adverts(
    inventory: Inventory,
    pools: Iterable[Pool],
    objects: AdvertObjects,
    in_force: Mapping[ObjectId, Any] | None = None,
) -> UsableAdverts:
    """Check all objects; deterministic, whatever their order.

    Args:
        inventory: Its own objects come first.
        pools: Pools in force.
        objects: Those of the cluster.
        in_force: Objects as they were last used; nothing without a past.
    """
    check = _Check(inventory, tuple(pools), in_force or {})
    aliases: dict[str, str] = {}
    for one in check.take_usable(
        "Community", inventory.communities, objects.communities, _alias_clash
    ):
        aliases |= {alias.name: alias.value for alias in one.aliases}
    profiles = {
        one.name: one.settings
        for one in check.take_usable(
            "BFDProfile", inventory.bfd_profiles, objects.profiles, _name_clash
        )
    }
    given = check.take_usable(
        "BGPPeer",
        inventory.bgp.peers,
        objects.peers,
        lambda peer, kept: _peer_problem(inventory, profiles, peer, kept),
    )
    peers = tuple(_resolved(peer, profiles, inventory) for peer in given)
    l2 = check.take_usable(
        "L2Advertisement", inventory.l2_advertisements, objects.l2, lambda _one, _kept: None
    )
    bgp = check.take_usable(
        "BGPAdvertisement",
        inventory.bgp_advertisements,
        objects.bgp,
        lambda one, kept: check.advertisement(one, kept, aliases, peers),
    )
    return UsableAdverts(
        l2=tuple(l2),
        bgp=tuple(_with_communities(one, aliases) for one in bgp),
        peers=tuple(sorted(peers, key=lambda peer: peer.name)),
        explicit=bool(
            objects.broken
            or objects.l2
            or objects.bgp
            or inventory.l2_advertisements
            or inventory.bgp_advertisements
        ),
        errors=tuple(check.errors),
        in_force=check.used,
    )


class _Check:
    """Goes through the kinds and collects what is wrong."""

    def __init__(
        self, inventory: Inventory, pools: tuple[Pool, ...], past: Mapping[ObjectId, Any]
    ) -> None:
        self._inventory, self._pools, self._past = inventory, pools, past
        self.errors: list[ObjectError] = []
        self.used: dict[ObjectId, Any] = {}

    def take_usable(
        self,
        kind: str,
        own: Sequence[T],
        cluster: Sequence[T],
        problem_of: Callable[[T, Sequence[T]], _Problem],
    ) -> list[T]:
        """Take each object that has no problem with those taken before, or its past version."""
        kept: list[T] = []
        for one in (*own, *sorted(cluster, key=lambda one: self._order(kind, one))):
            problem = problem_of(one, kept)
            if problem is None:
                self._keep(kind, one, kept)
                continue
            field, message = problem
            before = self._past.get((kind, one.key)) if one.origin == "cluster" else None
            if before is not None and before != one and problem_of(before, kept) is None:
                self._keep(kind, before, kept)
                message += "; the version before stays in force"
            self._refuse(kind, one, field, message)
        return kept

    def _order(self, kind: str, one: _Named) -> tuple[bool, bool, str, ObjectKey]:
        changed = self._past.get((kind, one.key)) != one
        return changed, not one.created, one.created, one.key

    def _keep(self, kind: str, one: T, kept: list[T]) -> None:
        kept.append(one)
        if one.origin == "cluster":
            self.used[kind, one.key] = one

    def _refuse(self, kind: str, one: _Named, field: str, message: str) -> None:
        self.errors.append(
            ObjectError(
                kind=kind,
                namespace=one.key.namespace,
                name=one.key.name,
                field=field if one.origin == "inventory" else f"spec.{field}",
                message=message,
            )
        )

    def advertisement(
        self,
        one: BgpAdvertisement,
        kept: Sequence[BgpAdvertisement],
        aliases: Mapping[str, str],
        peers: Sequence[BgpPeer],
    ) -> _Problem:
        """What is wrong with a BGPAdvertisement among the others."""
        for index, text in enumerate(one.communities):
            if parse_community_text(text) is None and text not in aliases:
                return f"communities[{index}]", f"no Community defines the alias {text!r}"
        pools = pools_of(one, self._pools)
        wide = (aggregation_problem(one, pool) for pool in pools)
        return (
            next(filter(None, wide), None)
            or _echo_problem(one, pools, peers)
            or self._local_pref_problem(one, kept, pools)
        )

    def _local_pref_problem(
        self, one: BgpAdvertisement, kept: Sequence[BgpAdvertisement], pools: Sequence[Pool]
    ) -> _Problem:
        """A LOCAL_PREF that contradicts another's; serviceSelectors are told apart per Service."""
        if one.service_selectors:
            return None
        edges = selected_edges(self._inventory, one.edge_selectors)
        for other in kept:
            if other.service_selectors or not (
                edges & selected_edges(self._inventory, other.edge_selectors)
            ):
                continue
            for pool in pools_of(other, pools):
                if not local_prefs_fit(one, other, pool):
                    return "localPref", (
                        f"{one.local_pref or 0} differs from {other.local_pref or 0} of "
                        f"{other.name!r} for the same prefixes of pool {pool.name!r}"
                    )
        return None


def _echo_problem(
    one: BgpAdvertisement, pools: Sequence[Pool], peers: Sequence[BgpPeer]
) -> _Problem:
    """BFD echo is for IPv4 alone: no IPv6 pool may go to a peer that has it."""
    six = [pool for pool in pools if any(part.first.version == 6 for part in pool.ranges)]
    for peer in peers if six else ():
        if peer.bfd is not None and peer.bfd.echo and (not one.peers or peer.name in one.peers):
            return "peers", (
                f"peer {peer.name!r} has BFD echo, which can't be together with IPv6: "
                f"pool {six[0].name!r}"
            )
    return None


def parse_community_text(text: str) -> tuple[int, ...] | None:
    """Numbers of a community; None for the name of an alias."""
    try:
        return parse_community(text)
    except ValueError:
        return None


def _name_clash(one: T, kept: Sequence[T]) -> _Problem:
    for other in kept:
        if other.key.name == one.key.name:
            return "name", f"one named {one.key.name!r} is in the {other.origin} already"
    return None


def _alias_clash(one: Community, kept: Sequence[Community]) -> _Problem:
    taken = {alias.name: other for other in kept for alias in other.aliases}
    for index, alias in enumerate(one.aliases):
        if alias.name in taken:
            return f"communities[{index}].name", (
                f"{alias.name!r} is defined in {taken[alias.name].name!r} already"
            )
    return None


def _peer_problem(
    inventory: Inventory,
    profiles: Mapping[str, BfdSettings],
    peer: BgpPeer,
    kept: Sequence[BgpPeer],
) -> _Problem:
    clash = _name_clash(peer, kept)
    if clash is not None:
        return clash
    if peer.bfd_profile and peer.bfd_profile not in profiles:
        return "bfdProfile", f"there is no BFDProfile {peer.bfd_profile!r}"
    place = (peer.address, peer.interface, peer.vrf)
    edges = peer_edges(inventory, peer)
    for other in kept:
        same = (other.address, other.interface, other.vrf) == place
        if same and edges & peer_edges(inventory, other):
            field = "peerAddress" if peer.address else "interface"
            where = peer.address or peer.interface
            return field, f"{other.name!r} is a session to {where} from the same edge already"
    return None


def _resolved(peer: BgpPeer, profiles: Mapping[str, BfdSettings], inventory: Inventory) -> BgpPeer:
    return msgspec.structs.replace(
        peer,
        my_asn=peer.my_asn or inventory.bgp.local_asn,
        bfd=profiles[peer.bfd_profile] if peer.bfd_profile else peer.bfd,
    )


def _with_communities(one: BgpAdvertisement, aliases: Mapping[str, str]) -> BgpAdvertisement:
    texts = (aliases.get(text, text) for text in one.communities)
    return msgspec.structs.replace(one, communities=tuple(dict.fromkeys(texts)))
