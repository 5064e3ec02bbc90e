# SPDX-License-Identifier: Apache-2.0
"""What a Service asks for: addresses, pool, families, sharing (metallb reference 1.1 to 1.3, 9).

Texts are upstream's, word for word, because people and their alerts search for them.
"""

from collections.abc import Sequence

import msgspec

from fairlead.model.addresses import family_of, parse_address
from fairlead.model.inventory import Inventory
from fairlead.model.kube import Service
from fairlead.model.names import Family, IPAddress, TrafficPolicy
from fairlead.planner.ledger import Use
from fairlead.planner.pools import PoolIndex

PREFIX = "metallb.io/"
OLD_DOMAIN = "metallb.universe.tf"
OLD_PREFIX = OLD_DOMAIN + "/"
ADDRESSES = "loadBalancerIPs"
POOL = "address-pool"
SHARING = "allow-shared-ip"
POOL_NOTE = PREFIX + "ip-allocated-from-pool"


class RequestError(Exception):
    """A request that can't be understood; the text is the reason in the Event."""


class Wish(msgspec.Struct, frozen=True):
    """What one Service asks for.

    Attributes:
        families: Families that it wants, the preferred one first; two for a dual stack.
        dual_required: Whether both of two families must be had.
        addresses: Addresses asked for by name, () for none.
        address_error: Why the request for addresses can't be understood, "" otherwise.
        pool: Pool asked for by name, "" for none.
    """

    families: tuple[Family, ...]
    dual_required: bool
    addresses: tuple[IPAddress, ...]
    address_error: str
    pool: str
    use: Use


def annotation(service: Service, name: str) -> str:
    """Value under the current prefix, else under the old one; an empty current one wins."""
    annotations = service.annotations
    if not annotations:
        return ""
    current = annotations.get(PREFIX + name)
    return annotations.get(OLD_PREFIX + name, "") if current is None else current


def is_ours(service: Service, inventory: Inventory) -> bool:
    """Whether a Service is ours to serve: its type and its class."""
    return not foreign_because(service, inventory)


def foreign_because(service: Service, inventory: Inventory) -> str:
    """Why a Service is not ours to serve, "" if it is."""
    if service.type != "LoadBalancer":
        return f"its type is {quoted(service.type)}, not LoadBalancer"
    own, ours = service.load_balancer_class, inventory.load_balancer_class
    if own == ours:
        return ""
    has = "no loadBalancerClass" if own is None else f"loadBalancerClass {quoted(own)}"
    wants = "those without one" if ours is None else f"class {quoted(ours)}"
    return f"it has {has}; served are {wants} (load_balancer_class of the inventory)"


def wish_of(service: Service, families: tuple[Family, ...]) -> Wish:
    """Read a Service's request; `families` are those that it should get."""
    try:
        addresses, error = requested_addresses(service), ""
    except RequestError as problem:
        addresses, error = (), str(problem)
    return Wish(
        families=families,
        dual_required=len(families) == 2 and service.ip_family_policy == "RequireDualStack",
        addresses=addresses,
        address_error=error,
        pool=annotation(service, POOL),
        use=use_of(service),
    )


def use_of(service: Service) -> Use:
    """How a Service would use an address: what decides whether another may share it."""
    return Use(
        service.key,
        annotation(service, SHARING),
        _backend_key(service),
        frozenset([(port.protocol, port.port) for port in service.ports]),
    )


def requested_addresses(service: Service) -> tuple[IPAddress, ...]:
    """Addresses asked for by annotation or `spec.loadBalancerIP`; raises `RequestError`."""
    text = annotation(service, ADDRESSES)
    if text and service.load_balancer_ip:
        raise RequestError(
            f"service can not have both {PREFIX}{ADDRESSES} and svc.Spec.LoadBalancerIP"
        )
    if not text:
        if not service.load_balancer_ip:
            return ()
        address = _address(service.load_balancer_ip)
        if address is None:
            raise RequestError(f"invalid spec.loadBalancerIP {quoted(service.load_balancer_ip)}")
        return (address,)
    parsed = [_address(part.strip()) for part in text.split(",")]
    addresses = tuple(address for address in parsed if address is not None)
    if len(addresses) != len(parsed):
        raise RequestError(f"invalid {PREFIX}{ADDRESSES}: {quoted(text)}")
    problem = pair_problem(addresses)
    if problem:
        raise RequestError(problem)
    return addresses


def pair_problem(addresses: Sequence[IPAddress]) -> str:
    """Why addresses are neither one nor a pair of two families, "" if they are."""
    if len(addresses) > 2:
        return f"IPFamilyForAddresses: invalid ips length {len(addresses)} {listed(addresses)}"
    if len({address.version for address in addresses}) < len(addresses):
        return f"IPFamilyForAddresses: same address family {listed(addresses)}"
    return ""


def wanted_families(service: Service, pools: PoolIndex) -> tuple[Family, ...]:
    """Families that a Service should get, the preferred one first; () where none can be told.

    They follow the ClusterIPs, which the API server gives every Service of ours. A manifest that
    never saw an API server (no uid) has none yet: then `ipFamilies`, the request, and what the
    pools offer decide, as a cluster with those families would.

    Raises:
        RequestError: The ClusterIPs are no addresses, or not one or a pair.
    """
    if service.cluster_ips and service.cluster_ips != ("None",):
        return _ordered(_cluster_families(service.cluster_ips), service)
    if service.uid or service.cluster_ips:
        return ()
    if service.ip_family_policy == "SingleStack":
        return (_likely_family(service, pools),)
    return _ordered((Family.IPV4, Family.IPV6), service)


def listed(addresses: Sequence[IPAddress | str]) -> str:
    """Addresses as upstream's Events show them: `["a" "b"]`."""
    return "[" + " ".join(f'"{address}"' for address in addresses) + "]"


def quoted(text: str) -> str:
    """Untrusted text as a Go string literal, so that it can't break a line of a log."""
    return msgspec.json.encode(text).decode()


def _cluster_families(texts: tuple[str, ...]) -> tuple[Family, ...]:
    parsed = [_address(text) for text in texts]
    addresses = [address for address in parsed if address is not None]
    if len(addresses) != len(parsed):
        raise RequestError(f"IPFamilyForAddresses: Invalid address {listed(texts)}")
    problem = pair_problem(addresses)
    if problem:
        raise RequestError(problem)
    return tuple(family_of(address) for address in addresses)


def _ordered(families: tuple[Family, ...], service: Service) -> tuple[Family, ...]:
    """Preferred family first; a single-stack Service wants one only."""
    if len(families) == 1:
        return families
    first = service.ip_families[0] if service.ip_families else Family.IPV4
    ordered = (first, Family.IPV4 if first is Family.IPV6 else Family.IPV6)
    return ordered[:1] if service.ip_family_policy == "SingleStack" else ordered


def _likely_family(service: Service, pools: PoolIndex) -> Family:
    if service.ip_families:
        return service.ip_families[0]
    try:
        requested = requested_addresses(service)
    except RequestError:
        requested = ()
    if requested:
        return family_of(requested[0])
    named = pools.by_name.get(annotation(service, POOL))
    if named is not None:
        families = {part.family for part in named.ranges}
        return Family.IPV4 if Family.IPV4 in families else Family.IPV6
    for address, _ in service.ingress:
        if pools.has_family(family_of(address)):
            return family_of(address)
    only_6 = pools.has_family(Family.IPV6) and not pools.has_family(Family.IPV4)
    return Family.IPV6 if only_6 else Family.IPV4


def _backend_key(service: Service) -> str:
    """Services of policy Local may share only with those of the same pods."""
    if service.policy is not TrafficPolicy.LOCAL:
        return ""
    return ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))


def _address(text: str) -> IPAddress | None:
    try:
        address = parse_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address
