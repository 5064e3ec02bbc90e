# SPDX-License-Identifier: Apache-2.0
"""An explanation says what the plan says, whatever is in the cluster."""

import json
from importlib.resources import files
from ipaddress import ip_address, ip_network

import jsonschema
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.model.explanation import Explanation
from fairlead.model.plan import Plan, ServicePlan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.explain import explain
from fairlead.planner.plan import make_plan
from fairlead.planner.requests import is_ours
from property.strategies_cluster import inventory, snapshots

SCHEMA = json.loads(files("fairlead").joinpath("schema/explanation.schema.json").read_text())
UNHURRIED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@UNHURRIED
@given(snapshots(), st.booleans())
def test_an_explanation_is_of_the_plan_that_is_made(snapshot: Snapshot, hold: bool) -> None:
    config = inventory(hold_unready=hold, nodes_per_service=2)
    plan = make_plan(snapshot, config)
    decisions = {decision.key: decision for decision in plan.services}
    for service in snapshot.services:
        story, explained = explain(snapshot, config, service.key)
        assert explained == plan
        assert story.ours == is_ours(service, config)
        decision = decisions.get(service.key, ServicePlan(key=service.key))
        assert story.address.addresses == tuple(map(str, decision.addresses))
        assert story.address.refusal == decision.refusal
        jsonschema.validate(json.loads(msgspec.json.encode(story)), SCHEMA)
        if story.ours:
            check_steps(story, decision)
            check_real_servers(story, decision, plan)
            check_announcements(story, plan)


def check_steps(story: Explanation, decision: ServicePlan) -> None:
    steps = story.address.steps
    for step in steps:
        assert all(one.why for one in step.passed), step
    if decision.addresses:
        last = {}
        for step in steps:
            if step.outcome == "yes":
                last[step.phase] = step.addresses
        # The last success decides; a second family comes beside the first.
        phase = next(p for p in ("choice", "request", "held") if p in last)
        granted = [*last[phase], *last.get("second-family", ())]
        assert set(granted) == set(story.address.addresses)
    elif any(step.phase in ("held", "request", "choice") for step in steps):
        refusal = decision.refusal
        assert refusal is not None
        assert any(
            step.outcome == "no" and refusal.message.endswith(step.message) for step in steps
        )


def check_real_servers(story: Explanation, decision: ServicePlan, plan: Plan) -> None:
    for edge in plan.edges.values():
        planned = {
            (str(s.address), s.protocol.value, s.port): [
                (str(real.address), real.port, real.weight) for real in s.real_servers
            ]
            for s in edge.virtual_servers
            if s.service == decision.key
        }
        told = {
            (s.address, s.protocol, s.port): [
                (t.address, t.port, t.weight) for t in s.targets if t.weight is not None
            ]
            for s in story.virtual_servers
            if s.served
        }
        assert told == planned
    for server in story.virtual_servers:
        assert bool(server.remark) == (not any(t.weight is not None for t in server.targets))
        assert all(target.why for target in server.targets)


def check_announcements(story: Explanation, plan: Plan) -> None:
    for one in story.announcements:
        edge = plan.edges[one.edge]
        if one.way == "vrrp":
            carried = {str(a) for instance in edge.vrrp for a in instance.addresses}
        else:
            networks = [ip_network(route.prefix) for route in edge.bgp]
            carried = {one.address} if any(ip_address(one.address) in n for n in networks) else {}
        assert one.announced == (one.address in carried)
        assert one.announced == (one.reason == "announced")
        assert one.message
    for gate in story.gates:
        assert gate.open == bool(gate.answering)
