# SPDX-License-Identifier: Apache-2.0
"""Slow start: who rises, how far it is, when the next step is due. Seconds are plain numbers."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.diff.slow_start import eased, left_rising, next_step, rising
from fairlead.model.ipvs import IpProtocol, IpvsDest, IpvsEntry, IpvsService, ServiceKey
from fairlead.model.plan import SLOW_START_STEPS

KEY = ServiceKey.of(IpProtocol.TCP, ip_address("192.0.2.10"), 80)
NAMES = {letter: (ip_address(f"10.0.0.{n}").packed, 80) for n, letter in enumerate("abc", 1)}


def entry(text):
    """`a20 b0`: real servers with weights."""
    dests = [IpvsDest(*NAMES[word[0]], int(word[1:])) for word in text.split()]
    return IpvsEntry(IpvsService(key=KEY, scheduler="mh"), tuple(dests))


def shown(value):
    letters = {name: letter for letter, name in NAMES.items()}
    return " ".join(f"{letters[d.address, d.port]}{d.weight}" for d in value.dests)


def rise(desired, actual, begun, now=100.0):
    """What rises as `b100.0`, of ten seconds; `actual` None where there is no virtual server."""
    known = None if begun is None else {NAMES[name]: since for name, since in begun.items()}
    standing = None if actual is None else entry(actual)
    found = rising(entry(desired), standing, known, 10, now)
    letters = {name: letter for letter, name in NAMES.items()}
    return {letters[name]: since for name, since in found.items()}


WHO = {
    # desired, actual, remembered -> rising since
    "new-beside-another": ("a10 b10", "a10", {}, {"b": 100.0}),
    "back-from-weight-0": ("a10 b10", "a10 b0", {}, {"b": 100.0}),
    "two-at-once-beside-another": ("a10 b10 c10", "a10", {}, {"b": 100.0, "c": 100.0}),
    "new-virtual-server": ("a10 b10", None, None, {}),
    "first-ones": ("a10 b10", "", {}, {}),
    "only-one": ("a10", "a0", {}, {}),
    "more-pods-on-a-node": ("a10 b30", "a10 b20", {}, {}),
    "fewer-pods-on-a-node": ("a10 b10", "a10 b20", {}, {}),
    "goes-on": ("a10 b10", "a10 b2", {"b": 97.0}, {"b": 97.0}),
    "done": ("a10 b10", "a10 b9", {"b": 90.0}, {}),
    "the-full-one-leaves": ("a0 b10", "a10 b3", {"b": 97.0}, {}),
    "drained-meanwhile": ("a10 b0", "a10 b3", {"b": 97.0}, {}),
    "another-process-began": ("a10 b10", "a10 b4", None, {"b": 96.0}),
    "another-process-was-done": ("a10 b10", "a10 b10", None, {}),
}


@pytest.mark.parametrize("row", WHO)
def test_who_rises(row):
    desired, actual, begun, expected = WHO[row]
    assert rise(desired, actual, begun) == expected


STEPS = {0.0: 1, 1.0: 1, 1.9: 1, 2.0: 2, 5.0: 5, 9.9: 9}


@pytest.mark.parametrize("age", STEPS)
def test_weight_rises_in_tenths(age):
    begun = {NAMES["b"]: 100.0 - age}
    assert shown(eased(entry("a20 b10"), begun, 10, 100.0)) == f"a20 b{STEPS[age]}"
    assert shown(eased(entry("a20 b30"), begun, 10, 100.0)) == f"a20 b{3 * STEPS[age]}"


def test_small_weights_are_never_0():
    assert shown(eased(entry("a1 b1"), {NAMES["b"]: 100.0}, 10, 100.0)) == "a1 b1"


@given(st.integers(1, 3600), st.floats(0, 1e6), st.integers(1, 65_535))
def test_a_rise_ends_after_its_steps_and_never_falls(seconds, start, weight):
    begun = {NAMES["b"]: start}
    now, steps, last = start, 0, 0
    while begun:
        found = shown(eased(entry(f"a10 b{weight}"), begun, seconds, now))
        assert last <= int(found.split("b")[1]) <= weight
        last = int(found.split("b")[1])
        now = next_step(begun, seconds, now)
        begun = rising(entry(f"a10 b{weight}"), entry(f"a10 b{last}"), begun, seconds, now)
        steps += 1
        assert steps <= SLOW_START_STEPS
    assert abs(now - start - seconds) < 0.01


LEFT = {
    "on-its-way": ("a10 b10", "a10 b3", "a10 b3"),
    "new": ("a10 b10", "a10", "a10 b10"),
    "held-at-0": ("a10 b10", "a10 b0", "a10 b10"),
    "too-high": ("a10 b10", "a10 b30", "a10 b10"),
    "drained": ("a10 b0", "a10 b3", "a10 b0"),
}


@pytest.mark.parametrize("row", LEFT)
def test_who_changes_the_table_beside_the_agent_leaves_rises_alone(row):
    desired, actual, expected = LEFT[row]
    assert shown(left_rising(entry(desired), entry(actual))) == expected
    assert left_rising(entry(desired), None) == entry(desired)
