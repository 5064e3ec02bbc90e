# SPDX-License-Identifier: Apache-2.0
"""VIPs by who may hold them: each group of VIPs is one VRRP instance (decision 0011).

The group of all edges, in the inventory's order, on the main interface is the inventory's own
instance. Every other group gets a name, a vrid and an advertised address that follow from nothing
but its members, so that all edges agree without talking.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

from fairlead.model.addresses import address_order
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import IPAddress
from fairlead.model.plan import VrrpInstance

TOP_PRIORITY = 200
PRIORITY_STEP = 10
VRIDS = 255


class Member(msgspec.Struct, frozen=True):
    """An edge of a group; `devices` are the interfaces on which VIPs stand there."""

    edge: str
    priority: int
    devices: tuple[str, ...]


class VrrpGroup(msgspec.Struct, frozen=True):
    """Edges that may hold some VIPs, by name."""

    members: tuple[Member, ...]

    def member(self, edge: str) -> Member | None:
        """The member of this name."""
        return next((one for one in self.members if one.edge == edge), None)


def default_group(inventory: Inventory) -> VrrpGroup:
    """All edges, as the inventory ranks them, each on its main interface."""
    devices = {edge.name: (edge.interface,) for edge in inventory.edges}
    return make_group(inventory, devices, {})


def make_group(
    inventory: Inventory, devices: Mapping[str, tuple[str, ...]], scores: Mapping[str, int]
) -> VrrpGroup:
    """The group of some edges.

    Args:
        inventory: Ranks edges that are preferred alike.
        devices: Interfaces by name of the edge.
        scores: Preference by name of the edge; more is better.
    """
    edges = [edge for edge in inventory.edges if edge.name in devices]
    own = {edge.name: edge_priority(edge, inventory) for edge in edges}
    if len({scores.get(edge.name, 0) for edge in edges}) > 1:
        edges.sort(key=lambda edge: (-scores.get(edge.name, 0), -own[edge.name]))
        own = {edge.name: _counted_down(rank) for rank, edge in enumerate(edges)}
    return VrrpGroup(
        tuple(Member(name, own[name], devices[name]) for name in sorted(own)),
    )


def edge_priority(edge: Edge, inventory: Inventory) -> int:
    """VRRP priority: as given, else counted down from 200 in the order of the list."""
    if edge.priority is not None:
        return edge.priority
    return _counted_down([other.name for other in inventory.edges].index(edge.name))


def _counted_down(rank: int) -> int:
    return max(1, TOP_PRIORITY - PRIORITY_STEP * rank)


def group_vrids(
    groups: Iterable[VrrpGroup], default: VrrpGroup, inventory: Inventory
) -> dict[VrrpGroup, int]:
    """A vrid for each group; those that find none left are missing.

    The default group has the inventory's. Any other takes the first free one from the place that
    its hash names, in order of the hashes: a group that comes or goes moves no other, except one
    that wanted the very same place and stands behind it in that order.
    """
    vrids = {default: inventory.vrrp.vrid}
    taken = {inventory.vrrp.vrid}
    wanted = {group: _digest(group, inventory) for group in groups if group != default}
    # First everybody whose first choice is free: who probes must not take another's place.
    late = []
    for group, digest in sorted(wanted.items(), key=lambda row: row[1]):
        vrid = _place(digest)
        if vrid in taken:
            late.append((group, vrid))
        else:
            vrids[group] = vrid
            taken.add(vrid)
    for group, place in late:
        for step in range(1, VRIDS):
            vrid = (place - 1 + step) % VRIDS + 1
            if vrid not in taken:
                vrids[group] = vrid
                taken.add(vrid)
                break
    return vrids


def instance_of(
    group: VrrpGroup,
    vrid: int,
    edge: Edge,
    addresses: tuple[IPAddress, ...],
    inventory: Inventory,
    *,
    is_default: bool,
) -> VrrpInstance | None:
    """A group as one of its edges runs it; None on an edge outside."""
    own = group.member(edge.name)
    if own is None:
        return None
    settings = inventory.vrrp
    name, advertised = settings.instance, settings.advertised_address
    if not is_default:
        name = f"{settings.instance}-{_digest(group, inventory).hex()[:8]}"
        advertised = _advertised(vrid, edge, inventory)
    others = {one.edge for one in group.members} - {edge.name}
    peers = [other.address for other in inventory.edges if other.name in others]
    return VrrpInstance(
        instance=name,
        interface=edge.interface,
        vrid=vrid,
        priority=own.priority,
        advert_interval=settings.advert_interval,
        preempt=settings.preempt,
        source=edge.address,
        peers=tuple(sorted(peers, key=address_order)),
        advertised_address=advertised,
        addresses=addresses,
        devices=() if own.devices == (edge.interface,) else own.devices,
    )


def _digest(group: VrrpGroup, inventory: Inventory) -> bytes:
    parts = [inventory.vrrp.instance, str(inventory.vrrp.vrid)]
    for one in group.members:
        parts += [one.edge, str(one.priority), *one.devices]
    return sha256("\0".join(parts).encode()).digest()


def _place(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") % VRIDS + 1


def _advertised(vrid: int, edge: Edge, inventory: Inventory) -> str:
    """The one address in the adverts: link-local, told apart by the vrid, never used.

    RFC 5798 wants one; a Service's VIP can't be it, because VIPs come and go.
    """
    seed = f"{inventory.vrrp.instance}\0{inventory.vrrp.vrid}".encode()
    place = sha256(seed).digest()[0] % 254 + 1  # 169.254.0.x and 169.254.255.x are reserved
    if edge.address.version == 4:
        return f"169.254.{place}.{vrid}/32"
    return f"fe80::{place:x}:{vrid:x}/128"
