# SPDX-License-Identifier: Apache-2.0
"""What this edge should announce, put together from the planner's news and the peers' secrets."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeVar

import msgspec

from fairlead.cluster.peer_secrets import PeerSecret
from fairlead.edge.parts import Owned, Target
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.names import ObjectKey
from fairlead.model.plan import EdgePlan, VirtualServer
from fairlead.planner.delta import EdgeDelta

SECRETS = "Secret"
T = TypeVar("T")
Servers = tuple[VirtualServer, ...]


class EdgeTarget:
    """Kept by the main loop alone; what it gives out are values.

    Attributes:
        plan: This edge's slice of the plan, without virtual servers.
        filtered: Virtual servers of Services about which the packet filter has rules.
        touched: Whether anything beside the plan became different since `take`.
    """

    def __init__(self, inventory: Inventory, edge: Edge) -> None:
        self._base = Target(edge, frozenset(inventory.announce))
        self._secrets: dict[ObjectKey, PeerSecret] = {}
        self.filtered: dict[ObjectKey, Servers] = {}
        self.touched = False
        self.plan = EdgePlan()

    def take(self, news: EdgeDelta) -> None:
        """Take what the planner says about announcing; nothing is untold then."""
        self.touched = False
        old = self.plan
        self.plan = EdgePlan(
            addresses=_newer(news.addresses, old.addresses),
            vrrp=_newer(news.vrrp, old.vrrp),
            bgp=_newer(news.bgp, old.bgp),
            bgp_policies=_newer(news.bgp_policies, old.bgp_policies),
            bgp_peers=_newer(news.bgp_peers, old.bgp_peers),
            failed=_newer(news.failed, old.failed),
        )

    def put_servers(self, service: ObjectKey, servers: Servers) -> None:
        """Virtual servers of a Service about which the packet filter has, or had, rules.

        All of the Service: its single ports lie inside of its range. Weights are IPVS's.
        """
        without_weights = tuple(msgspec.structs.replace(one, real_servers=()) for one in servers)
        if self.filtered.get(service, ()) != without_weights:
            self.touched = True
            self.filtered.pop(service, None)
            if servers:
                self.filtered[service] = without_weights

    def put_secret(self, secret: PeerSecret) -> None:
        """A Secret came or changed."""
        self.touched |= self._secrets.get(secret.key) != secret
        self._secrets[secret.key] = secret

    def remove_secret(self, key: ObjectKey) -> None:
        """A Secret is gone."""
        self.touched |= self._secrets.pop(key, None) is not None

    def replace_secrets(self, secrets: Iterable[PeerSecret], keep: Collection[ObjectKey]) -> None:
        """A complete list; `keep` are in it, but can't be read."""
        listed = {one.key: one for one in secrets}
        for key in [key for key in self._secrets if key not in listed and key not in keep]:
            self.remove_secret(key)
        for one in listed.values():
            self.put_secret(one)

    def target(self, owned: Owned) -> Target:
        """What the announcer makes true."""
        return replace(
            self._base,
            plan=self.plan,
            virtual_servers=tuple(one for some in self.filtered.values() for one in some),
            passwords=self._passwords(),
            owned=owned,
        )

    def _passwords(self) -> dict[str, str]:
        found = {}
        for peer in self.plan.bgp_peers:
            if (ref := peer.password_secret) is None:
                continue
            secret = self._secrets.get(ObjectKey(ref.namespace, ref.name))
            if secret is not None and ref.key in secret.values:
                found[peer.name] = secret.values[ref.key]
        return found


def _newer(new: T | None, old: T) -> T:
    return old if new is None else new
