# SPDX-License-Identifier: Apache-2.0
"""VRRP ids of groups: distinct, never the inventory's, and steady while groups come and go."""

from ipaddress import ip_address

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.inventory import VrrpSettings
from fairlead.planner.vrrp_groups import (
    VRIDS,
    Member,
    VrrpGroup,
    default_group,
    group_vrids,
    instance_of,
)
from support.build import EDGES, INVENTORY

DEFAULT = default_group(INVENTORY)


def group(number: int) -> VrrpGroup:
    """A group that differs from others by a device."""
    return VrrpGroup((Member("edge1", 200, (f"eth{number}",)),))


@given(st.sets(st.integers(1, 10_000), max_size=40), st.integers(1, 255))
def test_ids_are_distinct_and_leave_the_inventorys_alone(numbers, own: int) -> None:
    inventory = msgspec.structs.replace(INVENTORY, vrrp=VrrpSettings(vrid=own))
    found = group_vrids([group(n) for n in numbers], DEFAULT, inventory)
    assert found[DEFAULT] == own
    assert len(set(found.values())) == len(found) == len(numbers) + 1
    assert all(1 <= vrid <= VRIDS for vrid in found.values())


@given(st.sets(st.integers(1, 10_000), min_size=1, max_size=12), st.data())
def test_a_group_that_goes_moves_only_who_stood_aside_for_it(numbers, data) -> None:
    gone = data.draw(st.sampled_from(sorted(numbers)))
    before = group_vrids([group(n) for n in numbers], DEFAULT, INVENTORY)
    after = group_vrids([group(n) for n in numbers - {gone}], DEFAULT, INVENTORY)
    alone = {n: group_vrids([group(n)], DEFAULT, INVENTORY)[group(n)] for n in numbers}
    for number in numbers - {gone}:
        if before[group(number)] == alone[number]:  # it has the place of its hash
            assert after[group(number)] == before[group(number)]


def test_254_groups_beside_the_inventorys_and_no_more() -> None:
    found = group_vrids([group(n) for n in range(300)], DEFAULT, INVENTORY)
    assert sorted(found.values()) == list(range(1, 256))


def test_advertised_addresses_of_groups_differ() -> None:
    found = group_vrids([group(n) for n in range(100)], DEFAULT, INVENTORY)
    instances = [
        instance_of(one, vrid, EDGES[0], (), INVENTORY, is_default=False)
        for one, vrid in found.items()
        if one != DEFAULT
    ]
    assert len({one.advertised_address for one in instances}) == 100
    assert len({one.instance for one in instances}) == 100


def test_a_group_over_ipv6_advertises_a_link_local_address_of_that_family() -> None:
    edge = msgspec.structs.replace(EDGES[0], address=ip_address("fd00::11"))
    one = instance_of(group(1), 7, edge, (), INVENTORY, is_default=False)
    assert one.advertised_address.startswith("fe80::")
