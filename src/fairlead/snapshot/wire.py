# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as they stand on the wire and in manifests: only the fields that are read.

Both roads lead here: the watch stream is decoded by msgspec straight into these structs, a manifest
goes through YAML and `msgspec.convert`. Unknown fields are ignored, a null is an absent field, and
a field of the wrong type is a `msgspec.ValidationError` whose text ends in the field's path.
`fairlead.snapshot.objects` turns them into the model.

Field names and defaults: Kubernetes API v1 and discovery.k8s.io/v1; metallb.io/v1beta1 CRD.
"""

from typing import Annotated

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
PortOrNone = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Wire(msgspec.Struct, rename="camel", gc=False, kw_only=True):
    """Base: camelCase names, never tracked by the garbage collector (values are trees)."""


class Meta(Wire):
    """`metadata`; the timestamps stay text, they are only compared."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ServicePortWire(Wire):
    """An entry of `spec.ports`."""

    port: Port
    name: str | None = None
    protocol: str | None = None
    target_port: int | str | None = None
    node_port: PortOrNone | None = None


class ClientIpWire(Wire):
    """`sessionAffinityConfig.clientIP`; the API server allows 1..86400 seconds."""

    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=86400)] | None = None


class AffinityWire(Wire):
    """`spec.sessionAffinityConfig`."""

    client_ip: ClientIpWire | None = msgspec.field(default=None, name="clientIP")


class ServiceSpecWire(Wire):
    """`spec` of a Service."""

    type: str | None = None
    ports: list[ServicePortWire] | None = None
    selector: dict[str, str] | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    ip_families: list[str] | None = None
    ip_family_policy: str | None = None
    load_balancer_ip: str | None = msgspec.field(default=None, name="loadBalancerIP")
    load_balancer_class: str | None = None
    load_balancer_source_ranges: list[str] | None = None
    external_traffic_policy: str | None = None
    session_affinity: str | None = None
    session_affinity_config: AffinityWire | None = None
    allocate_load_balancer_node_ports: bool | None = None


class IngressWire(Wire):
    """An entry of `status.loadBalancer.ingress`."""

    ip: str | None = None
    ip_mode: str | None = None


class LoadBalancerWire(Wire):
    """`status.loadBalancer`."""

    ingress: list[IngressWire] | None = None


class ServiceStatusWire(Wire):
    """`status` of a Service."""

    load_balancer: LoadBalancerWire | None = None


class ServiceWire(Wire):
    """A v1 Service."""

    metadata: Meta
    spec: ServiceSpecWire | None = None
    status: ServiceStatusWire | None = None


class SlicePortWire(Wire):
    """An entry of `ports` of an EndpointSlice; a nil port means every port."""

    name: str | None = None
    protocol: str | None = None
    port: PortOrNone | None = None


class ConditionsWire(Wire):
    """`conditions` of an endpoint; nil is "unknown", which the API says to read as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class EndpointWire(Wire):
    """An entry of `endpoints`."""

    addresses: list[str] | None = None
    conditions: ConditionsWire | None = None
    node_name: str | None = None


class EndpointSliceWire(Wire):
    """A discovery.k8s.io/v1 EndpointSlice."""

    metadata: Meta
    address_type: str = "IPv4"
    endpoints: list[EndpointWire] | None = None
    ports: list[SlicePortWire] | None = None


class TaintWire(Wire):
    """An entry of `spec.taints`."""

    key: str
    effect: str = ""


class NodeSpecWire(Wire):
    """`spec` of a Node."""

    taints: list[TaintWire] | None = None
    unschedulable: bool | None = None


class NodeAddressWire(Wire):
    """An entry of `status.addresses`."""

    type: str
    address: str


class ConditionWire(Wire):
    """An entry of `status.conditions`."""

    type: str
    status: str


class NodeStatusWire(Wire):
    """`status` of a Node."""

    addresses: list[NodeAddressWire] | None = None
    conditions: list[ConditionWire] | None = None


class NodeWire(Wire):
    """A v1 Node."""

    metadata: Meta
    spec: NodeSpecWire | None = None
    status: NodeStatusWire | None = None


class NamespaceWire(Wire):
    """A v1 Namespace."""

    metadata: Meta


class RequirementWire(Wire):
    """An entry of `matchExpressions`."""

    key: str
    operator: str
    values: list[str] | None = None


class SelectorWire(Wire):
    """A label selector."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[RequirementWire] | None = None


class ServiceAllocationWire(Wire):
    """`spec.serviceAllocation` of a pool."""

    priority: int | None = None
    namespaces: list[str] | None = None
    namespace_selectors: list[SelectorWire] | None = None
    service_selectors: list[SelectorWire] | None = None


class PoolSpecWire(Wire):
    """`spec` of an IPAddressPool."""

    addresses: list[str] | None = None
    auto_assign: bool | None = None
    avoid_buggy_ips: bool | None = msgspec.field(default=None, name="avoidBuggyIPs")
    service_allocation: ServiceAllocationWire | None = None


class PoolWire(Wire):
    """A metallb.io/v1beta1 IPAddressPool."""

    metadata: Meta
    spec: PoolSpecWire | None = None
