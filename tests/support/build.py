# SPDX-License-Identifier: Apache-2.0
"""Short words for model values, so that a table test has one row per rule."""

from ipaddress import ip_address

import msgspec

from fairlead.model.addresses import family_of
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.kube import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Node,
    Service,
    ServicePort,
)
from fairlead.model.names import Family, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.pool import Pool, PoolSelection
from fairlead.planner.allocate import allocate
from fairlead.planner.requests import POOL_NOTE
from fairlead.planner.shape import service_frame, shape_service
from fairlead.snapshot.pools import parse_ranges

EDGES = (
    Edge(name="edge1", address=ip_address("10.9.0.11")),
    Edge(name="edge2", address=ip_address("10.9.0.12")),
)
INVENTORY = Inventory(edges=EDGES)
V4, V6 = "10.96.0.1", "fd00:96::1"


def pool(name: str, *ranges: str, select: PoolSelection | None = None, **fields) -> Pool:
    """A pool object; ranges as in `spec.addresses`."""
    return Pool(
        name=name,
        namespace="metallb-system",
        origin="cluster",
        ranges=parse_ranges(ranges, "spec.addresses"),
        selection=select,
        **fields,
    )


def port(text: str) -> ServicePort:
    """`80`, `53/UDP`, `80:http` (a named port), `80>8080` (target), `80@30080` (nodePort)."""
    text, _, node_port = text.partition("@")
    text, _, target = text.partition(">")
    text, _, name = text.partition(":")
    number, _, protocol = text.partition("/")
    return ServicePort(
        name, Protocol(protocol or "TCP"), int(number), int(target or number), int(node_port or 0)
    )


def svc(
    name: str,
    *,
    holds: str = "",
    ips: str = V4,
    policy: str = "SingleStack",
    ports: str = "80",
    share: str = "",
    want: str = "",
    want_pool: str = "",
    local: bool = False,
    age: int = 0,
    note: str | None = None,
    annotations: dict[str, str] | None = None,
    **fields,
) -> Service:
    """A LoadBalancer Service that an API server knows.

    Args:
        holds: Addresses in status, separated by blanks.
        ips: ClusterIPs, separated by blanks.
        ports: As `port`, separated by blanks.
        share, want, want_pool: Annotations under the current prefix.
        age: Days of age; more is older.
        note: The pool note; by default there is one ("p") where addresses are held.
    """
    namespace, _, short = name.rpartition("/")
    given = {
        "metallb.io/allow-shared-ip": share,
        "metallb.io/loadBalancerIPs": want,
        "metallb.io/address-pool": want_pool,
        POOL_NOTE: note if note is not None else ("p" if holds else ""),
    }
    all_annotations = {**(annotations or {}), **{k: v for k, v in given.items() if v}}
    return Service(
        key=ObjectKey(namespace or "default", short),
        uid=name,
        created=f"2026-01-{28 - age:02}T00:00:00Z",
        annotations=all_annotations,
        type=fields.pop("type", "LoadBalancer"),
        cluster_ips=tuple(ips.split()),
        ip_family_policy=policy,
        ports=tuple(port(text) for text in ports.split()),
        policy=TrafficPolicy.LOCAL if local else TrafficPolicy.CLUSTER,
        ingress=tuple((ip_address(text), "VIP") for text in holds.split()),
        **fields,
    )


def fresh(service: Service) -> Service:
    """The same as a manifest that no API server has seen."""
    return msgspec.structs.replace(service, uid="", created="", cluster_ips=())


def decide(services, pools, *, namespaces=(), inventory=INVENTORY):
    """Decisions by name of the Service (without the namespace `default`)."""
    labelled = tuple(Namespace(name, labels) for name, labels in dict(namespaces).items())
    plans = allocate(services, pools, labelled, inventory)
    return {str(plan.key).removeprefix("default/"): plan for plan in plans}


def texts(plan) -> list[str]:
    """Events as `reason: message`."""
    return [f"{event.reason}: {event.message}" for event in plan.events]


def node(name: str, *addresses: str, **fields) -> Node:
    """A ready node."""
    return Node(name, tuple(ip_address(text) for text in addresses), **fields)


def endpoint(text: str) -> Endpoint:
    """`10.244.0.1@n1 ready|draining|unready|gone`; ready where nothing is said."""
    place, _, state = text.partition(" ")
    address, _, where = place.partition("@")
    ready = state in ("", "ready")
    return Endpoint(
        (ip_address(address),),
        where,
        ready=ready,
        serving=ready or state == "draining",
        terminating=state in ("draining", "gone"),
    )


def eps(service: str, *endpoints: str, ports: str = "80", name: str = "") -> EndpointSlice:
    """A slice; its ports as `port`, the target being the pods' port."""
    parsed = tuple(endpoint(text) for text in endpoints)
    family = family_of(parsed[0].addresses[0]) if parsed else Family.IPV4
    found = [port(text) for text in ports.split()]
    key = ObjectKey("default", service)
    return EndpointSlice(
        ObjectKey("default", name or f"{service}-x"),
        key,
        family,
        tuple(EndpointPort(p.name, p.protocol, int(p.target_port)) for p in found),
        parsed,
    )


def shaped_on(service, addresses, slices, nodes, inventory):
    """Virtual servers of a Service on some addresses."""
    return shape_service(service_frame(service, addresses, inventory), slices, nodes)
