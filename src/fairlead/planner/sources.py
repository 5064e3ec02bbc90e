# SPDX-License-Identifier: Apache-2.0
"""`loadBalancerSourceRanges` -> which clients a virtual server lets in.

As kube-proxy has it (pkg/proxy/serviceport.go), so that an edge and the nodes behind it agree:
ranges of one family say nothing about the other, and a range of length 0 lets everybody in. An
entry that is no CIDR lets nobody in: who restricts a Service must not find it open.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from fairlead.model.kube import Service
from fairlead.model.names import Family, IPNetwork
from fairlead.model.plan import PlanEvent

INVALID_RANGE = "InvalidSourceRange"


def admitted_sources(service: Service, family: Family) -> tuple[IPNetwork, ...] | None:
    """Networks of one family that are let in, disjoint and sorted; None for everybody."""
    if not (service.source_ranges or service.source_range_errors):
        return None
    own = [part for part in service.source_ranges if _family(part) is family]
    if any(part.prefixlen == 0 for part in own):
        return None
    if not own and not service.source_range_errors:
        return None
    return tuple(_disjoint(own))


def source_events(service: Service) -> tuple[PlanEvent, ...]:
    """A Warning where an entry is no CIDR."""
    if not service.source_range_errors:
        return ()
    texts = ", ".join(ascii(text) for text in service.source_range_errors)
    message = (
        f"invalid loadBalancerSourceRanges: {texts}: not a CIDR such as 192.0.2.0/24; "
        "only the other ranges are let in"
    )
    return (PlanEvent("Warning", INVALID_RANGE, message),)


def _family(network: IPNetwork) -> Family:
    return Family.IPV4 if network.version == 4 else Family.IPV6


def _disjoint(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    four = [network for network in networks if isinstance(network, IPv4Network)]
    six = [network for network in networks if isinstance(network, IPv6Network)]
    return [*collapse_addresses(four), *collapse_addresses(six)]
