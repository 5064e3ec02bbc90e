# SPDX-License-Identifier: Apache-2.0
"""`IPAddressPool` objects as they come and go: which version of each is in force.

Only a usable version replaces the one before; what is refused is named (decision 0013).
"""

from collections.abc import Collection

from fairlead.model.inventory import Inventory
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import Pool
from fairlead.planner.pools import PoolIndex, unusable_names, usable_pools


class PoolObjects:
    """Objects of the one namespace that pools are read from; others are passed over.

    Attributes:
        dirty: Whether something was touched since `take_in_force` was asked.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._readable: dict[ObjectKey, Pool] = {}
        self._unreadable: set[ObjectKey] = set()
        self.dirty = True
        self.errors: tuple[ObjectError, ...] = ()

    def keys(self) -> Collection[ObjectKey]:
        """All objects, usable or not."""
        return self._readable.keys() | self._unreadable

    def touch(self) -> None:
        """Let the next `take_in_force` look again."""
        self.dirty = True

    def put(self, pool: Pool) -> None:
        """Note an object that came or changed."""
        if not self._is_read(pool.key):
            return
        self._unreadable.discard(pool.key)
        self._readable[pool.key] = pool
        self.dirty = True

    def put_unreadable(self, key: ObjectKey) -> None:
        """Note an object that can't be read as it is now: its last version stays in force."""
        if self._is_read(key) and key not in self._unreadable:
            self._unreadable.add(key)
            self.dirty = True

    def remove(self, key: ObjectKey) -> None:
        """Note an object that is gone."""
        if self._readable.pop(key, None) is not None or key in self._unreadable:
            self._unreadable.discard(key)
            self.dirty = True

    def take_in_force(self, now: PoolIndex) -> tuple[tuple[Pool, ...], frozenset[str]] | None:
        """Decide anew what is in force instead of `now`; None where nothing was touched.

        Returns:
            The pools, and the names of objects of which no version is in force.
        """
        if not self.dirty:
            return None
        self.dirty = False
        before = {pool.key: pool for pool in now.by_name.values() if pool.origin == "cluster"}
        pools, self.errors = usable_pools(self._inventory, self._readable.values(), before)
        unusable = unusable_names(self._unreadable, self.errors)
        return pools, unusable - {pool.name for pool in pools}

    def _is_read(self, key: ObjectKey) -> bool:
        return key.namespace == self._inventory.pool_namespace
