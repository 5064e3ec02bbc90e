# SPDX-License-Identifier: Apache-2.0
"""The inventory document (edges, pools, peers, modes) to its typed form.

One parser for `fairlead plan --edges`, the Ansible `plan` module and the agent. Unknown keys are
refused: a misspelt `auto_asign` must not silently mean its default.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_interface
from typing import Annotated, Any

import msgspec

from fairlead.model.bgp import BgpSettings
from fairlead.model.errors import InventoryError, ObjectFieldError
from fairlead.model.groups import DEFAULT_GROUP, MOST_CHARACTERS
from fairlead.model.inventory import Edge, Inventory, ServiceSync, VrrpSettings
from fairlead.model.names import Announce, Forwarding
from fairlead.model.pool import Pool
from fairlead.model.schedulers import SCHEDULERS
from fairlead.model.words import INSTANCE_NAME, is_word, word_rule
from fairlead.snapshot.inventory_adverts import (
    bfd_entries,
    bgp_entries,
    community_entries,
    l2_entries,
    peer_entries,
)
from fairlead.snapshot.pools import parse_ranges, parse_selection
from fairlead.snapshot.selectors import no_duplicates
from fairlead.snapshot.text import (
    address_field,
    interface_name,
    label_name,
    router_id_field,
    subdomain_name,
)
from fairlead.snapshot.wire import ServiceAllocationWire

_ROUNDING = 1e-6  # of a float that stands for a number with two decimals
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Asn = Annotated[int, msgspec.Meta(ge=1, le=4_294_967_295)]
_VrrpPriority = Annotated[int, msgspec.Meta(ge=1, le=254)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base: snake_case names, nothing unknown."""


class _Edge(_Strict):
    name: str
    address: str
    address6: str | None = None
    interface: str = "eth0"
    priority: _VrrpPriority | None = None
    router_id: str | None = None
    labels: dict[str, str] = {}
    interfaces: list[str] = []


class _Pool(_Strict):
    name: str
    addresses: list[str] = []
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    service_allocation: ServiceAllocationWire | None = None
    labels: dict[str, str] = {}


class _Vrrp(_Strict):
    instance: str = "fairlead"
    vrid: Annotated[int, msgspec.Meta(ge=1, le=255)] = 51
    advertised_address: str = ""
    advert_interval: Annotated[float, msgspec.Meta(ge=0.01, le=40.95)] = 0.1
    preempt: bool = False


class _Bgp(_Strict):
    local_asn: _Asn = 64512
    peers: list[dict[str, Any]] = []


class _Inventory(_Strict):
    edges: list[_Edge] = []
    group: str = DEFAULT_GROUP
    pools: list[dict[str, Any]] = []
    announce: list[Announce] | Announce = Announce.VRRP
    forwarding: Forwarding = Forwarding.DSR
    scheduler: str = "mh"
    vrrp: _Vrrp = msgspec.field(default_factory=_Vrrp)
    bgp: _Bgp = msgspec.field(default_factory=_Bgp)
    service_sync: str = ServiceSync.LIVE.value
    load_balancer_class: str | None = None
    pool_namespace: str = "metallb-system"
    nodes_per_service: _Count = 25
    announce_default: bool = True
    hold_unready: bool = True
    l2_advertisements: list[dict[str, Any]] = []
    bgp_advertisements: list[dict[str, Any]] = []
    bfd_profiles: list[dict[str, Any]] = []
    communities: list[dict[str, Any]] = []


def inventory_from_dict(data: Mapping[str, Any]) -> Inventory:
    """Parse the inventory document, as a YAML parser gave it.

    Raises:
        InventoryError: Names the field, e.g. `pools[1].addresses[0]`.
    """
    wire = _convert(data, _Inventory, "")
    try:
        return _inventory(wire)
    except ObjectFieldError as error:
        raise InventoryError(error.field, error.message) from None


def _convert(data: Any, kind: type[Any], where: str) -> Any:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        text, found, path = str(error).rpartition(" - at `")
        below = "" if not found else path.rstrip("`").removeprefix("$").lstrip(".")
        field = ".".join(part for part in (where, below) if part) or "document"
        raise InventoryError(field.replace(".[", "["), text if found else path) from None


def _inventory(wire: _Inventory) -> Inventory:
    edges = tuple(_edge(edge, f"edges[{index}]") for index, edge in enumerate(wire.edges))
    _distinct([edge.name for edge in edges], "edges", "name")
    _distinct([str(edge.address) for edge in edges], "edges", "address")
    if wire.scheduler not in SCHEDULERS:
        raise InventoryError(
            "scheduler", f"{wire.scheduler!r} is not one of {', '.join(SCHEDULERS)}"
        )
    announce = [wire.announce] if isinstance(wire.announce, Announce) else wire.announce
    label_name(wire.pool_namespace, "pool_namespace")
    return Inventory(
        edges=edges,
        group=_group(wire.group),
        pools=_pools(wire.pools),
        announce=tuple(way for way in Announce if way in announce),
        forwarding=wire.forwarding,
        scheduler=wire.scheduler,
        vrrp=_vrrp(wire.vrrp),
        bgp=BgpSettings(
            local_asn=wire.bgp.local_asn,
            peers=peer_entries(
                wire.bgp.peers,
                [edge.name for edge in edges],
                wire.bgp.local_asn,
                wire.pool_namespace,
            ),
        ),
        service_sync=_service_sync(wire.service_sync),
        load_balancer_class=wire.load_balancer_class or None,
        pool_namespace=wire.pool_namespace,
        nodes_per_service=wire.nodes_per_service,
        announce_default=wire.announce_default,
        hold_unready=wire.hold_unready,
        l2_advertisements=l2_entries(wire.l2_advertisements),
        bgp_advertisements=bgp_entries(wire.bgp_advertisements),
        bfd_profiles=bfd_entries(wire.bfd_profiles),
        communities=community_entries(wire.communities),
    )


def _group(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise InventoryError("group", f"{text!r} has more than {MOST_CHARACTERS} characters")
    return label_name(text, "group")


def _service_sync(text: str) -> ServiceSync:
    """Refuses `playbook` by name: it is known from the design, and nothing carries it out yet."""
    try:
        return ServiceSync(text)
    except ValueError:
        why = "nothing would write addresses or follow readiness; " if text == "playbook" else ""
        raise InventoryError(
            "service_sync",
            f"{text!r} is not offered: {why}leave the key out or write live, "
            "and the agents follow Services at once",
        ) from None


def _edge(wire: _Edge, field: str) -> Edge:
    address6 = address_field(wire.address6, f"{field}.address6") if wire.address6 else None
    if address6 is not None and address6.version != 6:
        raise InventoryError(f"{field}.address6", f"{address6} is not an IPv6 address")
    return Edge(
        name=subdomain_name(wire.name, f"{field}.name"),
        address=address_field(wire.address, f"{field}.address"),
        address6=address6,
        interface=interface_name(wire.interface, f"{field}.interface"),
        priority=wire.priority,
        router_id=router_id_field(wire.router_id, f"{field}.router_id") if wire.router_id else None,
        labels=wire.labels,
        interfaces=_interfaces(wire, f"{field}.interfaces"),
    )


def _interfaces(wire: _Edge, field: str) -> tuple[str, ...]:
    """Further interfaces; naming the main one again changes nothing."""
    names = [interface_name(name, f"{field}[{i}]") for i, name in enumerate(wire.interfaces)]
    no_duplicates(names, field)
    return tuple(name for name in names if name != wire.interface)


def _pools(documents: Sequence[Mapping[str, Any]]) -> tuple[Pool, ...]:
    pools: list[Pool] = []
    for index, document in enumerate(documents):
        field = f"pools[{index}]"
        pool = _pool(_convert(_snake(document), _Pool, field), field)
        for other in pools:
            clash = overlap(pool, other)
            if clash:
                raise InventoryError(f"{field}.addresses[{clash[0]}]", clash[1])
        pools.append(pool)
    _distinct([pool.name for pool in pools], "pools", "name")
    return tuple(pools)


def _pool(wire: _Pool, field: str) -> Pool:
    allocation = wire.service_allocation
    where = f"{field}.service_allocation"
    return Pool(
        name=subdomain_name(wire.name, f"{field}.name"),
        ranges=parse_ranges(wire.addresses, f"{field}.addresses"),
        auto_assign=wire.auto_assign,
        avoid_buggy_ips=wire.avoid_buggy_ips,
        selection=parse_selection(allocation, where) if allocation else None,
        labels=wire.labels,
    )


def overlap(pool: Pool, other: Pool) -> tuple[int, str] | None:
    """The first entry of `pool` that overlaps `other`: (its index, a sentence)."""
    for index, part in enumerate(pool.ranges):
        for taken in other.ranges:
            if part.overlaps(taken):
                return index, f"{part.text!r} overlaps {taken.text!r} of pool {other.name!r}"
    return None


_POOL_KEYS = {
    "autoAssign": "auto_assign",
    "avoidBuggyIPs": "avoid_buggy_ips",
    "serviceAllocation": "service_allocation",
}
_ALLOCATION_KEYS = {
    "namespace_selectors": "namespaceSelectors",
    "service_selectors": "serviceSelectors",
}
_SELECTOR_KEYS = {"match_labels": "matchLabels", "match_expressions": "matchExpressions"}


def _snake(pool: Mapping[str, Any]) -> dict[str, Any]:
    """Accept the spelling of `IPAddressPool` as well, so that a spec can be pasted."""
    renamed = {_POOL_KEYS.get(key, key): value for key, value in pool.items()}
    allocation = renamed.get("service_allocation")
    if isinstance(allocation, Mapping):
        renamed["service_allocation"] = {
            _ALLOCATION_KEYS.get(key, key): _selectors(value)
            if key.lower().endswith("selectors")
            else value
            for key, value in allocation.items()
        }
    return renamed


def _selectors(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [
        {_SELECTOR_KEYS.get(key, key): term for key, term in item.items()}
        if isinstance(item, Mapping)
        else item
        for item in value
    ]


def _vrrp(wire: _Vrrp) -> VrrpSettings:
    if wire.advertised_address:
        try:
            ip_interface(wire.advertised_address)
        except ValueError:
            raise InventoryError(
                "vrrp.advertised_address",
                f"{wire.advertised_address!r} is not an address with prefix length",
            ) from None
    if not is_word(wire.instance, INSTANCE_NAME):
        raise InventoryError("vrrp.instance", f"{wire.instance!r} {word_rule(INSTANCE_NAME)}")
    if abs(wire.advert_interval * 100 - round(wire.advert_interval * 100)) > _ROUNDING:
        raise InventoryError(
            "vrrp.advert_interval",
            f"{wire.advert_interval:g} must be a multiple of 0.01: VRRP counts in hundredths of a "
            "second (RFC 5798)",
        )
    return VrrpSettings(
        instance=wire.instance,
        vrid=wire.vrid,
        advertised_address=wire.advertised_address,
        advert_interval=wire.advert_interval,
        preempt=wire.preempt,
    )


def _distinct(names: Sequence[str], field: str, attribute: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InventoryError(f"{field}[{index}].{attribute}", f"{name!r} is there twice")
