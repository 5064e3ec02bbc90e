# SPDX-License-Identifier: Apache-2.0
"""Services and pools -> decisions, in one call: for playbooks and for `fairlead plan`."""

from collections.abc import Collection, Iterable

from fairlead.model.inventory import Inventory
from fairlead.model.kube import Namespace, Service
from fairlead.model.plan import ServicePlan
from fairlead.model.pool import Pool
from fairlead.planner.allocator import Allocator
from fairlead.planner.pools import namespace_labels
from fairlead.planner.trail import Trail


def allocate(
    services: Iterable[Service],
    pools: Iterable[Pool],
    namespaces: Iterable[Namespace],
    inventory: Inventory,
    *,
    unusable: Collection[str] = (),
    trail: Trail | None = None,
) -> tuple[ServicePlan, ...]:
    """Decide for all Services at once; sorted by namespace and name.

    Args:
        services: All Services; those that are not ours are passed over, except that one which was
            a LoadBalancer and has an address left in its status loses it.
        pools: Pools without overlap (`fairlead.planner.pools.usable_pools`).
        namespaces: For pools that select namespaces by label.
        inventory: Says which class of Services is ours.
        unusable: Names of pool objects that can't be used: who holds addresses of theirs by its
            pool note keeps them.
        trail: Takes down what was looked at for one Service.
    """
    allocator = Allocator(inventory, pools, namespace_labels(namespaces), unusable, trail)
    for service in services:
        allocator.put(service)
    return tuple(allocator.run())
