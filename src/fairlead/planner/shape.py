# SPDX-License-Identifier: Apache-2.0
"""A Service with addresses -> virtual servers with real servers and weights (design section 4).

What decides a weight:

| policy, mode | real servers | weight |
|---|---|---|
| Local, node modes | nodes with endpoints | number of ready endpoints, or as annotated |
| Cluster, node modes | eligible nodes, if any endpoint is healthy | 1, or as annotated |
| `pod` | endpoints | 1 |

Terminating endpoints that still serve hold weight 0; only where nothing at all is ready they carry
the weight, as kube-proxy does (KEP-1669).
"""

from collections.abc import Iterable, Sequence

import msgspec

from fairlead.model.addresses import address_order, family_of
from fairlead.model.inventory import Inventory
from fairlead.model.kube import EndpointSlice, Service, ServicePort
from fairlead.model.names import (
    Family,
    Forwarding,
    IPAddress,
    IPNetwork,
    Protocol,
    TrafficPolicy,
)
from fairlead.model.plan import SLOW_START_STEPS, PlanEvent, RealServer, VirtualServer
from fairlead.model.schedulers import HASHING
from fairlead.planner.nodes import NodeIndex, Target
from fairlead.planner.options import (
    INVALID,
    MAX_WEIGHT,
    WEIGHTS,
    PortRange,
    ServiceOptions,
    Weights,
    option_events,
    options_of,
)
from fairlead.planner.port_range import NOT_SERVED, range_obstacle
from fairlead.planner.slices import (
    PodCounts,
    SliceView,
    carrying,
    merge_all_pods,
    merge_nodes,
    merge_pods,
)
from fairlead.planner.sources import admitted_sources, source_events

NO_NODE_PORT = "NoNodePort"
Weighted = tuple[str, IPAddress, int]
"""Node name, node address, weight."""


class ServiceFrame(msgspec.Struct, frozen=True):
    """What a Service's virtual servers are made of beside endpoints and nodes.

    Made when the Service changes, so that a change of readiness costs none of it.

    Attributes:
        addresses: Its VIPs, sorted, each with its family and the networks that are let in.
        ports: Ports that are served, sorted.
        port_range: The range that is served beside them.
        hold_unready: Whether unready real servers stay at weight 0, but for UDP.
    """

    service: Service
    addresses: tuple[tuple[IPAddress, Family, tuple[IPNetwork, ...] | None], ...]
    ports: tuple[ServicePort, ...]
    options: ServiceOptions
    port_range: PortRange | None
    hold_unready: bool


def service_frame(
    service: Service, addresses: Iterable[IPAddress], inventory: Inventory
) -> ServiceFrame:
    """The frame of a Service on the addresses it holds."""
    options = options_of(service.annotations, inventory)
    ports = sorted(service.ports, key=lambda port: (port.protocol.value, port.port))
    if options.forwarding is Forwarding.MASQUERADE:
        ports = [port for port in ports if port.node_port]
    served = options.port_range is not None and not range_obstacle(service, options)
    return ServiceFrame(
        service,
        tuple(
            (address, family, admitted_sources(service, family))
            for address in sorted(addresses, key=address_order)
            for family in (family_of(address),)
        ),
        tuple(ports),
        options,
        options.port_range if served else None,
        inventory.hold_unready,
    )


def shape_service(
    frame: ServiceFrame, slices: Iterable[EndpointSlice | SliceView], nodes: NodeIndex
) -> tuple[VirtualServer, ...]:
    """Virtual servers of one Service on the addresses it holds, sorted.

    `slices` are its EndpointSlices, or views of them counted before.
    """
    views = [item if isinstance(item, SliceView) else SliceView(item) for item in slices]
    servers = []
    for address, family, sources in frame.addresses:
        shaper = _Shaper(frame, address, family, sources, views, nodes)
        servers += [shaper.virtual_server(port) for port in frame.ports]
        if frame.port_range is not None:
            servers.append(shaper.port_range(frame.port_range))
    return tuple(servers)


def service_ready_on(servers: Iterable[VirtualServer], address: IPAddress) -> bool:
    """The announce gate: whether a Service could answer on this address.

    Some virtual server has a real server that takes new connections: for policy Cluster that needs
    a healthy endpoint anywhere, for Local one on a node that may serve it.
    """
    return any(
        server.address == address and any(real.weight for real in server.real_servers)
        for server in servers
    )


def shape_events(service: Service, inventory: Inventory) -> tuple[PlanEvent, ...]:
    """Warnings about what a Service asks and does not get in its virtual servers."""
    events = [*option_events(service.annotations), *source_events(service)]
    options = options_of(service.annotations, inventory)
    if options.port_range is not None and (obstacle := range_obstacle(service, options)):
        events.append(PlanEvent("Warning", NOT_SERVED, obstacle))
    if options.forwarding is Forwarding.MASQUERADE:
        missing = [f"{p.protocol}/{p.port}" for p in service.ports if not p.node_port]
        if missing:
            why = (
                "allocateLoadBalancerNodePorts is false"
                if not service.allocate_node_ports
                else "the Service has none yet"
            )
            events.append(
                PlanEvent(
                    "Warning",
                    NO_NODE_PORT,
                    f"forwarding mode masquerade needs a nodePort for {', '.join(missing)}, "
                    f"but {why}: not served",
                )
            )
    if options.forwarding is Forwarding.POD and options.weights is not None:
        text = f"{WEIGHTS} has no effect: in forwarding mode pod every pod has weight 1"
        events.append(PlanEvent("Warning", INVALID, text))
    return tuple(events)


class _Shaper:
    """Shapes the ports of one Service on one address; node weights are shared between ports."""

    def __init__(  # noqa: PLR0917  # all of it is needed at every port, nothing has a default
        self,
        frame: ServiceFrame,
        address: IPAddress,
        family: Family,
        sources: tuple[IPNetwork, ...] | None,
        views: Sequence[SliceView],
        nodes: NodeIndex,
    ) -> None:
        self._service, self._address, self._views = frame.service, address, views
        self._nodes, self._options = nodes, frame.options
        self._family, self._sources = family, sources
        self._hold_unready = frame.hold_unready
        self._weights: dict[tuple[tuple[int, ...], bool], list[Weighted]] = {}

    def virtual_server(self, port: ServicePort) -> VirtualServer:
        """One port as a virtual server."""
        return self._made(port.protocol, port.port, None, self._real_servers(port))

    def port_range(self, ports: PortRange) -> VirtualServer:
        """A range of ports as a virtual server; its mark is chosen when all ranges are known."""
        counts = merge_all_pods(self._views, self._family)
        reals = _pods(counts, hold=self._holds(ports.protocol))
        return self._made(ports.protocol, ports.first, ports.last, reals)

    def _made(
        self,
        protocol: Protocol,
        port: int,
        last_port: int | None,
        reals: tuple[RealServer, ...],
    ) -> VirtualServer:
        affinity = self._service.affinity_seconds
        scheduler = self._options.scheduler
        flags: tuple[str, ...] = ()
        if scheduler in HASHING:
            # Persistence groups by source address; hashing the port too would let two edges
            # choose different real servers for one client. The streams of a client that uses a
            # range (RTP and RTCP) belong to one pod.
            alone = affinity is not None or last_port is not None
            flags = ("fallback",) if alone else ("fallback", "port")
        slow_start = self._options.slow_start
        return VirtualServer(
            address=self._address,
            protocol=protocol,
            port=port,
            scheduler=scheduler,
            flags=flags,
            forwarding=self._options.forwarding,
            service=self._service.key,
            persistence_seconds=affinity,
            one_packet=self._options.one_packet and protocol is Protocol.UDP,
            source_ranges=self._sources,
            slow_start_seconds=slow_start,
            last_port=last_port,
            real_servers=reals if slow_start is None else _in_steps(reals),
        )

    def _real_servers(self, port: ServicePort) -> tuple[RealServer, ...]:
        views = carrying(self._views, port.name, port.protocol, self._family)
        if not views:
            return ()
        hold = self._holds(port.protocol)
        if self._options.forwarding is Forwarding.POD:
            return _pods(merge_pods(views, port.name, port.protocol), hold=hold)
        number = port.node_port if self._options.forwarding is Forwarding.MASQUERADE else port.port
        return tuple(
            [
                RealServer(address, number, weight)
                for _, address, weight in self._by_node(views, hold)
            ]
        )

    def _holds(self, protocol: Protocol) -> bool:
        """Whether unready real servers stay at weight 0: UDP entries would stay on a dead one."""
        return self._hold_unready and protocol is not Protocol.UDP

    def _by_node(self, views: Sequence[SliceView], hold: bool) -> list[Weighted]:
        key = (tuple([id(view) for view in views]), hold)
        weighted = self._weights.get(key)
        if weighted is None:
            local = self._service.policy is TrafficPolicy.LOCAL
            weighted = self._local(views, hold) if local else self._cluster(views)
            if self._options.weights is not None:
                weighted = _overridden(weighted, self._options.weights)
            self._weights[key] = weighted
        return weighted

    def _local(self, views: Sequence[SliceView], hold: bool) -> list[Weighted]:
        counts = merge_nodes(views)
        names = dict.fromkeys([*counts.ready, *counts.draining, *(counts.idle if hold else ())])
        found = self._nodes.local(names, self._family)
        live = counts.ready
        if not any(name in live for name, _ in found):
            live = counts.draining
        return [(name, at, min(live.get(name, 0), MAX_WEIGHT)) for name, at in found]

    def _cluster(self, views: Sequence[SliceView]) -> list[Weighted]:
        if not any(view.nodes.ready or view.nodes.draining for view in views):
            return []
        targets: list[Target] = self._nodes.cluster(
            self._service.key, self._family, self._options.nodes
        )
        return [(name, address, 1) for name, address in targets]


def _overridden(weighted: Sequence[Weighted], weights: Weights) -> list[Weighted]:
    """Constant weights where a node takes traffic; what drains or is held stays at 0."""
    rest = weights.get("")
    found = []
    for name, address, weight in weighted:
        constant = weights.get(name, rest) if weight else None
        found.append((name, address, weight if constant is None else constant))
    return found


def _in_steps(reals: tuple[RealServer, ...]) -> tuple[RealServer, ...]:
    """Larger weights of the same proportion, so that a weight of 1 has something below it."""
    if max((real.weight for real in reals), default=0) * SLOW_START_STEPS > MAX_WEIGHT:
        return reals
    return tuple(
        RealServer(real.address, real.port, real.weight * SLOW_START_STEPS) for real in reals
    )


def _pods(counts: PodCounts, *, hold: bool) -> tuple[RealServer, ...]:
    taking, quiet = counts.ready, [*counts.draining, *(counts.idle if hold else ())]
    if not taking:
        taking, quiet = counts.draining, counts.idle if hold else []
    reals = [RealServer(address, number, 1) for address, number in taking]
    reals += [RealServer(address, number, 0) for address, number in quiet]
    reals.sort(key=lambda real: (int(real.address), real.port))
    return tuple(reals)
