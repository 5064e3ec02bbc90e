# SPDX-License-Identifier: Apache-2.0
"""The plan as JSON, and back. Field for field the contract of `schema/plan.schema.json`.

Beyond the contract's minimum a VRRP instance carries all that keepalived's file needs, because
edges get their slice as this JSON and nothing else. `ServicePlan.changed` is not in it: whoever
writes status compares with what it reads then.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import msgspec

from fairlead.model.addresses import parse_address
from fairlead.model.bgp import BgpPeer
from fairlead.model.errors import FairleadError
from fairlead.model.names import (
    Announce,
    Forwarding,
    IPAddress,
    IPNetwork,
    ObjectKey,
    Protocol,
)
from fairlead.model.plan import (
    BgpAnnouncement,
    EdgePlan,
    ObjectError,
    Plan,
    PlanEvent,
    RealServer,
    Refusal,
    ServicePlan,
    VipAddress,
    VirtualServer,
    VrrpInstance,
)
from fairlead.planner.encode_bgp import (
    NotAnnouncedWire,
    PeerWire,
    PolicyWire,
    not_announced_dict,
    not_announced_from_wire,
    peer_dict,
    peer_from_wire,
    policy_dict,
    policy_from_wire,
)


class PlanFormatError(FairleadError):
    """JSON that is not a plan of ours."""


class _Service(msgspec.Struct, frozen=True, kw_only=True):
    namespace: str
    name: str
    addresses: list[str]
    pool: str | None
    refusal: Refusal | None
    events: list[PlanEvent]


class _RealServer(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    port: int
    weight: int


class _VirtualServer(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    protocol: Protocol
    port: int
    scheduler: str
    flags: list[str]
    persistence_seconds: int | None
    one_packet: bool
    forwarding: Forwarding
    service: str
    source_ranges: list[str] | None = None
    slow_start_seconds: int | None = None
    last_port: int | None = None
    mark: int | None = None
    real_servers: list[_RealServer]


class _Address(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    announce: list[Announce]
    ready: bool


class _Vrrp(msgspec.Struct, frozen=True, kw_only=True):
    instance: str
    interface: str
    vrid: int
    priority: int
    advert_interval: float
    preempt: bool
    source: str
    peers: list[str]
    advertised_address: str
    addresses: list[str]
    devices: list[str] = []


class _Bgp(msgspec.Struct, frozen=True, kw_only=True):
    prefix: str
    peers: list[str]
    communities: list[str]
    local_pref: int | None


class _Edge(msgspec.Struct, frozen=True, kw_only=True):
    virtual_servers: list[_VirtualServer]
    addresses: list[_Address]
    vrrp: list[_Vrrp]
    bgp: list[_Bgp]
    bgp_policies: list[PolicyWire] = []
    bgp_peers: list[PeerWire] = []
    failed: list[NotAnnouncedWire] = []


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    services: list[_Service]
    edges: dict[str, _Edge]
    errors: list[ObjectError]


def plan_to_json(plan: Plan, *, indent: int = 0) -> bytes:
    """Encode a plan; the same plan gives the same bytes. `indent` is for people."""
    encoded = msgspec.json.encode(plan_to_dict(plan))
    return msgspec.json.format(encoded, indent=indent) if indent else encoded


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """A plan as plain dicts, lists and scalars, in the order of the contract."""
    return {
        "services": [_service_dict(service) for service in plan.services],
        "edges": {name: edge_plan_to_dict(plan.edges[name]) for name in sorted(plan.edges)},
        "errors": [msgspec.to_builtins(error) for error in plan.errors],
    }


def edge_plan_to_dict(edge: EdgePlan) -> dict[str, Any]:
    """One edge's slice as plain values."""
    return {
        "virtual_servers": [_virtual_server_dict(server) for server in edge.virtual_servers],
        "addresses": [
            {
                "address": str(vip.address),
                "announce": [way.value for way in vip.announce],
                "ready": vip.ready,
            }
            for vip in edge.addresses
        ],
        "vrrp": [_vrrp_dict(instance) for instance in edge.vrrp],
        "bgp": [
            {
                "prefix": route.prefix,
                "peers": list(route.peers),
                "communities": list(route.communities),
                "local_pref": route.local_pref,
            }
            for route in edge.bgp
        ],
        "bgp_policies": [policy_dict(policy) for policy in edge.bgp_policies],
        "bgp_peers": [peer_dict(peer) for peer in edge.bgp_peers],
        "failed": [not_announced_dict(one) for one in edge.failed],
    }


def plan_from_json(data: bytes) -> Plan:
    """Decode a plan; raises `PlanFormatError`."""
    try:
        wire = msgspec.json.decode(data, type=_Plan)
    except msgspec.DecodeError as error:
        raise PlanFormatError(f"not a plan: {error}") from None
    return Plan(
        services=tuple(_service(service) for service in wire.services),
        edges={name: _edge(edge) for name, edge in wire.edges.items()},
        errors=tuple(wire.errors),
    )


def edge_plan_from_dict(data: Mapping[str, Any]) -> EdgePlan:
    """Decode one edge's slice as an Ansible module gets it; raises `PlanFormatError`."""
    try:
        return _edge(msgspec.convert(data, _Edge))
    except msgspec.ValidationError as error:
        raise PlanFormatError(f"not an edge's slice of a plan: {error}") from None


def _service_dict(service: ServicePlan) -> dict[str, Any]:
    refusal = service.refusal
    return {
        "namespace": service.key.namespace,
        "name": service.key.name,
        "addresses": [str(address) for address in service.addresses],
        "pool": service.pool,
        "refusal": {"reason": refusal.reason, "message": refusal.message} if refusal else None,
        "events": [
            {"type": event.type, "reason": event.reason, "message": event.message}
            for event in service.events
        ],
    }


def _virtual_server_dict(server: VirtualServer) -> dict[str, Any]:
    return {
        "address": str(server.address),
        "protocol": server.protocol.value,
        "port": server.port,
        "scheduler": server.scheduler,
        "flags": list(server.flags),
        "persistence_seconds": server.persistence_seconds,
        "one_packet": server.one_packet,
        "forwarding": server.forwarding.value,
        "service": str(server.service),
        "source_ranges": _texts(server.source_ranges),
        "slow_start_seconds": server.slow_start_seconds,
        "last_port": server.last_port,
        "mark": server.mark,
        "real_servers": [
            {"address": str(real.address), "port": real.port, "weight": real.weight}
            for real in server.real_servers
        ],
    }


def _texts(networks: tuple[IPNetwork, ...] | None) -> list[str] | None:
    return None if networks is None else [str(network) for network in networks]


def _vrrp_dict(instance: VrrpInstance) -> dict[str, Any]:
    return {
        "instance": instance.instance,
        "interface": instance.interface,
        "vrid": instance.vrid,
        "priority": instance.priority,
        "advert_interval": instance.advert_interval,
        "preempt": instance.preempt,
        "source": str(instance.source),
        "peers": [str(peer) for peer in instance.peers],
        "advertised_address": instance.advertised_address,
        "addresses": [str(address) for address in instance.addresses],
        "devices": list(instance.devices),
    }


def _service(wire: _Service) -> ServicePlan:
    return ServicePlan(
        key=ObjectKey(wire.namespace, wire.name),
        addresses=_addresses(wire.addresses),
        pool=wire.pool,
        refusal=wire.refusal,
        events=tuple(wire.events),
    )


def _edge(wire: _Edge) -> EdgePlan:
    return EdgePlan(
        virtual_servers=tuple(_virtual_server(server) for server in wire.virtual_servers),
        addresses=tuple(
            VipAddress(_address(vip.address), tuple(vip.announce), vip.ready)
            for vip in wire.addresses
        ),
        vrrp=tuple(_vrrp(instance) for instance in wire.vrrp),
        bgp=tuple(
            BgpAnnouncement(
                prefix=route.prefix,
                peers=tuple(route.peers),
                communities=tuple(route.communities),
                local_pref=route.local_pref,
            )
            for route in wire.bgp
        ),
        bgp_policies=tuple(policy_from_wire(policy) for policy in wire.bgp_policies),
        bgp_peers=tuple(_peer(peer) for peer in wire.bgp_peers),
        failed=tuple(not_announced_from_wire(one) for one in wire.failed),
    )


def _peer(wire: PeerWire) -> BgpPeer:
    try:
        return peer_from_wire(wire)
    except ValueError as error:
        raise PlanFormatError(f"not a plan: bgp_peers: {error}") from None


def _virtual_server(wire: _VirtualServer) -> VirtualServer:
    namespace, _, name = wire.service.rpartition("/")
    return VirtualServer(
        address=_address(wire.address),
        protocol=wire.protocol,
        port=wire.port,
        scheduler=wire.scheduler,
        flags=tuple(wire.flags),
        forwarding=wire.forwarding,
        service=ObjectKey(namespace, name),
        persistence_seconds=wire.persistence_seconds,
        one_packet=wire.one_packet,
        source_ranges=None if wire.source_ranges is None else _networks(wire.source_ranges),
        slow_start_seconds=wire.slow_start_seconds,
        last_port=wire.last_port,
        mark=wire.mark,
        real_servers=tuple(
            RealServer(_address(real.address), real.port, real.weight) for real in wire.real_servers
        ),
    )


def _vrrp(wire: _Vrrp) -> VrrpInstance:
    return VrrpInstance(
        instance=wire.instance,
        interface=wire.interface,
        vrid=wire.vrid,
        priority=wire.priority,
        advert_interval=wire.advert_interval,
        preempt=wire.preempt,
        source=_address(wire.source),
        peers=_addresses(wire.peers),
        advertised_address=wire.advertised_address,
        addresses=_addresses(wire.addresses),
        devices=tuple(wire.devices),
    )


def _addresses(texts: list[str]) -> tuple[IPAddress, ...]:
    return tuple(_address(text) for text in texts)


def _networks(texts: list[str]) -> tuple[IPNetwork, ...]:
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise PlanFormatError(f"not a plan: source_ranges: {error}") from None


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return parse_address(text)
    except ValueError:
        raise PlanFormatError(f"not a plan: {text!r} is not an IP address") from None
