# SPDX-License-Identifier: Apache-2.0
"""The laws of tests/property/test_ipvs_diff.py on a real kernel, and kernel against fake."""

from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.diff.changes import AddDest, AddService, DelDest, DelService, SetDest, SetService
from fairlead.diff.ipvs import dest_key, diff
from fairlead.edge.ipvs import FakeIpvsTable, IpvsTable, reconcile_ipvs
from kernel import samples
from property.strategies_ipvs import OURS, owned, tables

pytestmark = pytest.mark.kernel

COUNT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def emptied(table):
    """One table serves all examples: a namespace for each would cost more than the example."""
    table.flush()
    yield table


def regardless_of_order(entries):
    return {
        key: (entry.service, tuple(sorted(entry.dests, key=dest_key)))
        for key, entry in entries.items()
    }


def force(table, entries):
    changes = [AddService(entry.service) for entry in entries.values()]
    changes += [AddDest(key, dest) for key, entry in entries.items() for dest in entry.dests]
    assert not [one for one in table.apply(changes) if one.code]


@COUNT
@given(desired=tables(OURS), actual=tables())
def test_applied_diff_gives_desired_and_leaves_foreign(table, desired, actual):
    with emptied(table):
        force(table, actual)
        assert table.dump() == actual
        changes = diff(desired, table.dump(), owned)
        assert not [one for one in table.apply(changes) if one.code]
        foreign = {key: entry for key, entry in actual.items() if not owned(key.ip)}
        assert regardless_of_order(table.dump()) == regardless_of_order({**foreign, **desired})
        assert not reconcile_ipvs(table, desired, owned).changed


@COUNT
@given(desired=tables(OURS))
def test_cold_build_is_in_canonical_order(table, desired):
    with emptied(table):
        reconcile_ipvs(table, desired, owned)
        assert table.dump() == desired


SERVICES = samples.SERVICES[:3]
CHANGES = st.one_of(
    st.builds(AddService, st.sampled_from(SERVICES)),
    st.builds(SetService, st.sampled_from(SERVICES)),
    st.builds(DelService, st.sampled_from(SERVICES)),
    *(
        st.builds(
            kind,
            st.sampled_from([one.key for one in SERVICES]),
            st.sampled_from(samples.DESTS4[:3]),
        )
        for kind in (AddDest, AddDest, SetDest, DelDest)
    ),
)


@COUNT
@given(changes=st.lists(CHANGES, max_size=25))
def test_fake_answers_as_the_kernel_does(table, changes):
    fake = FakeIpvsTable()
    with emptied(table):
        assert table.apply(changes) == fake.apply(changes)
        assert table.dump() == fake.dump()


def test_tables_are_read_in_the_same_way_from_two_sockets(table, netns):
    force(table, samples.entries())
    with IpvsTable(netns) as second:
        assert second.dump() == table.dump()
