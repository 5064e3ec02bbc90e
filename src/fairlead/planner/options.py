# SPDX-License-Identifier: Apache-2.0
"""Annotations under `fairlead.io/`: what a Service's owner may ask of its virtual servers.

A value that is not allowed changes nothing: the default is used and a Warning names what is
allowed. The table `ANNOTATIONS` is the one place where an annotation is added; docs/annotations.md
is made from it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fairlead.model.inventory import Inventory
from fairlead.model.names import Forwarding, Protocol
from fairlead.model.plan import SLOW_START_STEPS, PlanEvent
from fairlead.model.schedulers import SCHEDULERS

PREFIX = "fairlead.io/"
FORWARDING = PREFIX + "forwarding"
NODES = PREFIX + "nodes"
ONE_PACKET = PREFIX + "one-packet"
PORT_RANGE = PREFIX + "port-range"
SCHEDULER = PREFIX + "scheduler"
SLOW_START = PREFIX + "slow-start"
WEIGHTS = PREFIX + "weights"

INVALID = "InvalidAnnotation"
MAX_WEIGHT = 65_535
_MAX_NODES = 1000
_MAX_SECONDS = 3600
_MAX_TEXT = 4096
_MAX_DIGITS = 9
_MOST_NAMED = 5

Weights = Mapping[str, int]
"""Weight by node name; the name "" stands for all nodes that are not named."""


class Annotation(msgspec.Struct, frozen=True):
    """One annotation, for the planner and for the reference page.

    Attributes:
        allowed: Allowed values, as the Warning names them.
        default: What holds without it.
        effect: What it does, a sentence.
        parse: Text to value; raises ValueError.
    """

    allowed: str
    default: str
    effect: str
    parse: Callable[[str], Any]


class PortRange(msgspec.Struct, frozen=True):
    """Ports of one protocol, both ends included."""

    first: int
    last: int
    protocol: Protocol


class ServiceOptions(msgspec.Struct, frozen=True):
    """What shapes a Service's virtual servers beyond its spec.

    Attributes:
        nodes: At most this many nodes of policy Cluster.
        one_packet: One-packet scheduling for the Service's UDP ports.
        weights: Constant weights instead of the number of ready endpoints.
        port_range: Ports that are one virtual server, beside the declared ones.
        slow_start: Seconds in which a real server that newly takes traffic reaches its weight.
    """

    forwarding: Forwarding
    scheduler: str
    nodes: int
    one_packet: bool = False
    weights: Weights | None = None
    slow_start: int | None = None
    port_range: PortRange | None = None


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return parse


def _number(first: int, last: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() would take signs, blanks, underscores and other alphabets' digits; and it takes
        # time with the square of the length.
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise ValueError(text)
        number = int(text)
        if not first <= number <= last:
            raise ValueError(text)
        return number

    return parse


_weight = _number(0, MAX_WEIGHT)
_port = _number(1, 65_535)


def _weights(text: str) -> Weights:
    if len(text) > _MAX_TEXT:
        raise ValueError(text)
    found: dict[str, int] = {}
    for entry in text.split(","):
        name, separator, weight = entry.strip().rpartition("=")
        if name in found or bool(name) is not bool(separator):
            raise ValueError(entry)
        found[name] = _weight(weight)
    return found


def _port_range(text: str) -> PortRange:
    ports, _, protocol = text.partition("/")
    first, _, last = ports.partition("-")
    found = PortRange(_port(first), _port(last), Protocol(_one_of("TCP", "UDP")(protocol)))
    if found.first >= found.last:
        raise ValueError(text)
    return found


ANNOTATIONS: Mapping[str, Annotation] = {
    FORWARDING: Annotation(
        ", ".join(mode.value for mode in Forwarding),
        "`forwarding` of the inventory (dsr)",
        "How edges hand packets to real servers.",
        lambda text: Forwarding(_one_of(*Forwarding)(text)),
    ),
    NODES: Annotation(
        f"a number from 1 to {_MAX_NODES}",
        "`nodes_per_service` of the inventory (25)",
        "Policy Cluster: at most so many nodes carry the Service.",
        _number(1, _MAX_NODES),
    ),
    ONE_PACKET: Annotation(
        "true, false",
        "false",
        "UDP: every datagram is scheduled by itself (IPVS one-packet scheduling).",
        _one_of("true", "false"),
    ),
    PORT_RANGE: Annotation(
        "first-last/UDP or first-last/TCP, such as 10000-20000/UDP",
        "declared ports only",
        "These ports of the address go to the pods as one virtual server, each to the same port of "
        "a pod; all ports of a client go to one pod. Declared ports inside are served as declared. "
        "Only in forwarding mode pod, and only without a sharing key.",
        _port_range,
    ),
    SCHEDULER: Annotation(
        ", ".join(SCHEDULERS),
        "`scheduler` of the inventory (mh)",
        "IPVS scheduler; with all but the hashing ones (mh, sh) edges choose each for themselves.",
        _one_of(*SCHEDULERS),
    ),
    SLOW_START: Annotation(
        f"seconds from 1 to {_MAX_SECONDS}",
        "full weight at once",
        f"A real server that newly takes traffic beside others reaches its weight after so long, "
        f"in {SLOW_START_STEPS} steps. Weights are {SLOW_START_STEPS} times as large, for steps.",
        _number(1, _MAX_SECONDS),
    ),
    WEIGHTS: Annotation(
        f"a weight from 0 to {MAX_WEIGHT} for all nodes, or node=weight pairs such as "
        "node1=5,node2=1, or both: node1=5,1",
        "the number of ready endpoints on a node",
        "Constant weights of nodes that have a ready endpoint; 0 takes a node out. "
        "Nodes that are not named keep the default. Not in forwarding mode pod.",
        _weights,
    ),
}
"""Every annotation of ours, by key."""


def options_of(annotations: Mapping[str, str], inventory: Inventory) -> ServiceOptions:
    """Options of a Service; what is not allowed falls back to the inventory's default."""
    found = _parsed(annotations) if annotations else {}
    return ServiceOptions(
        found.get(FORWARDING, inventory.forwarding),
        found.get(SCHEDULER, inventory.scheduler),
        found.get(NODES, inventory.nodes_per_service),
        found.get(ONE_PACKET) == "true",
        found.get(WEIGHTS),
        found.get(SLOW_START),
        found.get(PORT_RANGE),
    )


def option_events(annotations: Mapping[str, str]) -> tuple[PlanEvent, ...]:
    """Warnings: one for each bad value, and one for all annotations under our prefix unknown."""
    ours = sorted(key for key in annotations if key.startswith(PREFIX))
    messages = [
        f'invalid {key}: "{annotations[key]}"; '
        f"allowed are {ANNOTATIONS[key].allowed}; the default is used"
        for key in ours
        if key in ANNOTATIONS and _value(ANNOTATIONS[key], annotations[key]) is None
    ]
    if unknown := [key for key in ours if key not in ANNOTATIONS]:
        messages.append(_unknown(unknown))
    return tuple(PlanEvent("Warning", INVALID, message) for message in messages)


def _unknown(keys: list[str]) -> str:
    """One sentence, however many a tenant writes: each Event is a request of the leader's."""
    named = ", ".join(keys[:_MOST_NAMED])
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    several = "s" if len(keys) > 1 else ""
    return f"unknown annotation{several} {named}{more}; known are {', '.join(ANNOTATIONS)}"


def _parsed(annotations: Mapping[str, str]) -> dict[str, Any]:
    values = {
        key: _value(known, annotations[key])
        for key, known in ANNOTATIONS.items()
        if key in annotations
    }
    return {key: value for key, value in values.items() if value is not None}


def _value(known: Annotation, text: str) -> Any:
    try:
        return known.parse(text)
    except ValueError:
        return None
