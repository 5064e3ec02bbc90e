# SPDX-License-Identifier: Apache-2.0
"""Annotations of ours: what each does, what is refused, and that a bad one changes nothing."""

from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.planner.nodes import NodeIndex
from fairlead.planner.options import (
    ANNOTATIONS,
    INVALID,
    NODES,
    PORT_RANGE,
    PREFIX,
    SLOW_START,
    WEIGHTS,
    option_events,
    options_of,
)
from fairlead.planner.shape import service_ready_on, shape_events
from support.build import INVENTORY, eps, node, shaped_on, svc

VIP = ip_address("10.0.0.1")
NODE_LIST = tuple(node(f"n{number}", f"192.0.2.{100 + number}") for number in range(1, 6))
ENDPOINTS = eps(
    "x",
    "10.244.0.1@n1",
    "10.244.0.2@n1",
    "10.244.0.3@n2",
    "10.244.0.4@n3 draining",
    "10.244.0.5@n4 unready",
)


def weights(service, endpoints=ENDPOINTS):
    """Weight by number of the node."""
    (server,) = shaped_on(service, (VIP,), (endpoints,), NodeIndex(NODE_LIST), INVENTORY)
    return {int(str(real.address)[-1]): real.weight for real in server.real_servers}


WEIGHTED = {
    "without": ("", {1: 2, 2: 1, 3: 0, 4: 0}),
    "one-for-all": ("7", {1: 7, 2: 7, 3: 0, 4: 0}),
    "by-name-the-rest-counts": ("n1=5", {1: 5, 2: 1, 3: 0, 4: 0}),
    "by-name-and-for-the-rest": ("n2=9, 1", {1: 1, 2: 9, 3: 0, 4: 0}),
    "zero-takes-a-node-out": ("n1=0", {1: 0, 2: 1, 3: 0, 4: 0}),
    "draining-and-unready-stay-at-zero": ("n3=5,n4=5", {1: 2, 2: 1, 3: 0, 4: 0}),
    "unknown-names-are-nobodys": ("n9=5", {1: 2, 2: 1, 3: 0, 4: 0}),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_policy_local(name):
    text, expected = WEIGHTED[name]
    service = svc("x", local=True, annotations={WEIGHTS: text} if text else {})
    assert weights(service) == expected
    assert option_events(service.annotations) == ()


def test_weights_of_policy_cluster():
    assert weights(svc("x", annotations={WEIGHTS: "n1=3,n2=0"})) == {1: 3, 2: 0, 3: 1, 4: 1, 5: 1}


def test_weight_zero_for_all_closes_the_gate():
    service = svc("x", local=True, annotations={WEIGHTS: "0"})
    shaped = shaped_on(service, (VIP,), (ENDPOINTS,), NodeIndex(NODE_LIST), INVENTORY)
    assert not service_ready_on(shaped, VIP)


def test_weights_say_that_pods_have_none():
    notes = {WEIGHTS: "5", f"{PREFIX}forwarding": "pod"}
    (event,) = shape_events(svc("x", annotations=notes), INVENTORY)
    assert (event.type, event.reason) == ("Warning", INVALID)
    assert "forwarding mode pod" in event.message


def test_nodes_of_policy_cluster():
    chosen = weights(svc("x", annotations={NODES: "2"}))
    assert len(chosen) == 2
    fewer = msgspec.structs.replace(INVENTORY, nodes_per_service=1)
    assert options_of({}, fewer).nodes == 1
    assert options_of({NODES: "3"}, fewer).nodes == 3
    assert len(weights(svc("x", local=True, annotations={NODES: "1"}))) == 4, (
        "policy Local takes all"
    )


SLOW = {
    "counted": ("30", "", {1: 20, 2: 10, 3: 0, 4: 0}),
    "constant": ("30", "n1=5", {1: 50, 2: 10, 3: 0, 4: 0}),
    "no-room-above": ("30", "n1=60000", {1: 60000, 2: 1, 3: 0, 4: 0}),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_start_makes_room_for_steps_and_keeps_proportions(name):
    seconds, text, expected = SLOW[name]
    notes = {SLOW_START: seconds, **({WEIGHTS: text} if text else {})}
    service = svc("x", local=True, annotations=notes)
    assert weights(service) == expected
    (server,) = shaped_on(service, (VIP,), (ENDPOINTS,), NodeIndex(NODE_LIST), INVENTORY)
    assert server.slow_start_seconds == 30


HUGE = "0000000019999999999999"  # whose first nine characters are a good number
BAD = {
    NODES: ("0", "-1", "+1", "1001", "1_0", "many", "", "\u0661", "9" * 5000, HUGE),
    WEIGHTS: (
        "",
        "n1",
        "=5",
        "n1=5,n1=6",
        "1,2",
        "n1=-1",
        "n1=65536",
        "n1=5,",
        "x" * 5000,
        HUGE,
        f"n1={HUGE}",
    ),
    f"{PREFIX}forwarding": ("nat", "DSR", ""),
    f"{PREFIX}scheduler": ("random", ""),
    f"{PREFIX}one-packet": ("yes", "True", ""),
    PORT_RANGE: (
        "",
        "10000-20000",
        "10000/UDP",
        "10000-20000/SCTP",
        "10000-20000/udp",
        "20000-10000/UDP",
        "7-7/UDP",
        "0-9/UDP",
        "1-65536/UDP",
        f"1-{HUGE}/UDP",
        "1-2-3/UDP",
        "1-2/UDP/TCP",
        " 1-2/UDP",
    ),
    SLOW_START: ("0", "3601", "30s", "1.5", ""),
}


@pytest.mark.parametrize(("key", "text"), [(key, text) for key in BAD for text in BAD[key]])
def test_bad_value_is_told_and_changes_nothing(key, text):
    (event,) = option_events({key: text})
    assert event.reason == INVALID
    assert f"allowed are {ANNOTATIONS[key].allowed}; the default is used" in event.message
    assert options_of({key: text}, INVENTORY) == options_of({}, INVENTORY)
    others = {other: values[0] for other, values in BAD.items() if other != key}
    good = {NODES: "3", WEIGHTS: "5"}
    mixed = {**others, **good, key: text}
    expected = {name: value for name, value in good.items() if name != key}
    assert options_of(mixed, INVENTORY) == options_of(expected, INVENTORY)


def test_every_annotation_is_in_the_table_of_bad_values():
    assert set(BAD) == set(ANNOTATIONS)


@given(st.dictionaries(st.sampled_from([*ANNOTATIONS, f"{PREFIX}other"]), st.text(max_size=40)))
def test_any_text_is_used_or_told(annotations):
    told = {event.message for event in option_events(annotations)}
    for key in annotations:
        alone = options_of({key: annotations[key]}, INVENTORY)
        refused = any(message.startswith(f"invalid {key}:") for message in told)
        assert not refused or alone == options_of({}, INVENTORY)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (1, "unknown annotation fairlead.io/a00000; known are "),
        (2, "unknown annotations fairlead.io/a00000, fairlead.io/a00001; known are "),
        (10_000, "fairlead.io/a00004 and 9995 more; known are "),
    ],
)
def test_unknown_annotations_are_one_event_however_many(number: int, says: str) -> None:
    notes = {f"{PREFIX}a{index:05}": "x" for index in range(number)}
    (event,) = option_events(notes)
    assert says in event.message
    assert len(event.message) < 1024
