# SPDX-License-Identifier: Apache-2.0
"""Why a virtual server has these real servers: slices, endpoints per node, what is left out.

Weights are those of the finished plan; the reasons are the answers of the functions that shaping
asks (`slices`, `nodes`, `options`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from fairlead.model.addresses import address_order, family_of
from fairlead.model.explanation import ServerStory, SliceStory, TargetStory
from fairlead.model.inventory import Inventory
from fairlead.model.kube import EndpointSlice, Node, Service, ServicePort
from fairlead.model.names import (
    Family,
    Forwarding,
    IPAddress,
    Protocol,
    TrafficPolicy,
)
from fairlead.model.plan import SLOW_START_STEPS, Plan, RealServer, ServicePlan, VirtualServer
from fairlead.model.snapshot import Snapshot
from fairlead.planner.nodes import cluster_obstacle, local_obstacle
from fairlead.planner.options import WEIGHTS, options_of
from fairlead.planner.port_range import range_obstacle
from fairlead.planner.shape import NO_NODE_PORT
from fairlead.planner.slices import (
    NodeCounts,
    PodCounts,
    SliceView,
    carrying,
    count_nodes,
    merge_all_pods,
    merge_nodes,
    merge_pods,
)


def server_stories(
    service: Service,
    decision: ServicePlan,
    plan: Plan,
    snapshot: Snapshot,
    inventory: Inventory,
) -> tuple[ServerStory, ...]:
    """Every port of a Service on every address that it holds, sorted."""
    teller = _Teller(service, decision, plan, snapshot, inventory)
    ports = sorted(service.ports, key=lambda port: (port.protocol.value, port.port))
    return tuple(
        story
        for address in sorted(decision.addresses, key=address_order)
        for story in (*(teller.story(address, port) for port in ports), *teller.ranges(address))
    )


class _Teller:
    """Tells about the ports of one Service."""

    def __init__(
        self,
        service: Service,
        decision: ServicePlan,
        plan: Plan,
        snapshot: Snapshot,
        inventory: Inventory,
    ) -> None:
        self._service, self._decision = service, decision
        self._snapshot, self._options = snapshot, options_of(service.annotations, inventory)
        own = [item for item in snapshot.slices if item.service == service.key]
        self._views = [SliceView(item) for item in sorted(own, key=lambda item: item.key)]
        self._nodes: Mapping[str, Node] = {node.name: node for node in snapshot.nodes}
        self._servers = {
            (server.address, server.protocol, server.port, server.last_port): server
            for edge in plan.edges.values()
            for server in edge.virtual_servers
            if server.service == service.key
        }

    def story(self, address: IPAddress, port: ServicePort) -> ServerStory:
        """One port on one address."""
        server = self._servers.get((address, port.protocol, port.port, None))
        family = family_of(address)
        views = carrying(self._views, port.name, port.protocol, family)
        targets = self._targets(server, port, views) if server is not None else ()
        return ServerStory(
            address=str(address),
            protocol=port.protocol.value,
            port=port.port,
            last_port=None,
            port_name=port.name,
            served=server is not None,
            how=_how(server, self._service) if server is not None else "",
            remark=self._remark(server, views),
            slices=tuple(_slice_story(view.source, port, family) for view in self._views),
            targets=targets,
        )

    def ranges(self, address: IPAddress) -> Iterator[ServerStory]:
        """The range of ports on one address, if the Service asks for one."""
        ports = self._options.port_range
        if ports is None:
            return
        server = self._servers.get((address, ports.protocol, ports.first, ports.last))
        views = [view for view in self._views if view.family is family_of(address)]
        remark = range_obstacle(self._service, self._options)
        targets: tuple[TargetStory, ...] = ()
        if server is not None:
            remark = self._remark(server, views)
            targets = _pods(server, merge_all_pods(views, family_of(address)), views)
        yield ServerStory(
            address=str(address),
            protocol=ports.protocol.value,
            port=ports.first,
            last_port=ports.last,
            port_name="",
            served=server is not None,
            how=_how(server, self._service) if server is not None else "",
            remark=remark,
            slices=(),
            targets=targets,
        )

    def _remark(self, server: VirtualServer | None, views: Sequence[SliceView]) -> str:
        if server is None:
            events = [e.message for e in self._decision.events if e.reason == NO_NODE_PORT]
            return " ".join(events) or "no virtual server"
        if server.real_servers:
            return ""
        nodes_lack = not self._snapshot.nodes_known and server.forwarding is not Forwarding.POD
        rows = (
            (not self._snapshot.slices_known, "no EndpointSlices in the input"),
            (not self._views, "the Service has no EndpointSlice"),
            (not views, "no EndpointSlice of this family carries the port"),
            (not _healthy(views), "no endpoint is ready, and none that terminates still serves"),
            (nodes_lack, "no Nodes in the input"),
        )
        return next((text for holds, text in rows if holds), "no node of those below may serve")

    def _targets(
        self, server: VirtualServer, port: ServicePort, views: Sequence[SliceView]
    ) -> tuple[TargetStory, ...]:
        if server.forwarding is Forwarding.POD:
            return _pods(server, merge_pods(views, port.name, port.protocol), views)
        family = family_of(server.address)
        counts = merge_nodes(views) if views else NodeCounts({}, {}, {})
        local = self._service.policy is TrafficPolicy.LOCAL
        at = self._addresses(family)
        told = [
            self._serving(real, at.get(real.address, ""), counts, local)
            for real in server.real_servers
        ]
        served = {target.node for target in told}
        everybody = self._nodes.keys() if _healthy(views) else ()
        names = _named(views) if local else everybody
        return (
            *told,
            *(
                TargetStory(
                    node=name,
                    address=None,
                    port=None,
                    weight=None,
                    why=self._left_out(name, family, counts if local else None, server),
                )
                for name in sorted(names)
                if name not in served
            ),
        )

    def _addresses(self, family: Family) -> dict[IPAddress, str]:
        """Node names by the address at which edges reach them."""
        found: dict[IPAddress, str] = {}
        for name in sorted(self._nodes):
            address = _address_of(self._nodes[name], family)
            if address is not None:
                found.setdefault(address, name)
        return found

    def _serving(self, real: RealServer, name: str, counts: NodeCounts, local: bool) -> TargetStory:
        why = _count_text(counts, name) if local else "may serve any endpoint: all nodes alike"
        weights = self._options.weights
        if weights is not None and (name in weights or "" in weights):
            why += f"; {WEIGHTS} says {weights.get(name, weights.get(''))} where it takes traffic"
        if self._options.slow_start is not None and real.weight:
            why += f"; times {SLOW_START_STEPS} for slow start"
        if local and not real.weight:
            why += "; takes nothing new, held connections live on"
        elif local and name not in counts.ready:
            why += "; no node that may serve has a ready one, so those that terminate carry on"
        return TargetStory(
            node=name, address=str(real.address), port=real.port, weight=real.weight, why=why
        )

    def _left_out(
        self, name: str, family: Family, counts: NodeCounts | None, server: VirtualServer
    ) -> str:
        node = self._nodes.get(name)
        if node is None:
            what = "no Node of this name" if name else "endpoints without a nodeName"
            return f"{what} ({_count_text(counts, name)})" if counts is not None else what
        obstacle = local_obstacle(node) if counts is not None else cluster_obstacle(node)
        if _address_of(node, family) is None:
            obstacle = f"it has no {family} address"
        return obstacle or self._passed(name, counts, server)

    def _passed(self, name: str, counts: NodeCounts | None, server: VirtualServer) -> str:
        """Why a node is left out that may serve."""
        if counts is None:
            limit = self._options.nodes
            return f"not among the {limit} nodes chosen for this Service (nodes_per_service)"
        if name in counts.idle:
            udp = server.protocol is Protocol.UDP
            why = "UDP entries would stay on it" if udp else "hold_unready is off"
            return f"{_count_text(counts, name)}; removed: {why}"
        return "its endpoints have terminated"


def _how(server: VirtualServer, service: Service) -> str:
    flags = f" ({', '.join(server.flags)})" if server.flags else ""
    words = [server.forwarding.value, f"{server.scheduler}{flags}"]
    if server.persistence_seconds is not None:
        words.append(f"ClientIP {server.persistence_seconds} s")
    if server.one_packet:
        words.append("one-packet")
    if server.slow_start_seconds is not None:
        words.append(f"slow start {server.slow_start_seconds} s")
    return ", ".join([*words, f"policy {service.policy.value}"])


def _slice_story(item: EndpointSlice, port: ServicePort, family: Family) -> SliceStory:
    number = next(
        (p.port for p in item.ports if (p.name, p.protocol) == (port.name, port.protocol)), None
    )
    left_out = ""
    if item.family is not family:
        left_out, number = f"it is {item.family}", None
    elif number is None:
        named = f" named {port.name!r}" if port.name else " without a name"
        left_out = f"it has no {port.protocol} port{named}"
    counts = count_nodes(item.endpoints)
    ready, draining, unready = (
        sum(of.values()) for of in (counts.ready, counts.draining, counts.idle)
    )
    return SliceStory(
        name=item.key.name,
        port=number,
        left_out=left_out,
        ready=ready,
        draining=draining,
        unready=unready,
        gone=len(item.endpoints) - ready - draining - unready,
    )


def _pods(
    server: VirtualServer, counts: PodCounts, views: Sequence[SliceView]
) -> tuple[TargetStory, ...]:
    """Pods as real servers: those of the plan, then those that are left out."""
    state = {
        **dict.fromkeys(counts.ready, "ready"),
        **dict.fromkeys(counts.draining, "terminating but serving"),
        **dict.fromkeys(counts.idle, "unready"),
    }
    nodes = {e.addresses[0]: e.node for v in views for e in v.source.endpoints if e.addresses}
    told = [
        TargetStory(
            node=nodes.get(real.address, ""),
            address=str(real.address),
            port=real.port,
            weight=real.weight,
            why=f"the pod is {state[real.address, real.port]}",
        )
        for real in server.real_servers
    ]
    served = {real.address for real in server.real_servers}
    told += [
        TargetStory(node=nodes[at], address=None, port=None, weight=None, why=f"pod {at} is {why}")
        for at, why in _unserved(nodes, served, state)
    ]
    return tuple(told)


def _unserved(
    pods: Iterable[IPAddress],
    served: Collection[IPAddress],
    state: Mapping[tuple[IPAddress, int], str],
) -> list[tuple[IPAddress, str]]:
    """Pods that are no real servers, by address, each with what it is."""
    known = {address: word for (address, _), word in state.items()}
    left = sorted((pod for pod in pods if pod not in served), key=int)
    return [(pod, known.get(pod, "terminated")) for pod in left]


def _healthy(views: Sequence[SliceView]) -> bool:
    return any(view.nodes.ready or view.nodes.draining for view in views)


def _named(views: Sequence[SliceView]) -> set[str]:
    return {endpoint.node for view in views for endpoint in view.source.endpoints}


def _address_of(node: Node, family: Family) -> IPAddress | None:
    return next((address for address in node.addresses if family_of(address) is family), None)


def _count_text(counts: NodeCounts, name: str) -> str:
    rows = (("ready", counts.ready), ("draining", counts.draining), ("unready", counts.idle))
    said = [f"{of[name]} {word}" for word, of in rows if name in of]
    return ", ".join(said) or "no endpoint"
