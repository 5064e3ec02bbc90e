# SPDX-License-Identifier: Apache-2.0
"""From what the loop holds to the frozen view that everybody else reads."""

from fairlead.agent.messages import LoopState
from fairlead.agent.ports import Ports
from fairlead.agent.view import AgentView


def build_view(state: LoopState, ports: Ports, now: float) -> AgentView:
    """The state of this moment; called by the loop alone, in time proportional to the VIPs."""
    planning, kernel = ports.planning, ports.kernel
    plan, inventory = planning.target.plan, planning.inventory
    return AgentView(
        edge=planning.edge.name,
        published=now,
        synced=state.synced,
        leading=state.leading,
        resyncs=state.resyncs,
        last_sync=state.last_sync,
        trouble=state.trouble,
        virtual_servers=tuple(kernel.wanted.values()),
        failures=kernel.failures,
        outcomes=dict(kernel.counts.outcomes),
        changes=dict(kernel.counts.changes),
        errors=(*state.errors.values(), *planning.pool_errors()),
        vips=state.vips,
        failed=plan.failed,
        vrrp=plan.vrrp,
        routes=plan.bgp,
        peers=plan.bgp_peers,
        pools=planning.pool_index(),
        usage=planning.usage(),
        has_pool_namespace=planning.has_namespace(inventory.pool_namespace),
        around=ports.around(),
    )
