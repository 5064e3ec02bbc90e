# SPDX-License-Identifier: Apache-2.0
"""What every front door asks before anything is changed: the plan, and whether edges can have it.

`fairlead plan`, the module `plan` and the agent's start go through here, so that none says yes to
what another, or an edge's daemon, refuses.
"""

from fairlead.model.inventory import Inventory
from fairlead.model.plan import Plan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.plan import make_plan, with_errors
from fairlead.render.check import check_rendering


def checked_plan(snapshot: Snapshot, inventory: Inventory) -> Plan:
    """The plan, with what its edges could not have among the errors.

    Raises:
        InventoryError: An edge could not have its file at all.
    """
    plan = make_plan(snapshot, inventory)
    return with_errors(plan, check_rendering(plan, inventory), snapshot)


def check_inventory(inventory: Inventory) -> None:
    """Refuse an inventory whose edges could not have their files, whatever the cluster holds.

    Raises:
        InventoryError: Names the edge and the field.
    """
    check_rendering(make_plan(Snapshot(), inventory), inventory)
