# SPDX-License-Identifier: Apache-2.0
"""How this edge announces: its parts of the plan, and the secrets of its BGP sessions."""

from collections.abc import Collection, Iterable
from ipaddress import ip_interface
from typing import TypeVar

from fairlead.agent.wanted import BirdWanted, FilterRules, Owned, Wanted, interfaces_of
from fairlead.cluster.peer_secrets import PeerSecret
from fairlead.model.bgp import BgpPeer
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import Announce, IPAddress, ObjectKey
from fairlead.model.plan import BgpAnnouncement, EdgePlan, NotAnnounced, VipAddress, VrrpInstance
from fairlead.planner.delta import EdgeDelta

SECRETS = "Secret"
T = TypeVar("T")


class EdgeWays:
    """Kept by the main loop; its properties may be read from any thread."""

    def __init__(self, inventory: Inventory, edge: Edge) -> None:
        self._edge = edge
        self._uses_bgp = Announce.BGP in inventory.announce
        self._uses_vrrp = Announce.VRRP in inventory.announce
        self._plan = EdgePlan()
        self._secrets: dict[ObjectKey, PeerSecret] = {}
        self._touched = False

    def take(self, raw: EdgeDelta) -> bool:
        """Take what the planner says; whether anything about announcing is different."""
        old = self._plan
        self._plan = EdgePlan(
            addresses=_newer(raw.addresses, old.addresses),
            vrrp=_newer(raw.vrrp, old.vrrp),
            bgp=_newer(raw.bgp, old.bgp),
            bgp_policies=_newer(raw.bgp_policies, old.bgp_policies),
            bgp_peers=_newer(raw.bgp_peers, old.bgp_peers),
            failed=_newer(raw.failed, old.failed),
        )
        touched, self._touched = self._touched, False
        parts = (raw.addresses, raw.vrrp, raw.bgp, raw.bgp_policies, raw.bgp_peers, raw.failed)
        return touched or any(part is not None for part in parts)

    def put_secret(self, secret: PeerSecret) -> None:
        """A Secret came or changed."""
        self._touched |= self._secrets.get(secret.key) != secret
        self._secrets[secret.key] = secret

    def remove_secret(self, key: ObjectKey) -> None:
        """A Secret is gone."""
        self._touched |= self._secrets.pop(key, None) is not None

    def replace_secrets(self, secrets: Iterable[PeerSecret], keep: Collection[ObjectKey]) -> None:
        """A complete list; `keep` are in it, but can't be read."""
        listed = {one.key: one for one in secrets}
        for key in [key for key in self._secrets if key not in listed and key not in keep]:
            self.remove_secret(key)
        for one in listed.values():
            self.put_secret(one)

    @property
    def peers(self) -> tuple[BgpPeer, ...]:
        """Sessions of this edge."""
        return self._plan.bgp_peers

    @property
    def failed(self) -> tuple[NotAnnounced, ...]:
        """Services that this edge should announce and can't, by the inventory."""
        return self._plan.failed

    @property
    def vrrp(self) -> tuple[VrrpInstance, ...]:
        """VRRP instances of this edge."""
        return self._plan.vrrp

    @property
    def routes(self) -> tuple[BgpAnnouncement, ...]:
        """Prefixes that this edge originates now."""
        return self._plan.bgp

    def wanted(self, generation: int, owned: Owned, rules: FilterRules) -> Wanted:
        """What should be announced, as a whole."""
        plan = self._plan
        devices = {name for one in plan.vrrp for name in interfaces_of(one)}
        bgp = self._uses_bgp and bool(plan.bgp_peers)
        return Wanted(
            generation=generation,
            vrrp=plan.vrrp,
            vrrp_used=self._uses_vrrp,
            bgp=frozenset(map(_address, filter(_by_bgp, plan.addresses))) if bgp else frozenset(),
            bird=self._bird() if self._uses_bgp else None,
            masquerade=rules.masquerade,
            filters=rules.filters,
            marks=rules.marks,
            owned=owned,
            interfaces=tuple(sorted(devices | {self._edge.interface})),
            advertised=tuple(
                ip_interface(one.advertised_address).ip
                for one in plan.vrrp
                if one.advertised_address
            ),
        )

    def _bird(self) -> BirdWanted:
        plan = EdgePlan(
            addresses=self._plan.addresses,
            bgp=self._plan.bgp,
            bgp_policies=self._plan.bgp_policies,
            bgp_peers=self._plan.bgp_peers,
        )
        return BirdWanted(self._edge, plan, self._passwords())

    def _passwords(self) -> dict[str, str]:
        found = {}
        for peer in self._plan.bgp_peers:
            if (ref := peer.password_secret) is None:
                continue
            secret = self._secrets.get(ObjectKey(ref.namespace, ref.name))
            if secret is not None and ref.key in secret.values:
                found[peer.name] = secret.values[ref.key]
        return found


def _newer(new: T | None, old: T) -> T:
    return old if new is None else new


def _by_bgp(vip: VipAddress) -> bool:
    return vip.ready and Announce.BGP in vip.announce


def _address(vip: VipAddress) -> IPAddress:
    return vip.address
