# SPDX-License-Identifier: Apache-2.0
"""The cluster's objects as the planner sees them: only the fields it reads, parsed and typed.

The wire shapes (what the API server and YAML files hold) live in `fairlead.snapshot`; nothing here
has an optional field for the sake of JSON. msgspec structs rather than dataclasses: an agent holds
100,000 endpoints, and these cost a third of the memory and time.
"""

from collections.abc import Mapping

import msgspec

from fairlead.model.names import (
    Family,
    IPAddress,
    IPNetwork,
    ObjectKey,
    Protocol,
    TrafficPolicy,
)


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    """One port of a Service.

    Attributes:
        name: Port name, "" where a single port has none; matches `EndpointPort.name`.
        port: Port of the VIP.
        target_port: Number, or the name of a container port that may differ per pod.
        node_port: Allocated node port, 0 where there is none.
    """

    name: str
    protocol: Protocol
    port: int
    target_port: int | str
    node_port: int = 0


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A Service of any type; the planner decides which are ours.

    Attributes:
        resource_version: For optimistic writes of status, "" offline.
        created: RFC 3339 creation time ("" unknown): the older of two holders keeps an address.
        ingress: (address, ipMode) pairs of `status.loadBalancer.ingress`, in order; the record of
            the allocation. Entries with only a hostname are left out.
        ingress_errors: Texts in status that are no addresses.
        affinity_seconds: Timeout of ClientIP affinity, None without affinity.
        source_ranges: `loadBalancerSourceRanges`; empty admits everybody.
        source_range_errors: Entries of it that are no CIDRs.
        annotations: All annotations (untrusted text).
    """

    key: ObjectKey
    uid: str = ""
    resource_version: str = ""
    created: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    type: str = "ClusterIP"
    load_balancer_class: str | None = None
    load_balancer_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    ip_families: tuple[Family, ...] = ()
    ip_family_policy: str = "SingleStack"
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = msgspec.field(default_factory=dict)
    policy: TrafficPolicy = TrafficPolicy.CLUSTER
    affinity_seconds: int | None = None
    source_ranges: tuple[IPNetwork, ...] = ()
    source_range_errors: tuple[str, ...] = ()
    allocate_node_ports: bool = True
    ingress: tuple[tuple[IPAddress, str], ...] = ()
    ingress_errors: tuple[str, ...] = ()


class EndpointPort(msgspec.Struct, frozen=True, gc=False):
    """One port of an EndpointSlice: the number that pods of this slice listen on."""

    name: str
    protocol: Protocol
    port: int


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One endpoint; conditions are resolved (a nil `ready` is true, a nil `serving` is `ready`)."""

    addresses: tuple[IPAddress, ...]
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False


class EndpointSlice(msgspec.Struct, frozen=True):
    """An EndpointSlice; `service` is its `kubernetes.io/service-name` label in its namespace."""

    key: ObjectKey
    service: ObjectKey
    family: Family
    ports: tuple[EndpointPort, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()


class Taint(msgspec.Struct, frozen=True, gc=False):
    """A node's taint."""

    key: str
    effect: str


class Node(msgspec.Struct, frozen=True):
    """A Node: where it is, and whether traffic may go there."""

    name: str
    addresses: tuple[IPAddress, ...] = ()
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    network_unavailable: bool = False
    unschedulable: bool = False


class Namespace(msgspec.Struct, frozen=True):
    """A Namespace, for pools that select namespaces by label."""

    name: str
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
