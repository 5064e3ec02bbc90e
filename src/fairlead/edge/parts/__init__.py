# SPDX-License-Identifier: Apache-2.0
"""The parts of an edge, in the order of the way up.

What traffic meets first comes first: who is let in, marks of port ranges, source NAT, then IPVS;
then BIRD's policy, since what an advertisement says of a VIP must hold from its first moment; then
VIPs on the link, then VRRP. The way down is the reverse. Agent, edge modules, `verify` and `remove`
walk this one list.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fairlead.edge.ipvs import IpvsPort, IpvsTable
from fairlead.edge.links import LinkPort
from fairlead.edge.parts.bird import BirdPart, BirdPaths
from fairlead.edge.parts.ipvs import IpvsPart
from fairlead.edge.parts.packet_filter import PortMarksPart, SourceFilterPart, SourceNatPart
from fairlead.edge.parts.part import Difference, Owned, Part, Target, interfaces_of
from fairlead.edge.parts.vip_link import VipLinkPart
from fairlead.edge.parts.vrrp import VrrpPart, VrrpPaths
from fairlead.model.names import VIP_LINK

__all__ = [
    "AnyPart",
    "BirdPaths",
    "Difference",
    "EdgePaths",
    "Owned",
    "Part",
    "Parts",
    "Target",
    "VrrpPaths",
    "edge_parts",
    "interfaces_of",
]

AnyPart = Part[Any, Any, Any]


class Parts(NamedTuple):
    """All parts of an edge; the order of the fields is the order of the way up."""

    source_filter: AnyPart
    port_marks: AnyPart
    source_nat: AnyPart
    ipvs: AnyPart
    bird: AnyPart
    vip_link: AnyPart
    vrrp: AnyPart


@dataclass(frozen=True)
class EdgePaths:
    """Files and sockets of the daemons, and the dummy link."""

    link: str = VIP_LINK
    vrrp: VrrpPaths = field(default_factory=VrrpPaths)
    bird: BirdPaths = field(default_factory=BirdPaths)


def edge_parts(
    links: LinkPort,
    paths: EdgePaths | None = None,
    *,
    open_table: Callable[[], IpvsPort] = IpvsTable,
    prune: bool = True,
) -> Parts:
    """The parts of this machine.

    Args:
        links: Its links, or a fake; not shared between threads.
        paths: Where the daemons' things are.
        open_table: Opens the IPVS table when it is first needed.
        prune: Whether virtual servers go that the plan does not have.
    """
    where = paths or EdgePaths()
    return Parts(
        SourceFilterPart(),
        PortMarksPart(),
        SourceNatPart(),
        IpvsPart(open_table, prune=prune),
        BirdPart(where.bird),
        VipLinkPart(links, where.link),
        VrrpPart(links, where.vrrp),
    )
