# SPDX-License-Identifier: Apache-2.0
"""Advertisements, peers and what they name as they come and go: what is in force of them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fairlead.model.advertisement import BfdProfile, BgpAdvertisement, Community, L2Advertisement
from fairlead.model.bgp import BgpPeer
from fairlead.model.inventory import Inventory
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import Pool
from fairlead.model.snapshot import Snapshot
from fairlead.planner.advert_objects import (
    AdvertObjects,
    ObjectId,
    UsableAdverts,
    usable_adverts,
)
from fairlead.planner.adverts import Advertising

AdvertObject = L2Advertisement | BgpAdvertisement | BgpPeer | BfdProfile | Community
ADVERT_KINDS: Mapping[type[Any], str] = {
    L2Advertisement: "L2Advertisement",
    BgpAdvertisement: "BGPAdvertisement",
    BgpPeer: "BGPPeer",
    BfdProfile: "BFDProfile",
    Community: "Community",
}
_ADVERTISEMENTS = frozenset({"L2Advertisement", "BGPAdvertisement"})


def adverts_of(snapshot: Snapshot, inventory: Inventory, pools: Iterable[Pool]) -> UsableAdverts:
    """What can be used of a snapshot's objects."""
    objects = AdvertObjects(
        l2=_read(snapshot.l2_advertisements, inventory),
        bgp=_read(snapshot.bgp_advertisements, inventory),
        peers=_read(snapshot.bgp_peers, inventory),
        profiles=_read(snapshot.bfd_profiles, inventory),
        communities=_read(snapshot.communities, inventory),
        broken=any(error.kind in _ADVERTISEMENTS for error in snapshot.errors),
    )
    return usable_adverts(inventory, pools, objects)


def _read(objects: Iterable[Any], inventory: Inventory) -> tuple[Any, ...]:
    return tuple(one for one in objects if one.namespace == inventory.pool_namespace)


class AdvertStore:
    """Objects of the one namespace that is read; others are passed over.

    Attributes:
        dirty: Whether something was touched since `take_in_force` was asked.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._readable: dict[str, dict[ObjectKey, Any]] = {
            kind: {} for kind in ADVERT_KINDS.values()
        }
        self._unreadable: set[ObjectId] = set()
        self._in_force: Mapping[ObjectId, Any] = {}
        self.dirty = True
        self.errors: tuple[ObjectError, ...] = ()

    def keys(self, kind: str) -> Collection[ObjectKey]:
        """All objects of a kind, usable or not."""
        return {*self._readable[kind], *(key for of, key in self._unreadable if of == kind)}

    def touch(self) -> None:
        """Let the next `take_in_force` look again."""
        self.dirty = True

    def put(self, value: AdvertObject) -> None:
        """Note an object that came or changed."""
        if value.namespace != self._inventory.pool_namespace:
            return
        kind = ADVERT_KINDS[type(value)]
        was_unreadable = (kind, value.key) in self._unreadable
        self._unreadable.discard((kind, value.key))
        if was_unreadable or self._readable[kind].get(value.key) != value:
            self._readable[kind][value.key] = value
            self.dirty = True

    def put_unreadable(self, kind: str, key: ObjectKey) -> None:
        """Note an object that can't be read as it is now: its last version stays in force."""
        if key.namespace == self._inventory.pool_namespace:
            self._unreadable.add((kind, key))
            self.dirty = True

    def remove(self, kind: str, key: ObjectKey) -> None:
        """Note an object that is gone."""
        gone = self._readable[kind].pop(key, None)
        if gone is not None or (kind, key) in self._unreadable:
            self._unreadable.discard((kind, key))
            self.dirty = True

    def take_in_force(self, pools: Iterable[Pool]) -> Advertising | None:
        """What is in force now, among these pools; None where nothing was touched."""
        if not self.dirty:
            return None
        self.dirty = False
        pools = tuple(pools)
        held = self._readable
        objects = AdvertObjects(
            l2=tuple(held["L2Advertisement"].values()),
            bgp=tuple(held["BGPAdvertisement"].values()),
            peers=tuple(held["BGPPeer"].values()),
            profiles=tuple(held["BFDProfile"].values()),
            communities=tuple(held["Community"].values()),
            broken=any(kind in _ADVERTISEMENTS for kind, _ in self._unreadable),
        )
        usable = usable_adverts(self._inventory, pools, objects, self._in_force)
        self.errors, self._in_force = usable.errors, usable.in_force
        return Advertising(self._inventory, pools, usable)
