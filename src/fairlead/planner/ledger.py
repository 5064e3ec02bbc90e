# SPDX-License-Identifier: Apache-2.0
"""Who holds which address, who may share it, and which is free (metallb reference 2.3, 2.4)."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

import msgspec

from fairlead.model.names import Family, IPAddress, ObjectKey, Protocol
from fairlead.model.pool import Pool
from fairlead.planner.pools import PoolIndex, range_numbers


class Use(msgspec.Struct, frozen=True, gc=False):
    """How a Service uses its addresses.

    Attributes:
        sharing: Key of `allow-shared-ip`, "" for none.
        backend: Selector in canonical form for policy Local, "" for Cluster.
        ports: (protocol, port) pairs.
    """

    key: ObjectKey
    sharing: str
    backend: str
    ports: frozenset[tuple[Protocol, int]]

    def may_share(self, other: "Use") -> bool:
        """Whether keys and backends let both on one address; ports are another question."""
        return bool(self.sharing) and (self.sharing, self.backend) == (other.sharing, other.backend)


class Claim(msgspec.Struct, frozen=True):
    """Addresses of one Service; `use` is None where there are none."""

    use: Use | None
    addresses: tuple[IPAddress, ...]

    def keeps(self, before: "Claim") -> bool:
        """Whether all that was held before is still held and used alike: nothing is set free."""
        return set(before.addresses) <= set(self.addresses) and self.use == before.use


NOTHING = Claim(None, ())


class _Shared:
    """Addresses that Services of one sharing key and backend hold.

    Thousands of Services may carry one key, so each set of ports looks at an address once: what it
    finds unusable stays so until somebody leaves (`forget`).
    """

    def __init__(self) -> None:
        self.addresses: dict[IPAddress, None] = {}
        self._order: list[IPAddress] = []
        self._looked: dict[frozenset[tuple[Protocol, int]], tuple[int, set[IPAddress]]] = {}

    def add(self, address: IPAddress) -> None:
        """Somebody came to an address."""
        if address not in self.addresses:
            self.addresses[address] = None
            self._order.append(address)

    def forget(self) -> None:
        """Somebody left an address."""
        self._order = list(self.addresses)
        self._looked.clear()

    def usable(self, use: Use, fits: Callable[[IPAddress], bool]) -> set[IPAddress]:
        """Addresses that a Service may join."""
        looked, known = self._looked.get(use.ports, (0, set[IPAddress]()))
        usable = {address for address in (*known, *self._order[looked:]) if fits(address)}
        self._looked[use.ports] = (len(self._order), usable)
        return usable


class Ledger:
    """Addresses in use. Claims are checked by the caller with `problem` before `claim`."""

    def __init__(self, pools: PoolIndex) -> None:
        self._pools = pools
        self._users: dict[IPAddress, dict[ObjectKey, Use]] = {}
        self._ports: dict[IPAddress, dict[tuple[Protocol, int], ObjectKey]] = {}
        self._held: dict[ObjectKey, Claim] = {}
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._named: dict[IPAddress, int] = {}
        # First number of a range that may be free, per (pool, range, whether named ones count):
        # everything below is taken. Lowered when an address is released.
        self._cursors: dict[tuple[str, int, bool], int] = {}

    def users(self, address: IPAddress) -> Iterable[ObjectKey]:
        """Services on an address."""
        return self._users.get(address, {}).keys()

    def held(self, key: ObjectKey) -> "Claim":
        """What a Service holds, and how it uses it."""
        return self._held.get(key, NOTHING)

    def problem(self, use: Use, address: IPAddress) -> str:
        """Why a Service can't use an address, in upstream's words; "" if it can."""
        users = self._users.get(address, {})
        # Those on one address all fit together: one of them speaks for the others.
        other = next((user for user in users.values() if user.key != use.key), None)
        if other is None:
            return ""
        if not use.may_share(other):
            names = ",".join(sorted(str(key) for key in users if key != use.key))
            return f'can\'t change sharing key for "{use.key}", address also in use by {names}'
        ports = self._ports[address]
        for protocol, port in sorted(use.ports):
            if ports.get((protocol, port), use.key) != use.key:
                return f'port {protocol}/{port} is already in use on "{address}"'
        return ""

    def claim(self, use: Use, addresses: tuple[IPAddress, ...]) -> None:
        """Give addresses to a Service, instead of what it held."""
        self.release(use.key)
        self._held[use.key] = Claim(use, addresses)
        for address in addresses:
            self._users.setdefault(address, {})[use.key] = use
            self._ports.setdefault(address, {}).update(dict.fromkeys(use.ports, use.key))
            if use.sharing:
                self._shared.setdefault((use.sharing, use.backend), _Shared()).add(address)

    def release(self, key: ObjectKey) -> "Claim":
        """Take a Service's addresses back; return them."""
        claim = self._held.pop(key, NOTHING)
        for address in claim.addresses:
            users = self._users[address]
            use = users.pop(key)
            for port in use.ports:
                self._ports[address].pop(port, None)
            shared = self._shared.get((use.sharing, use.backend))
            if shared is not None:
                if not any(use.may_share(user) for user in users.values()):
                    shared.addresses.pop(address, None)
                shared.forget()
            if not users:
                del self._users[address], self._ports[address]
                self._lower(address)
        return claim

    def name(self, addresses: Iterable[IPAddress]) -> None:
        """Note that some Service asks for these addresses by name: automatic choice avoids them."""
        for address in addresses:
            self._named[address] = self._named.get(address, 0) + 1

    def is_named(self, address: IPAddress) -> bool:
        """Whether some Service asks for this address by name."""
        return address in self._named

    def unname(self, addresses: Iterable[IPAddress]) -> None:
        """Take such a note back."""
        for address in addresses:
            count = self._named.get(address, 0) - 1
            if count > 0:
                self._named[address] = count
            else:
                self._named.pop(address, None)
                self._lower(address)

    def pick(self, pool: Pool, family: Family, use: Use) -> IPAddress | None:
        """The first address of a pool that a Service may use, in the order of the spec.

        With a sharing key that may be an address in use. Addresses that somebody asks for by name
        are taken only where nothing else is left.
        """
        ranges = range_numbers(pool, family)
        for named_too in (False, True) if self._named else (True,):
            for index, first, last in ranges:
                found = self._pick_in(pool, (index, first, last), use, named_too=named_too)
                if found is not None:
                    return found
        return None

    def _pick_in(
        self, pool: Pool, part: tuple[int, int, int], use: Use, *, named_too: bool
    ) -> IPAddress | None:
        index, first, last = part
        version = pool.ranges[index].first.version
        free = self._first_free(pool, part, version, named_too=named_too)
        if not use.sharing:
            return free
        shared = self._shared.get((use.sharing, use.backend))
        if shared is None:
            return free
        limit = last if free is None else int(free)
        usable = [
            address
            for address in shared.usable(use, lambda address: not self.problem(use, address))
            if address.version == version
            and first <= int(address) <= limit
            and not self._pools.forbids(pool, address)
        ]
        return min(usable, key=int, default=free)

    def _first_free(
        self, pool: Pool, part: tuple[int, int, int], version: int, *, named_too: bool
    ) -> IPAddress | None:
        index, first, last = part
        cursor = (pool.name, index, named_too)
        number = self._cursors.get(cursor, first)
        make = IPv4Address if version == 4 else IPv6Address
        found: IPAddress | None = None
        while number <= last:
            address = make(number)
            taken = address in self._users or (not named_too and address in self._named)
            if not taken and not self._pools.forbids(pool, address):
                found = address
                break
            number += 1
        self._cursors[cursor] = number
        return found

    def _lower(self, address: IPAddress) -> None:
        pool = self._pools.owner(address)
        if pool is None:
            return
        number = int(address)
        for index, part in enumerate(pool.ranges):
            if address not in part:
                continue
            for named_too in (False, True):
                cursor = (pool.name, index, named_too)
                if self._cursors.get(cursor, -1) > number:
                    self._cursors[cursor] = number
