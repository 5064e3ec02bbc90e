# SPDX-License-Identifier: Apache-2.0
"""How long planning takes: the full plan, and one watch event at four sizes.

    python -m bench.planner_bench [--json FILE] [--small]

Goals: full plan of 10,000 Services, 1,000 nodes, 100,000 endpoints <= 2 s; one changed Service
replanned <= 1 ms, independent of the total. All times are CPU times of this one thread, which waits
for nothing, so that a busy machine disturbs them little.
"""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address

import msgspec

from bench.figures import Figure, percentile
from bench.running import Report, ends_cleanly, parser, write
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import Endpoint, EndpointPort, EndpointSlice, Node, Service, ServicePort
from fairlead.model.names import Family, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.pool import AddressRange, Pool
from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import plan_to_json
from fairlead.planner.incremental import PlannerObject, PlannerState
from fairlead.planner.plan import make_plan
from fairlead.planner.requests import POOL_NOTE

FIRST_VIP = int(IPv4Address("10.128.0.0"))
FIRST_NODE = int(IPv4Address("10.1.0.0"))
FIRST_POD = int(IPv4Address("10.244.0.0"))
EVENTS = 300
RUNS = 3
SIZES = ((100, 10), (1_000, 10), (10_000, 10), (1_000, 100))
"""Services and endpoints of each; only the total grows along the first three."""


def inventory() -> Inventory:
    """Two edges and one pool of 65,536 addresses."""
    edges = tuple(Edge(name=f"edge{n}", address=IPv4Address(f"10.0.0.1{n}")) for n in (1, 2))
    part = AddressRange(IPv4Address("10.128.0.0"), IPv4Address("10.128.255.255"), "10.128.0.0/16")
    return Inventory(edges=edges, pools=(Pool(name="big", ranges=(part,)),))


def node(number: int) -> Node:
    """A ready node."""
    return Node(f"node{number}", (IPv4Address(FIRST_NODE + number),))


def endpoints(service: int, count: int, nodes: int) -> tuple[Endpoint, ...]:
    """Ready endpoints of a Service, spread over the nodes."""
    first = FIRST_POD + service * count
    return tuple(
        Endpoint((IPv4Address(first + index),), f"node{(service + index) % nodes}")
        for index in range(count)
    )


def endpoint_slice(service: int, count: int, nodes: int) -> EndpointSlice:
    """The one slice of a Service."""
    key = ObjectKey("default", f"service{service}")
    port = EndpointPort("http", Protocol.TCP, 8080)
    return EndpointSlice(
        ObjectKey("default", f"{key.name}-x"),
        key,
        Family.IPV4,
        (port,),
        endpoints(service, count, nodes),
    )


def service(number: int, policy: TrafficPolicy, *, settled: bool) -> Service:
    """A Service; a settled one holds its address already."""
    return Service(
        key=ObjectKey("default", f"service{number}"),
        uid=str(number),
        created=f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
        type="LoadBalancer",
        cluster_ips=("10.96.0.1",),
        ports=(ServicePort("http", Protocol.TCP, 80, 8080, 30080),),
        policy=policy,
        annotations={POOL_NOTE: "big"} if settled else {},
        ingress=((IPv4Address(FIRST_VIP + number), "VIP"),) if settled else (),
    )


def snapshot(
    services: int, nodes: int, each: int, policy: TrafficPolicy, *, settled: bool
) -> Snapshot:
    """A cluster of this size."""
    return Snapshot(
        services=tuple(service(n, policy, settled=settled) for n in range(services)),
        slices=tuple(endpoint_slice(n, each, nodes) for n in range(services)),
        nodes=tuple(node(n) for n in range(nodes)),
    )


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def full(services: int, nodes: int, each: int) -> dict[str, float]:
    """CPU seconds of the whole plan, four ways, and of its JSON; medians."""
    config, rows = inventory(), {}
    for policy in TrafficPolicy:
        for settled in (False, True):
            cluster = snapshot(services, nodes, each, policy, settled=settled)
            word = "restart" if settled else "fresh"
            rows[f"{policy.value}, {word}"] = statistics.median(
                cpu(lambda cluster=cluster: make_plan(cluster, config)) for _ in range(RUNS)
            )
    plan = make_plan(cluster, config)
    rows["JSON"] = statistics.median(cpu(lambda: plan_to_json(plan)) for _ in range(RUNS))
    return rows


def loaded(services: int, each: int, policy: TrafficPolicy) -> PlannerState:
    """A state that has told its edge everything."""
    cluster = snapshot(services, nodes_of(services), each, policy, settled=True)
    state = PlannerState(inventory())
    for kind, values in (
        ("Service", cluster.services),
        ("EndpointSlice", cluster.slices),
        ("Node", cluster.nodes),
    ):
        state.replace(kind, values)
    state.take_decisions()
    state.take_edge_delta("edge1")
    return state


def nodes_of(services: int) -> int:
    """As many nodes as such a cluster may have."""
    return max(3, services // 10)


def timed_events(
    state: PlannerState, values: Iterable[PlannerObject], *, decide: bool = False
) -> list[float]:
    """CPU milliseconds of each object's way to what changed for the edge."""
    times = []
    for value in values:
        started = time.process_time_ns()
        state.put(value)
        if decide:
            state.take_decisions()
        state.take_edge_delta("edge1")
        times.append((time.process_time_ns() - started) / 1e6)
    return times


def flips(count: int, each: int) -> Iterator[EndpointSlice]:
    """One endpoint unready and ready again, of one Service after the other."""
    for turn in range(EVENTS):
        value = endpoint_slice(turn % count, each, nodes_of(count))
        head = value.endpoints[0]
        unready = msgspec.structs.replace(head, ready=turn // count % 2 == 1, serving=False)
        yield msgspec.structs.replace(value, endpoints=(unready, *value.endpoints[1:]))


def changed_services(count: int, policy: TrafficPolicy) -> Iterator[Service]:
    """Another port, of one Service after the other."""
    for turn in range(EVENTS):
        port = ServicePort("http", Protocol.TCP, 81 + turn % 7, 8080, 30080)
        yield msgspec.structs.replace(service(turn % count, policy, settled=True), ports=(port,))


def events(count: int, each: int, policy: TrafficPolicy) -> dict[str, float]:
    """CPU milliseconds per event: readiness flip, changed Service, node heartbeat, node lost."""
    state = loaded(count, each, policy)
    flipped = timed_events(state, list(flips(count, each)))
    changed = timed_events(state, list(changed_services(count, policy)), decide=True)
    beats = timed_events(state, [node(turn % nodes_of(count)) for turn in range(EVENTS)])
    lost = timed_events(state, [msgspec.structs.replace(node(1), ready=False)])
    return {
        "flip": statistics.median(flipped),
        "flip_p99": percentile(flipped, 0.99),
        "service": statistics.median(changed),
        "service_p99": percentile(changed, 0.99),
        "node_heartbeat": statistics.median(beats),
        "node_lost": lost[0],
    }


def figures(
    rows: dict[str, float], size: tuple[int, int, int], table: dict[str, dict[str, float]]
) -> tuple[Figure, ...]:
    """The slowest of the full plans, and the slower policy of each event."""

    def slower(one: tuple[int, int], event: str) -> float:
        return max(table[f"{policy.value} {one[0]}x{one[1]}"][event] for policy in TrafficPolicy)

    services, nodes, each = size
    slowest = max(seconds for name, seconds in rows.items() if name != "JSON")
    how = f"median of {EVENTS} events, CPU"
    sizes = scaled(services)
    changed = [
        Figure(f"planner: one changed Service of {one[0]:,} x {one[1]}",
               slower(one, "service"), "ms", how, 1.0)
        for one in sizes
    ]  # fmt: skip
    growth = slower(sizes[2], "service") / slower(sizes[0], "service")
    return (
        Figure(f"planner: full plan, {services:,} Services, {nodes:,} nodes, "
               f"{services * each:,} endpoints", slowest, "s", f"median of {RUNS}, CPU", 2.0),
        *changed,
        Figure(f"planner: that from {sizes[0][0]:,} to {sizes[2][0]:,} Services", growth, "x",
               "ratio of medians"),
        Figure(f"planner: one readiness flip of {sizes[2][0]:,} x {sizes[2][1]}",
               slower(sizes[2], "flip"), "ms", how),
    )  # fmt: skip


def scaled(services: int) -> list[tuple[int, int]]:
    """`SIZES` with `services` as the largest number of Services."""
    return [(count * services // 10_000, each) for count, each in SIZES]


def main() -> None:
    """Run everything and print it."""
    ends_cleanly()
    arguments = parser(__doc__)
    arguments.add_argument("--small", action="store_true", help="a tenth of the sizes")
    options = arguments.parse_args()
    size = (1_000, 100, 10) if options.small else (10_000, 1_000, 10)
    rows = full(*size)
    print(f"full plan of {size[0]:,} Services, CPU seconds")
    for name, seconds in rows.items():
        print(f"  {name:<18} {seconds:8.3f}")
    print("one event, CPU ms        flip   p99   Service   p99  node beat  node lost")
    table: dict[str, dict[str, float]] = {}
    for policy in TrafficPolicy:
        for count, each in scaled(size[0]):
            row = table[f"{policy.value} {count}x{each}"] = events(count, each, policy)
            print(
                f"  {policy.value:<8}{count:>6} x {each:<4}{row['flip']:8.3f}{row['flip_p99']:6.3f}"
                f"{row['service']:10.3f}{row['service_p99']:6.3f}"
                f"{row['node_heartbeat']:11.4f}{row['node_lost']:11.1f}"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    details = {"full_plan_s": rows, "event_ms": table, "peak_mb": peak}
    write(Report(figures(rows, size, table), details), options.json)


if __name__ == "__main__":
    main()
