# SPDX-License-Identifier: Apache-2.0
"""What the announcer is asked for and what it answers: values between two threads."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fairlead.model.inventory import Edge
from fairlead.model.names import IPAddress
from fairlead.model.plan import EdgePlan, VirtualServer, VrrpInstance
from fairlead.render import BirdFile, MasqueradeTarget, render_bird
from fairlead.render.nft import masqueraded
from fairlead.render.port_marks import PortMark, port_marks
from fairlead.render.source_filter import SourceFilter, filters_of

Owned = Callable[[IPAddress], bool]


class FilterRules(NamedTuple):
    """What virtual servers need in the packet filter."""

    masquerade: frozenset[MasqueradeTarget] = frozenset()
    filters: frozenset[SourceFilter] = frozenset()
    marks: frozenset[PortMark] = frozenset()

    @classmethod
    def of(cls, servers: Iterable[VirtualServer]) -> "FilterRules":
        """Rules of these virtual servers."""
        servers = tuple(servers)
        return cls(masqueraded(servers), filters_of(servers), port_marks(servers))

    @classmethod
    def together(cls, parts: Iterable["FilterRules"]) -> "FilterRules":
        """Rules of several Services."""
        parts = tuple(parts)
        return cls(
            frozenset[MasqueradeTarget]().union(*(part.masquerade for part in parts)),
            frozenset[SourceFilter]().union(*(part.filters for part in parts)),
            frozenset[PortMark]().union(*(part.marks for part in parts)),
        )


@dataclass(frozen=True)
class BirdWanted:
    """What BIRD's file is made of: the BGP parts of this edge's plan, and secrets (never shown)."""

    edge: Edge
    plan: EdgePlan = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)

    def render(self) -> BirdFile:
        """The file.

        Raises:
            InventoryError: The edge has no IPv4 router id.
        """
        return render_bird(self.edge, self.plan, self.passwords)


@dataclass(frozen=True)
class Wanted:
    """What should be announced; `generation` comes back when it is true (or was tried).

    Attributes:
        bgp: VIPs on the dummy link.
        bird: None where BIRD's file is not ours to write.
        vrrp_used: Whether keepalived's file is ours to write at all.
        filters: Who is let into restricted virtual servers.
        marks: Marks of packets for port ranges.
        owned: Whether an address is a VIP of ours.
        interfaces: Where VRRP puts addresses on this edge.
        advertised: Stable addresses of the VRRP instances: holding one means being master.
    """

    generation: int = 0
    vrrp: tuple[VrrpInstance, ...] = ()
    vrrp_used: bool = False
    bgp: frozenset[IPAddress] = frozenset()
    bird: BirdWanted | None = None
    masquerade: frozenset[MasqueradeTarget] = frozenset()
    filters: frozenset[SourceFilter] = frozenset()
    marks: frozenset[PortMark] = frozenset()
    owned: Owned = field(default=lambda _address: False, compare=False)
    interfaces: tuple[str, ...] = ()
    advertised: tuple[IPAddress, ...] = ()

    def same(self, other: "Wanted") -> bool:
        """Whether both ask for the same, whatever their generations."""
        return _asked(self) == _asked(other)


@dataclass(frozen=True)
class Held:
    """VIPs that stand here: on LAN interfaces (with a stable one: master), on the dummy link.

    Attributes:
        missing: Interfaces that VRRP instances want and this machine does not have.
    """

    lan: frozenset[IPAddress] = frozenset()
    bgp: frozenset[IPAddress] = frozenset()
    missing: frozenset[str] = frozenset()


def interfaces_of(instance: VrrpInstance) -> tuple[str, ...]:
    """Interfaces on which an instance puts VIPs."""
    return instance.devices or (instance.interface,)


def _asked(wanted: Wanted) -> tuple[object, ...]:
    rules = (wanted.masquerade, wanted.filters, wanted.marks)
    return (wanted.vrrp, wanted.vrrp_used, wanted.bgp, wanted.bird, *rules)
