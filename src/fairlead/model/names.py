# SPDX-License-Identifier: Apache-2.0
"""Names shared by every layer: object keys, the address type, enumerations of the field's terms."""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

VIP_LINK: Final = "fairlead0"
"""Dummy link of an edge that holds the VIPs announced by BGP; what stands there is exported."""

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class ObjectKey(NamedTuple):
    """Namespace and name of a Kubernetes object; the namespace of cluster-scoped kinds is ""."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Protocol(StrEnum):
    """Transport protocol of a Service port, as Kubernetes spells it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Family(StrEnum):
    """IP family, as Kubernetes spells it in `ipFamilies`."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class Forwarding(StrEnum):
    """How an edge hands a packet to a real server (design: forwarding modes)."""

    DSR = "dsr"
    TUNNEL = "tunnel"
    MASQUERADE = "masquerade"
    POD = "pod"


class Announce(StrEnum):
    """How the network learns that a VIP's traffic comes here."""

    VRRP = "vrrp"
    BGP = "bgp"


class TrafficPolicy(StrEnum):
    """externalTrafficPolicy of a Service."""

    CLUSTER = "Cluster"
    LOCAL = "Local"
