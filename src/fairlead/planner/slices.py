# SPDX-License-Identifier: Apache-2.0
"""What one EndpointSlice says, counted once; a change of one slice recounts no other."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec

from fairlead.model.kube import Endpoint, EndpointSlice
from fairlead.model.names import Family, IPAddress, Protocol


class NodeCounts(msgspec.Struct, gc=False):
    """Endpoints by node.

    Attributes:
        ready: Number of ready endpoints.
        draining: Number that terminate but still serve.
        idle: Number that neither serve nor are gone; they may hold connections.
    """

    ready: dict[str, int]
    draining: dict[str, int]
    idle: dict[str, int]

    def __contains__(self, node: str) -> bool:
        return node in self.ready or node in self.draining or node in self.idle


class PodCounts(msgspec.Struct, gc=False):
    """Endpoints one by one, for forwarding mode `pod`; lists of (address, port)."""

    ready: list[tuple[IPAddress, int]]
    draining: list[tuple[IPAddress, int]]
    idle: list[tuple[IPAddress, int]]


class SliceView:
    """An EndpointSlice with what was derived from it. The slice never changes."""

    def __init__(self, source: EndpointSlice) -> None:
        self.source = source
        self.family = source.family
        self.ports = {(port.name, port.protocol): port.port for port in source.ports}
        self.nodes = count_nodes(source.endpoints)

    @cached_property
    def addresses(self) -> frozenset[IPAddress]:
        """First address of each endpoint, which is its identity within a Service."""
        return frozenset(e.addresses[0] for e in self.source.endpoints if e.addresses)


def count_nodes(endpoints: Sequence[Endpoint]) -> NodeCounts:
    """Count endpoints by node; those without a node count under the name ""."""
    ready: dict[str, int] = {}
    draining: dict[str, int] = {}
    idle: dict[str, int] = {}
    for endpoint in endpoints:
        node = endpoint.node
        if endpoint.ready:
            ready[node] = ready.get(node, 0) + 1
        elif endpoint.serving and endpoint.terminating:
            draining[node] = draining.get(node, 0) + 1
        elif not endpoint.terminating:
            idle[node] = idle.get(node, 0) + 1
    return NodeCounts(ready, draining, idle)


def carrying(
    views: Sequence[SliceView], name: str, protocol: Protocol, family: Family
) -> list[SliceView]:
    """Slices of a family that carry a port: pods with a named targetPort may differ in it."""
    key = (name, protocol)
    return [view for view in views if view.family is family and key in view.ports]


def merge_nodes(views: Sequence[SliceView]) -> NodeCounts:
    """Counts over several slices; an endpoint that is in two of them counts once.

    While endpoints move between slices they may be in both (EndpointSlice API, "Duplicate
    endpoints").
    """
    if len(views) == 1:
        return views[0].nodes
    if _distinct(views):
        merged = NodeCounts({}, {}, {})
        for view in views:
            _add(merged.ready, view.nodes.ready)
            _add(merged.draining, view.nodes.draining)
            _add(merged.idle, view.nodes.idle)
        return merged
    endpoints: dict[IPAddress, Endpoint] = {}
    for view in views:
        for endpoint in view.source.endpoints:
            if endpoint.addresses:
                endpoints.setdefault(endpoint.addresses[0], endpoint)
    return count_nodes(list(endpoints.values()))


def merge_pods(views: Sequence[SliceView], name: str, protocol: Protocol) -> PodCounts:
    """Endpoints as (address, port), each once."""
    return _count_pods((view, view.ports[(name, protocol)]) for view in views)


def merge_all_pods(views: Iterable[SliceView], family: Family) -> PodCounts:
    """Endpoints of a family whatever their ports, each once, with port 0."""
    return _count_pods((view, 0) for view in views if view.family is family)


def _count_pods(views: Iterable[tuple[SliceView, int]]) -> PodCounts:
    counts = PodCounts([], [], [])
    seen: set[tuple[IPAddress, int]] = set()
    for view, port in views:
        for endpoint in view.source.endpoints:
            if not endpoint.addresses or (pod := (endpoint.addresses[0], port)) in seen:
                continue
            seen.add(pod)
            if endpoint.ready:
                counts.ready.append(pod)
            elif endpoint.serving and endpoint.terminating:
                counts.draining.append(pod)
            elif not endpoint.terminating:
                counts.idle.append(pod)
    return counts


def _distinct(views: Sequence[SliceView]) -> bool:
    total = sum(len(view.addresses) for view in views)
    return len(frozenset[IPAddress]().union(*(view.addresses for view in views))) == total


def _add(total: dict[str, int], part: dict[str, int]) -> None:
    for node, count in part.items():
        total[node] = total.get(node, 0) + count
