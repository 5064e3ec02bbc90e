# SPDX-License-Identifier: Apache-2.0
"""Laws of the IPVS diff, against the table in memory (tests/kernel repeats them on a kernel)."""

from hypothesis import given
from hypothesis import strategies as st

from fairlead.diff.changes import AddDest, DelDest, SetDest
from fairlead.diff.ipvs import dest_key, diff, diff_entry, reorder
from fairlead.edge.ipvs import FakeIpvsTable, reconcile_ipvs, reconcile_virtual_server
from fairlead.model.ipvs import IpvsEntry
from property.strategies_ipvs import OURS, owned, tables


def regardless_of_order(entries):
    return {
        key: (entry.service, tuple(sorted(entry.dests, key=dest_key)))
        for key, entry in entries.items()
    }


def shuffled(draw, entries):
    """The same table as a kernel holds it that lived through another history."""
    return {
        key: IpvsEntry(entry.service, tuple(draw(st.permutations(entry.dests))))
        for key, entry in entries.items()
    }


@given(desired=tables(OURS), actual=tables(), data=st.data())
def test_applied_diff_gives_desired_and_leaves_foreign(desired, actual, data):
    table = FakeIpvsTable(shuffled(data.draw, actual))
    changes = diff(desired, table.dump(), owned)
    assert [result for result in table.apply(changes) if result.code] == []
    foreign = {key: entry for key, entry in actual.items() if not owned(key.ip)}
    assert regardless_of_order(table.dump()) == regardless_of_order({**foreign, **desired})
    assert all(owned(change.key.ip) for change in changes)


@given(desired=tables(), data=st.data())
def test_nothing_to_do_is_no_change(desired, data):
    assert diff(desired, desired, owned) == []
    assert diff(desired, shuffled(data.draw, desired), owned) == []


@given(desired=tables(OURS), actual=tables())
def test_second_reconciliation_does_nothing(desired, actual):
    table = FakeIpvsTable(actual)
    first = reconcile_ipvs(table, desired, owned)
    assert not first.failed
    assert not reconcile_ipvs(table, desired, owned).changed
    assert first.changed == (diff(desired, actual, owned) != [])


@given(desired=tables(OURS), actual=tables())
def test_check_tells_the_same_and_touches_nothing(desired, actual):
    table = FakeIpvsTable(actual)
    checked = reconcile_ipvs(table, desired, owned, check=True)
    assert table.log == []
    assert table.dump() == actual
    done = reconcile_ipvs(table, desired, owned)
    assert (done.changes, done.before, done.after) == (
        checked.changes,
        checked.before,
        checked.after,
    )


@given(desired=tables(OURS), actual=tables(OURS))
def test_one_virtual_server_at_a_time_gives_the_same(desired, actual):
    table = FakeIpvsTable(actual)
    for key in {**desired, **actual}:
        assert not reconcile_virtual_server(table, key, desired.get(key)).failed
    assert regardless_of_order(table.dump()) == regardless_of_order(desired)


@given(desired=tables(OURS), data=st.data())
def test_reorder_gives_canonical_order(desired, data):
    table = FakeIpvsTable(shuffled(data.draw, desired))
    for key, entry in desired.items():
        table.apply(reorder(entry, table.dump_service(key)))
    assert table.dump() == desired


@given(desired=tables(OURS))
def test_cold_build_is_in_canonical_order(desired):
    table = FakeIpvsTable()
    reconcile_ipvs(table, desired, owned)
    assert table.dump() == desired


@given(desired=tables(OURS), actual=tables(OURS))
def test_no_tcp_real_server_is_removed_with_a_weight(desired, actual):
    weights = {(key, dest_key(dest)): dest.weight for key in actual for dest in actual[key].dests}
    for change in diff(desired, actual, owned):
        if isinstance(change, AddDest | SetDest):
            weights[change.key, dest_key(change.dest)] = change.dest.weight
        elif isinstance(change, DelDest) and change.key.protocol == 6:
            assert weights[change.key, dest_key(change.dest)] == 0


@given(desired=tables(OURS), actual=tables(OURS))
def test_no_change_is_sent_twice(desired, actual):
    for key in {**desired, **actual}:
        changes = diff_entry(desired.get(key), actual.get(key))
        assert len(changes) == len(set(map(str, changes)))
