# SPDX-License-Identifier: Apache-2.0
"""Pools as the allocator asks them: whose is an address, who may be served, in which order."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_interface

from fairlead.model.addresses import family_of
from fairlead.model.inventory import Inventory
from fairlead.model.kube import Namespace, Service
from fairlead.model.names import Family, IPAddress, ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import Pool

NamespaceLabels = Mapping[str, Mapping[str, str]]


class PoolIndex:
    """Pools by name and by address. Pools do not overlap (`usable_pools` saw to that).

    `reserved` addresses are nobody's, even inside a pool (`reserved_addresses`). `unusable` are
    names of pool objects that are there and of which no version is in force.
    """

    def __init__(
        self,
        pools: Iterable[Pool],
        reserved: Collection[IPAddress] = (),
        unusable: Collection[str] = (),
    ) -> None:
        self._reserved = frozenset(reserved)
        self.by_name = {pool.name: pool for pool in sorted(pools, key=lambda pool: pool.name)}
        self.unusable = frozenset(unusable) - self.by_name.keys()
        rows: dict[int, list[tuple[int, int, Pool]]] = {4: [], 6: []}
        for pool in self.by_name.values():
            for part in pool.ranges:
                rows[part.first.version].append((int(part.first), int(part.last), pool))
        for part_rows in rows.values():
            part_rows.sort(key=lambda row: row[0])
        self._rows = rows
        self._starts = {version: [row[0] for row in rows[version]] for version in rows}
        self._pinned = sorted(
            (pool for pool in self.by_name.values() if pool.selection), key=_pinned_order
        )
        self._open = [pool for pool in self.by_name.values() if pool.selection is None]

    def __len__(self) -> int:
        return len(self.by_name)

    def owner(self, address: IPAddress) -> Pool | None:
        """The pool that contains an address, whether or not it may be used."""
        number = int(address)
        index = bisect_right(self._starts[address.version], number) - 1
        if index < 0:
            return None
        _, last, pool = self._rows[address.version][index]
        return pool if number <= last else None

    def common_owner(self, addresses: Iterable[IPAddress]) -> Pool | None:
        """The one pool that holds all these addresses and allows each."""
        pools = [self.owner(address) for address in addresses]
        first = pools[0] if pools else None
        if first is None or any(pool is not first for pool in pools):
            return None
        return None if any(self.forbids(first, address) for address in addresses) else first

    def forbids(self, pool: Pool, address: IPAddress) -> bool:
        """Whether an address of a pool may not be given to anybody."""
        return bool(self.why_forbidden(pool, address))

    def why_forbidden(self, pool: Pool, address: IPAddress) -> str:
        """Why nobody may have an address of a pool, "" if somebody may."""
        if address in self._reserved:
            return "it is an edge's, a router's or the VRRP group's own"
        return "avoidBuggyIPs: it ends in .0 or .255" if is_avoided(pool, address) else ""

    def holds_over(self, note: str, addresses: Iterable[IPAddress]) -> bool:
        """Whether holders keep addresses although no pool has them (decision 0013).

        Their note names a pool object that can't be used, so nobody knows whether they are still
        in it: to take them away on a slip of the pen would be the worse mistake.
        """
        return note in self.unusable and all(
            self.owner(address) is None and address not in self._reserved for address in addresses
        )

    def is_vip(self, address: IPAddress, note: str = "") -> bool:
        """Whether edges may carry an address in the status of a Service with this pool note.

        It lies in a pool and is not an edge's own, or it is held over.
        """
        if self.owner(address) is None:
            return self.holds_over(note, (address,))
        return address not in self._reserved

    def candidates(
        self, service: Service, labels: NamespaceLabels
    ) -> tuple[list[Pool], list[Pool]]:
        """Pools for automatic choice: first those that select this Service, then the open ones.

        Pinned ones by priority (0 is last), then name; open ones by name.
        """
        pinned = [pool for pool in self._pinned if not closed_to(pool, service, labels)]
        return pinned, [pool for pool in self._open if pool.auto_assign]

    def has_family(self, family: Family) -> bool:
        """Whether any pool has addresses of a family."""
        return bool(self._rows[4 if family is Family.IPV4 else 6])


def closed_to(pool: Pool, service: Service, labels: NamespaceLabels) -> str:
    """Why automatic choice does not look at a pool for a Service, "" if it does."""
    return objection(pool, service, labels) if pool.auto_assign else "autoAssign is false"


def objection(pool: Pool, service: Service, labels: NamespaceLabels) -> str:
    """What a pool's `serviceAllocation` has against a Service, "" if nothing.

    A namespace selector that matches no namespace admits nobody (upstream: everybody).
    """
    selection = pool.selection
    if selection is None:
        return ""
    if selection.namespaces or selection.namespace_selectors:
        namespace = service.key.namespace
        own = labels.get(namespace, {"kubernetes.io/metadata.name": namespace})
        named = namespace in selection.namespaces
        if not named and not any(one.matches(own) for one in selection.namespace_selectors):
            return f"serviceAllocation does not select namespace {namespace!r}"
    if not selection.service_selectors:
        return ""
    if any(one.matches(service.labels) for one in selection.service_selectors):
        return ""
    return "serviceAllocation does not select the labels of the Service"


def is_avoided(pool: Pool, address: IPAddress) -> bool:
    """Whether `avoidBuggyIPs` forbids an address (IPv4 ending in .0 or .255)."""
    return pool.avoid_buggy_ips and address.version == 4 and address.packed[3] in (0, 255)


def reserved_addresses(inventory: Inventory) -> frozenset[IPAddress]:
    """Addresses of the edges, of their routers and in VRRP's adverts.

    A pool may span the whole LAN; a Service on one of these would take the edges off the network.
    """
    own = [address for edge in inventory.edges for address in (edge.address, edge.address6)]
    peers = [peer.address for peer in inventory.bgp.peers]
    text = inventory.vrrp.advertised_address
    advertised = [ip_interface(text).ip] if text else []
    return frozenset(address for address in (*own, *peers, *advertised) if address is not None)


def namespace_labels(namespaces: Iterable[Namespace]) -> dict[str, Mapping[str, str]]:
    """Labels by namespace."""
    return {namespace.name: namespace.labels for namespace in namespaces}


def usable_pools(
    inventory: Inventory,
    cluster: Iterable[Pool],
    in_force: Mapping[ObjectKey, Pool] | None = None,
) -> tuple[tuple[Pool, ...], tuple[ObjectError, ...]]:
    """The inventory's pools and those of the cluster that clash with none of them.

    Upstream refuses the whole set where two pools overlap. Here the pool that brought the clash is
    named and left as it was, and all others go on: those in force first, then the older.

    Args:
        inventory: Its pools come first; they were checked when it was parsed.
        cluster: Pool objects as they are now.
        in_force: Pool objects as they were last used, by key; nothing without a past.
    """
    past = in_force or {}
    kept = list(inventory.pools)
    errors = []
    order = sorted(
        cluster,
        key=lambda pool: (past.get(pool.key) != pool, not pool.created, pool.created, pool.key),
    )
    for pool in order:
        clash = _first_clash(pool, kept)
        if clash is None:
            kept.append(pool)
            continue
        field, message = clash
        before = past.get(pool.key)
        if before is not None and _first_clash(before, kept) is None:
            kept.append(before)
            message += "; the version before stays in force"
        errors.append(
            ObjectError(
                kind="IPAddressPool",
                namespace=pool.namespace,
                name=pool.name,
                field=field,
                message=message,
            )
        )
    return tuple(kept), tuple(errors)


def unusable_names(
    unreadable: Iterable[ObjectKey], clashes: Iterable[ObjectError]
) -> frozenset[str]:
    """Names of pool objects that can't be used as they are now."""
    return frozenset(key.name for key in unreadable) | {error.name for error in clashes}


def _first_clash(pool: Pool, others: Iterable[Pool]) -> tuple[str, str] | None:
    return next(filter(None, (_clash(pool, other) for other in others)), None)


def _clash(pool: Pool, other: Pool) -> tuple[str, str] | None:
    if pool.name == other.name:
        return "metadata.name", f"a pool named {pool.name!r} is in the {other.origin} already"
    for index, part in enumerate(pool.ranges):
        for taken in other.ranges:
            if part.overlaps(taken):
                message = (
                    f"{part.text!r} overlaps with already defined {taken.text!r} "
                    f"of pool {other.name!r}"
                )
                return f"spec.addresses[{index}]", message
    return None


def _pinned_order(pool: Pool) -> tuple[bool, int, str]:
    priority = pool.selection.priority if pool.selection else 0
    return priority == 0, priority, pool.name


def range_numbers(pool: Pool, family: Family) -> list[tuple[int, int, int]]:
    """Ranges of one family in the order of the spec: (index, first, last)."""
    return [
        (index, int(part.first), int(part.last))
        for index, part in enumerate(pool.ranges)
        if family_of(part.first) is family
    ]
