# SPDX-License-Identifier: Apache-2.0
"""Wire structs to the model. Everything is untrusted: names, ports and addresses are checked here.

An object that can't be parsed raises `ObjectFieldError`; the caller places it (file and document,
or the cluster) and goes on with the others.
"""

from sys import intern

import msgspec

from fairlead.model.addresses import parse_address
from fairlead.model.advertisement import BfdProfile, BgpAdvertisement, Community, L2Advertisement
from fairlead.model.bgp import BgpPeer
from fairlead.model.errors import ObjectFieldError
from fairlead.model.kube import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Node,
    Service,
    ServicePort,
    Taint,
)
from fairlead.model.names import Family, IPAddress, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.pool import Pool
from fairlead.snapshot.text import (
    address_field,
    label_name,
    networks_of,
    port_name,
    subdomain_name,
)
from fairlead.snapshot.wire import (
    EndpointSliceWire,
    EndpointWire,
    IngressWire,
    Meta,
    NamespaceWire,
    NodeWire,
    ServicePortWire,
    ServiceSpecWire,
    ServiceWire,
    SlicePortWire,
)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
DEFAULT_AFFINITY_SECONDS = 10_800

_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_FAMILIES = {family.value: family for family in Family}
_POLICIES = {policy.value: policy for policy in TrafficPolicy}
_SERVICE_TYPES = frozenset({"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"})
_FAMILY_POLICIES = frozenset({"SingleStack", "PreferDualStack", "RequireDualStack"})

MetallbObject = Pool | L2Advertisement | BgpAdvertisement | BgpPeer | BfdProfile | Community
ModelObject = Service | EndpointSlice | Node | Namespace | MetallbObject


def field_error(error: msgspec.ValidationError) -> ObjectFieldError:
    """Split msgspec's sentence (`Expected int, got str - at $.spec.ports[0].port`) in two."""
    text, _, path = str(error).rpartition(" - at `")
    if not text:
        return ObjectFieldError("", str(error))
    return ObjectFieldError(path.rstrip("`").removeprefix("$").lstrip("."), text)


def service_from_wire(wire: ServiceWire) -> Service:
    """Parse a Service of any type."""
    meta = wire.metadata
    spec = wire.spec or ServiceSpecWire()
    balancer = wire.status.load_balancer if wire.status else None
    sources, source_errors = networks_of(spec.load_balancer_source_ranges or ())
    ingress, ingress_errors = _ingress((balancer.ingress or []) if balancer else [])
    kind = spec.type or "ClusterIP"
    if kind not in _SERVICE_TYPES:
        raise ObjectFieldError("spec.type", f"{kind!r} is not a Service type")
    return Service(
        key=_key(meta),
        uid=meta.uid,
        resource_version=meta.resource_version,
        created=meta.creation_timestamp or "",
        labels=meta.labels or {},
        annotations=meta.annotations or {},
        type=kind,
        load_balancer_class=spec.load_balancer_class,
        load_balancer_ip=spec.load_balancer_ip or "",
        cluster_ips=_cluster_ips(spec),
        ip_families=_families(spec.ip_families or []),
        ip_family_policy=_family_policy(spec.ip_family_policy),
        ports=_service_ports(spec.ports or []),
        selector=spec.selector or {},
        policy=_traffic_policy(spec.external_traffic_policy),
        affinity_seconds=_affinity(spec),
        source_ranges=sources,
        source_range_errors=source_errors,
        allocate_node_ports=spec.allocate_load_balancer_node_ports is not False,
        ingress=ingress,
        ingress_errors=ingress_errors,
    )


def slice_from_wire(wire: EndpointSliceWire) -> EndpointSlice:
    """Parse an EndpointSlice; one without the service-name label belongs to no Service.

    Slices of address type FQDN hold names, not addresses: their endpoints are left out.
    """
    meta = wire.metadata
    namespace = label_name(meta.namespace or "default", "metadata.namespace")
    service = (meta.labels or {}).get(SERVICE_NAME_LABEL, "")
    key = ObjectKey(namespace, subdomain_name(meta.name, "metadata.name"))
    family = _FAMILIES.get(wire.address_type)
    if family is None:
        if wire.address_type != "FQDN":
            raise ObjectFieldError(
                "addressType", f"{wire.address_type!r} is not IPv4, IPv6 or FQDN"
            )
        return EndpointSlice(key, ObjectKey(namespace, service), Family.IPV4)
    ports = wire.ports or ()
    return EndpointSlice(
        key,
        ObjectKey(namespace, service),
        family,
        tuple([_slice_port(port, index) for index, port in enumerate(ports) if port.port]),
        tuple(_endpoints(wire.endpoints or [], 4 if family is Family.IPV4 else 6)),
    )


def node_from_wire(wire: NodeWire) -> Node:
    """Parse a Node; its internal addresses count, external ones only where there are none."""
    meta = wire.metadata
    spec, status = wire.spec, wire.status
    conditions = {c.type: c.status for c in (status.conditions or [])} if status else {}
    listed = (status.addresses or []) if status else []
    by_type: dict[str, list[IPAddress]] = {"InternalIP": [], "ExternalIP": []}
    for index, entry in enumerate(listed):
        if entry.type in by_type:
            field = f"status.addresses[{index}].address"
            by_type[entry.type].append(address_field(entry.address, field))
    taints = (spec.taints or []) if spec else []
    return Node(
        name=subdomain_name(meta.name, "metadata.name"),
        addresses=tuple(by_type["InternalIP"] or by_type["ExternalIP"]),
        labels=meta.labels or {},
        taints=tuple(Taint(taint.key, taint.effect) for taint in taints),
        ready=conditions.get("Ready", "True") == "True",
        network_unavailable=conditions.get("NetworkUnavailable") == "True",
        unschedulable=bool(spec and spec.unschedulable),
    )


def namespace_from_wire(wire: NamespaceWire) -> Namespace:
    """Parse a Namespace."""
    name = label_name(wire.metadata.name, "metadata.name")
    return Namespace(name, wire.metadata.labels or {})


def _key(meta: Meta) -> ObjectKey:
    return ObjectKey(
        label_name(meta.namespace or "default", "metadata.namespace"),
        label_name(meta.name, "metadata.name"),
    )


def _ingress(
    entries: list[IngressWire],
) -> tuple[tuple[tuple[IPAddress, str], ...], tuple[str, ...]]:
    addresses: list[tuple[IPAddress, str]] = []
    errors: list[str] = []
    for entry in entries:
        if not entry.ip:
            continue
        try:
            addresses.append((parse_address(entry.ip), entry.ip_mode or ""))
        except ValueError:
            errors.append(entry.ip)
    return tuple(addresses), tuple(errors)


def _cluster_ips(spec: ServiceSpecWire) -> tuple[str, ...]:
    texts = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
    return tuple(text for text in texts if text)


def _families(texts: list[str]) -> tuple[Family, ...]:
    for index, text in enumerate(texts):
        if text not in _FAMILIES:
            raise ObjectFieldError(f"spec.ipFamilies[{index}]", f"{text!r} is not IPv4 or IPv6")
    return tuple(_FAMILIES[text] for text in texts)


def _family_policy(text: str | None) -> str:
    if text and text not in _FAMILY_POLICIES:
        raise ObjectFieldError(
            "spec.ipFamilyPolicy", f"{text!r} is not one of {', '.join(sorted(_FAMILY_POLICIES))}"
        )
    return text or "SingleStack"


def _traffic_policy(text: str | None) -> TrafficPolicy:
    policy = _POLICIES.get(text or "Cluster")
    if policy is None:
        raise ObjectFieldError("spec.externalTrafficPolicy", f"{text!r} is not Cluster or Local")
    return policy


def _service_ports(ports: list[ServicePortWire]) -> tuple[ServicePort, ...]:
    parsed: list[ServicePort] = []
    taken: dict[tuple[Protocol, int], int] = {}
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        protocol = _protocol(port.protocol, f"{field}.protocol")
        first = taken.setdefault((protocol, port.port), index)
        if first != index:
            raise ObjectFieldError(
                f"{field}.port", f"{protocol}/{port.port} is already in spec.ports[{first}]"
            )
        name = port_name(port.name or "", f"{field}.name")
        target = _target_port(port, f"{field}.targetPort")
        parsed.append(ServicePort(name, protocol, port.port, target, port.node_port or 0))
    return tuple(parsed)


def _target_port(port: ServicePortWire, field: str) -> int | str:
    target = port.target_port
    if target is None or target in (0, ""):
        return port.port
    if isinstance(target, str):
        return int(target) if target.isdecimal() else port_name(target, field)
    if not 1 <= target <= 65535:
        raise ObjectFieldError(field, f"{target} is not a port (1..65535)")
    return target


def _protocol(text: str | None, field: str) -> Protocol:
    protocol = _PROTOCOLS.get(text or "TCP")
    if protocol is None:
        raise ObjectFieldError(field, f"{text!r} is not one of TCP, UDP, SCTP")
    return protocol


def _affinity(spec: ServiceSpecWire) -> int | None:
    if spec.session_affinity in (None, "", "None"):
        return None
    if spec.session_affinity != "ClientIP":
        raise ObjectFieldError(
            "spec.sessionAffinity", f"{spec.session_affinity!r} is not ClientIP or None"
        )
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds or DEFAULT_AFFINITY_SECONDS


def _slice_port(port: SlicePortWire, index: int) -> EndpointPort:
    name = port.name or ""
    protocol = _PROTOCOLS.get(port.protocol or "TCP")
    if protocol is None:
        raise ObjectFieldError(
            f"ports[{index}].protocol", f"{port.protocol!r} is not one of TCP, UDP, SCTP"
        )
    return EndpointPort(name, protocol, port.port or 0)


def _endpoints(endpoints: list[EndpointWire], version: int) -> list[Endpoint]:
    """The agent's hot path: 100 endpoints at every readiness flip."""
    parsed = []
    for index, endpoint in enumerate(endpoints):
        try:
            addresses = tuple([parse_address(text) for text in endpoint.addresses or ()])
        except ValueError as error:
            field = f"endpoints[{index}].addresses"
            raise ObjectFieldError(field, f"not an IP address: {error}") from None
        if addresses and addresses[0].version != version:
            raise ObjectFieldError(
                f"endpoints[{index}].addresses",
                f"{addresses[0]} is not of addressType IPv{version}",
            )
        # One string per node instead of one per endpoint: 100,000 of them are held.
        node = intern(endpoint.node_name or "")
        conditions = endpoint.conditions
        if conditions is None or (conditions.ready is not False and not conditions.terminating):
            parsed.append(Endpoint(addresses, node))
            continue
        ready = conditions.ready is not False
        serving = ready if conditions.serving is None else conditions.serving
        parsed.append(Endpoint(addresses, node, ready, serving, bool(conditions.terminating)))
    return parsed
