# SPDX-License-Identifier: Apache-2.0
"""The difference of two plans leads from the one to the other, and is nothing between equals."""

import json
from importlib.resources import files

import jsonschema
import msgspec
from hypothesis import HealthCheck, given, settings

from fairlead.diff.plans import Kind, compare_plans, edge_items
from fairlead.model.plan import EdgePlan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.decided import with_decisions
from fairlead.planner.plan import make_plan
from property.strategies_cluster import inventory, snapshots

SCHEMA = json.loads(files("fairlead").joinpath("schema/plandiff.schema.json").read_text())
UNHURRIED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
OPPOSITE = {Kind.ADDED: Kind.REMOVED, Kind.REMOVED: Kind.ADDED, Kind.CHANGED: Kind.CHANGED}


def applied(items: dict, changes) -> dict:
    """Items of an edge after the changes, checked against what they say was there before."""
    items = {item: dict(fields) for item, fields in items.items()}
    for change in changes:
        item = (change.section, change.parent, change.item)
        before = {f.field: f.before for f in change.fields}
        after = {f.field: f.after for f in change.fields}
        if change.kind is Kind.ADDED:
            assert item not in items
            items[item] = after
            continue
        assert before.items() <= items[item].items()
        if change.kind is Kind.REMOVED:
            assert before == items.pop(item)
        else:
            assert before != after
            items[item] |= after
    return items


@UNHURRIED
@given(snapshots(), snapshots())
def test_a_difference_leads_from_one_plan_to_the_other(one: Snapshot, other: Snapshot) -> None:
    before, after = make_plan(one, inventory()), make_plan(other, inventory())
    diff = compare_plans(before, after)
    jsonschema.validate(json.loads(msgspec.json.encode(diff)), SCHEMA)
    changes = {edge.edge: edge.changes for edge in diff.edges}
    for name in before.edges.keys() | after.edges.keys():
        old, new = (plan.edges.get(name, EdgePlan()) for plan in (before, after))
        assert applied(edge_items(old), changes.get(name, ())) == edge_items(new)
    held = {str(plan.key): tuple(map(str, plan.addresses)) for plan in before.services}
    for change in diff.services:
        assert held.get(change.service, ()) == change.before
        held[change.service] = change.after
    wanted = {str(plan.key): tuple(map(str, plan.addresses)) for plan in after.services}
    assert {k: v for k, v in held.items() if v} == {k: v for k, v in wanted.items() if v}
    assert diff.same == (not diff.services and not diff.edges)


@UNHURRIED
@given(snapshots(), snapshots())
def test_the_way_back_is_the_opposite(one: Snapshot, other: Snapshot) -> None:
    plans = make_plan(one, inventory()), make_plan(other, inventory())
    there, back = compare_plans(*plans), compare_plans(*reversed(plans))

    def rows(diff, kinds):
        return {
            (edge.edge, kinds[change.kind], change.section, change.parent, change.item)
            for edge in diff.edges
            for change in edge.changes
        }

    assert rows(there, {kind: kind for kind in Kind}) == rows(back, OPPOSITE)
    assert [c.service for c in there.services] == [c.service for c in back.services]


@UNHURRIED
@given(snapshots())
def test_equal_plans_have_no_difference(snapshot: Snapshot) -> None:
    plan = make_plan(snapshot, inventory())
    diff = compare_plans(plan, make_plan(snapshot, inventory()))
    assert diff.same
    assert not diff.services
    assert not diff.edges
    assert diff.unchanged == len(plan.services)


@UNHURRIED
@given(snapshots())
def test_a_plan_carried_out_keeps_its_addresses(snapshot: Snapshot) -> None:
    plan = make_plan(snapshot, inventory())
    again = make_plan(with_decisions(snapshot, plan), inventory())
    after = {decision.key: decision for decision in again.services}
    for decision in plan.services:
        if decision.addresses:
            kept = after[decision.key].addresses[: len(decision.addresses)]
            assert kept == decision.addresses
