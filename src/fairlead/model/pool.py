# SPDX-License-Identifier: Apache-2.0
"""Pools: ranges that Services get addresses from (inventory or `IPAddressPool` objects)."""

from collections.abc import Mapping

import msgspec

from fairlead.model.names import Family, IPAddress, ObjectKey
from fairlead.model.selector import LabelSelector


class AddressRange(msgspec.Struct, frozen=True, gc=False):
    """An inclusive range of one family; `text` is how its owner wrote it."""

    first: IPAddress
    last: IPAddress
    text: str

    @property
    def family(self) -> Family:
        """Family of both ends."""
        return Family.IPV4 if self.first.version == 4 else Family.IPV6

    def __contains__(self, address: IPAddress) -> bool:
        same = address.version == self.first.version
        return same and int(self.first) <= int(address) <= int(self.last)

    def overlaps(self, other: "AddressRange") -> bool:
        """Whether both ranges share an address."""
        same = self.first.version == other.first.version
        return same and int(self.first) <= int(other.last) and int(other.first) <= int(self.last)


class PoolSelection(msgspec.Struct, frozen=True):
    """`serviceAllocation` of a pool: who may be served from it, and in which order.

    Attributes:
        priority: Lower first; 0 is last (as upstream).
        namespaces, namespace_selectors: OR-ed together; both empty admit every namespace.
        service_selectors: OR-ed, AND-ed with the namespace part; empty admits every Service.
    """

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespace_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of addresses.

    Attributes:
        origin: "inventory" or "cluster" (an `IPAddressPool` object).
        selection: None where the pool serves everybody.
        namespace, created: Of the object, "" for the inventory; the older of two pools that
            overlap stays.
    """

    name: str
    ranges: tuple[AddressRange, ...]
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    selection: PoolSelection | None = None
    origin: str = "inventory"
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    namespace: str = ""
    created: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name of the object; the namespace is "" for the inventory's pools."""
        return ObjectKey(self.namespace, self.name)

    def __contains__(self, address: IPAddress) -> bool:
        return any(address in part for part in self.ranges)
