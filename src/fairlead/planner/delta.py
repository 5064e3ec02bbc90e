# SPDX-License-Identifier: Apache-2.0
"""What one edge has not been told yet, and the telling."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from fairlead.model.bgp import BgpPeer
from fairlead.model.inventory import Edge
from fairlead.model.names import ObjectKey
from fairlead.model.plan import (
    BgpAnnouncement,
    BgpPolicy,
    NotAnnounced,
    VipAddress,
    VirtualServer,
    VrrpInstance,
)
from fairlead.planner.adverts import Advertising, VipRow
from fairlead.planner.edges import (
    bgp_announcements,
    failures,
    vip_addresses,
    vrrp_instances,
)

T = TypeVar("T")


class ServersChange(msgspec.Struct, frozen=True):
    """What is different in the virtual servers of one Service.

    Attributes:
        servers: All of them now, () where none are left.
        changed: Those that are new or different.
        former: Those that were different, or are gone.
    """

    servers: tuple[VirtualServer, ...]
    changed: tuple[VirtualServer, ...]
    former: tuple[VirtualServer, ...]


class EdgeDelta(msgspec.Struct, frozen=True, kw_only=True):
    """What changed for one edge since it last asked.

    Attributes:
        virtual_servers: Services whose virtual servers changed.
        addresses, vrrp, bgp, bgp_policies, bgp_peers, failed: Whole new values as in `EdgePlan`,
            None where unchanged.
        announcing: Whether any of these may be different.
    """

    virtual_servers: Mapping[ObjectKey, ServersChange]
    addresses: tuple[VipAddress, ...] | None = None
    vrrp: tuple[VrrpInstance, ...] | None = None
    bgp: tuple[BgpAnnouncement, ...] | None = None
    bgp_policies: tuple[BgpPolicy, ...] | None = None
    bgp_peers: tuple[BgpPeer, ...] | None = None
    failed: tuple[NotAnnounced, ...] | None = None
    announcing: bool = False

    def __bool__(self) -> bool:
        return bool(self.virtual_servers) or self.announcing


class Pending:
    """What one edge has not been told yet.

    Attributes:
        before: Virtual servers of Services that may have changed, as it was told of them.
        vips, advertising: Whether VIPs, and what is advertised, may be different.
    """

    def __init__(self, edge: Edge, services: Iterable[ObjectKey]) -> None:
        """Nothing was told: these Services and everything else are due."""
        self.before: dict[ObjectKey, tuple[VirtualServer, ...]] = dict.fromkeys(services, ())
        self.vips = True
        self.advertising = True
        self._edge = edge
        self._last: dict[str, object] = {}

    def take(
        self,
        changed: Mapping[ObjectKey, ServersChange],
        vips: tuple[VipRow, ...],
        advertising: Advertising,
    ) -> EdgeDelta:
        """Tell what is due about announcing, beside virtual servers that changed."""
        edge = self._edge
        policies, peers = None, None
        if self.advertising:
            policies = self._new("bgp_policies", advertising.policies(edge.name))
            peers = self._new("bgp_peers", advertising.peers(edge.name))
        self.vips = self.advertising = False
        return EdgeDelta(
            virtual_servers=changed,
            announcing=True,
            addresses=vip_addresses(edge, vips),
            vrrp=self._new("vrrp", vrrp_instances(edge, vips, advertising)),
            bgp=self._new("bgp", bgp_announcements(edge, vips)),
            bgp_policies=policies,
            bgp_peers=peers,
            failed=self._new("failed", failures(edge, vips)),
        )

    def _new(self, name: str, value: T) -> T | None:
        """The value, None where this is what was told last."""
        if name in self._last and self._last[name] == value:
            return None
        self._last[name] = value
        return value
