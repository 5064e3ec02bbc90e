# SPDX-License-Identifier: Apache-2.0
"""A cluster after a plan's decisions were written: what a change is judged against."""

import msgspec

from fairlead.model.kube import Service
from fairlead.model.plan import Plan, ServicePlan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.requests import POOL_NOTE


def with_decisions(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The snapshot with status and pool note of every Service as the plan decided.

    Services that the plan does not know stay as they are.
    """
    decisions = {decision.key: decision for decision in plan.services}
    services = tuple(
        _written(service, decisions[service.key]) if service.key in decisions else service
        for service in snapshot.services
    )
    return msgspec.structs.replace(snapshot, services=services)


def _written(service: Service, decision: ServicePlan) -> Service:
    annotations = {key: text for key, text in service.annotations.items() if key != POOL_NOTE}
    if decision.pool is not None:
        annotations[POOL_NOTE] = decision.pool
    return msgspec.structs.replace(
        service,
        annotations=annotations,
        ingress=tuple((address, "VIP") for address in decision.addresses),
        ingress_errors=(),
    )
