# SPDX-License-Identifier: Apache-2.0
"""How long planning takes: the full plan, and one watch event at three sizes.

    python bench/planner_bench.py [--json FILE] [--small]

Figures of the design: full plan of 10,000 Services, 1,000 nodes, 100,000 endpoints <= 2 s; one
readiness flip <= 0.3 ms and one changed Service <= 1 ms, both independent of the total.
"""

import argparse
import gc
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import Endpoint, EndpointPort, EndpointSlice, Node, Service, ServicePort
from fairlead.model.names import Family, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.pool import AddressRange, Pool
from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import plan_to_json
from fairlead.planner.incremental import PlannerState
from fairlead.planner.plan import make_plan
from fairlead.planner.requests import POOL_NOTE

FIRST_VIP = int(IPv4Address("10.128.0.0"))
FIRST_NODE = int(IPv4Address("10.1.0.0"))
FIRST_POD = int(IPv4Address("10.244.0.0"))
EVENTS = 300


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
    """CPU seconds of the whole plan, three ways."""
    config, rows = inventory(), {}
    for policy in TrafficPolicy:
        for settled in (False, True):
            cluster = snapshot(services, nodes, each, policy, settled=settled)
            word = "restart" if settled else "fresh"
            rows[f"{policy.value}, {word}"] = min(
                cpu(lambda cluster=cluster: make_plan(cluster, config)) for _ in range(3)
            )
    plan = make_plan(cluster, config)
    rows["JSON"] = cpu(lambda: plan_to_json(plan))
    return rows


def loaded(services: int, each: int, policy: TrafficPolicy) -> PlannerState:
    """A state that has told its edge everything."""
    nodes = max(3, services // 10)
    cluster = snapshot(services, nodes, each, policy, settled=True)
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


def events(count: int, each: int, policy: TrafficPolicy) -> dict[str, float]:
    """CPU milliseconds per event: readiness flip, changed Service, unchanged node."""
    state = loaded(count, each, policy)
    nodes = max(3, count // 10)
    flips = []
    for turn in range(EVENTS):
        number = turn % count
        value = endpoint_slice(number, each, nodes)
        head = value.endpoints[0]
        unready = msgspec.structs.replace(head, ready=turn // count % 2 == 1, serving=False)
        value = msgspec.structs.replace(value, endpoints=(unready, *value.endpoints[1:]))
        started = time.process_time_ns()
        state.put(value)
        delta = state.take_edge_delta("edge1")
        flips.append(time.process_time_ns() - started)
        assert delta.virtual_servers or policy is TrafficPolicy.CLUSTER
    changed = []
    for turn in range(EVENTS):
        value = service(turn % count, policy, settled=True)
        port = ServicePort("http", Protocol.TCP, 81 + turn % 7, 8080, 30080)
        value = msgspec.structs.replace(value, ports=(port,))
        started = time.process_time_ns()
        state.put(value)
        state.take_decisions()
        state.take_edge_delta("edge1")
        changed.append(time.process_time_ns() - started)
    beats = []
    for turn in range(EVENTS):
        started = time.process_time_ns()
        state.put(node(turn % nodes))
        state.take_edge_delta("edge1")
        beats.append(time.process_time_ns() - started)
    down = msgspec.structs.replace(node(1), ready=False)
    went = cpu(lambda: (state.put(down), state.take_edge_delta("edge1")))
    return {
        "flip": statistics.median(flips) / 1e6,
        "flip_p99": statistics.quantiles(flips, n=100)[98] / 1e6,
        "service": statistics.median(changed) / 1e6,
        "node_heartbeat": statistics.median(beats) / 1e6,
        "node_lost": went * 1e3,
    }


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes")
    options = parser.parse_args()
    scale = 10 if options.small else 1
    result: dict[str, object] = {
        "machine": {"python": platform.python_version(), "cpu": platform.machine()}
    }
    sizes = (10_000 // scale, 1_000 // scale, 10)
    rows = full(*sizes)
    result["full_plan_seconds"] = rows
    print(f"full plan, {sizes[0]} Services, {sizes[1]} nodes, {sizes[0] * 10} endpoints (CPU s)")
    for name, seconds in rows.items():
        print(f"  {name:<18} {seconds:8.3f}")
    print("one event (CPU ms)       flip   p99   Service  node beat  node lost")
    table: dict[str, object] = {}
    shapes = [(10, 100), (1_000 // scale, 100), (10_000 // scale, 10)]
    for policy in TrafficPolicy:
        for count, each in shapes:
            row = events(count, each, policy)
            table[f"{policy.value} {count}x{each}"] = row
            print(
                f"  {policy.value:<8}{count:>6} x {each:<4}{row['flip']:8.3f}{row['flip_p99']:7.3f}"
                f"{row['service']:9.3f}{row['node_heartbeat']:10.4f}{row['node_lost']:11.1f}"
            )
    result["event_milliseconds"] = table
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    result["peak_megabytes"] = peak
    print(f"peak memory of this process: {peak} MB")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
