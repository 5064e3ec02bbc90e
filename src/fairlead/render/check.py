# SPDX-License-Identifier: Apache-2.0
"""Whether edges could have what a plan gives them, found out by rendering their files.

What renders is what the daemons' grammars and limits allow, so whoever plans need not wait for an
edge to refuse.
"""

from fairlead.model.errors import InventoryError
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import Announce
from fairlead.model.plan import EdgePlan, ObjectError, Plan
from fairlead.render.bird import render_bird
from fairlead.render.keepalived import render_keepalived


def check_rendering(plan: Plan, inventory: Inventory) -> tuple[ObjectError, ...]:
    """Render the files of every edge, as the edges will.

    Returns:
        Sessions that an edge would leave out or run otherwise than asked, each once.

    Raises:
        InventoryError: An edge could not have its file; names the edge and the field.
    """
    errors: dict[ObjectError, None] = {}
    for edge in inventory.edges:
        try:
            errors |= dict.fromkeys(_edge_errors(edge, plan.edges[edge.name], inventory))
        except InventoryError as error:
            raise InventoryError(error.field, f"edge {edge.name}: {error.message}") from None
    return tuple(errors)


def _edge_errors(edge: Edge, plan: EdgePlan, inventory: Inventory) -> tuple[ObjectError, ...]:
    render_keepalived(plan.vrrp)
    if Announce.BGP not in inventory.announce:
        return ()
    # Secrets of the cluster are read on the edge; one that is missing there is told there.
    known = {peer.name: "known-on-the-edge" for peer in plan.bgp_peers if peer.password_secret}
    return render_bird(edge, plan, known).errors
