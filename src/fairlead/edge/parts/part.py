# SPDX-License-Identifier: Apache-2.0
"""What a part of an edge is: something in the kernel, a file or a daemon that is made true."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import ClassVar, Generic, TypeVar

import msgspec

from fairlead.model.inventory import Edge
from fairlead.model.names import Announce, IPAddress
from fairlead.model.plan import EdgePlan, VirtualServer, VrrpInstance

Owned = Callable[[IPAddress], bool]
"""Whether an address is a VIP of ours (`edge.ownership.OwnedVips`)."""

Desired = TypeVar("Desired")
Actual = TypeVar("Actual")


@dataclass(frozen=True)
class Target:
    """What an edge should hold: all that parts are computed from.

    Attributes:
        edge: This edge, as the inventory has it.
        announce: Ways of announcing that are on; the parts of one that is off desire nothing.
        plan: Its slice of the plan.
        virtual_servers: What the packet filter looks at: all of the plan's, or (the agent, which
            follows single ones) those that it treats apart.
        passwords: TCP MD5 secrets by name of the peer; never shown.
        owned: Whether an address is a VIP of ours.
    """

    edge: Edge
    announce: frozenset[Announce] = frozenset()
    plan: EdgePlan = field(default_factory=EdgePlan)
    virtual_servers: tuple[VirtualServer, ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    owned: Owned = field(default=lambda _address: False, compare=False, repr=False)

    @property
    def vrrp(self) -> tuple[VrrpInstance, ...]:
        """VRRP instances; () where VRRP is off."""
        return self.plan.vrrp if Announce.VRRP in self.announce else ()

    @property
    def by_bgp(self) -> frozenset[IPAddress]:
        """VIPs that BGP announces now; none where it is off, or has nobody to tell."""
        if Announce.BGP not in self.announce or not self.plan.bgp_peers:
            return frozenset()
        return frozenset(
            vip.address for vip in self.plan.addresses if vip.ready and Announce.BGP in vip.announce
        )

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Where VRRP may put VIPs on this edge, also while it is off: what was put there goes."""
        devices = {name for one in self.plan.vrrp for name in interfaces_of(one)}
        return tuple(sorted(devices | {self.edge.interface, *self.edge.interfaces}))

    @property
    def advertised(self) -> tuple[IPAddress, ...]:
        """Stable addresses of the VRRP instances: to have one is to be master."""
        texts = (one.advertised_address for one in self.vrrp)
        return tuple(ip_interface(text).ip for text in texts if text)

    def without(self, vips: Collection[IPAddress]) -> "Target":
        """The same without announcing some VIPs."""
        if not vips:
            return self
        plan = msgspec.structs.replace(
            self.plan,
            addresses=tuple(one for one in self.plan.addresses if one.address not in vips),
            vrrp=tuple(
                msgspec.structs.replace(
                    one, addresses=tuple(vip for vip in one.addresses if vip not in vips)
                )
                for one in self.plan.vrrp
            ),
        )
        return replace(self, plan=plan)


@dataclass(frozen=True)
class Difference:
    """What a part lacks to be true; `before` and `after` are for people, a thing a line.

    Attributes:
        changed: Whether anything has to be (or, in check mode, would be) done.
        changes: What, in words.
    """

    changed: bool
    before: str = ""
    after: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileDifference(Difference):
    """A text to be written and loaded; `before` and `after` show no secrets."""

    text: str = ""


Change = TypeVar("Change", bound=Difference)


class Part(ABC, Generic[Desired, Actual, Change]):
    """One part of an edge, with the verbs that everybody walks.

    A part that is switched off desires nothing, and is made true like any other.
    """

    name: ClassVar[str]

    @abstractmethod
    def desired(self, target: Target) -> Desired:
        """What it should be; equal values ask for the same."""

    @abstractmethod
    def actual(self) -> Actual:
        """What it is, read from kernel, file or daemon; raises `ApplyError`."""

    @abstractmethod
    def difference(self, desired: Desired, actual: Actual, owned: Owned) -> Change:
        """What has to be done; nothing that is not owned is taken away."""

    @abstractmethod
    def apply(self, change: Change, *, check: bool = False) -> None:
        """Do it, or only have a daemon's parser look at it; raises `ApplyError`."""

    def guards(self, target: Target) -> frozenset[IPAddress]:
        """VIPs that must not come up while this part can't be made true."""
        del target
        return frozenset()

    def make_true(self, target: Target, *, check: bool = False) -> Change:
        """Compare and apply; raises `ApplyError`. With an empty target the part is withdrawn."""
        change = self.difference(self.desired(target), self.actual(), target.owned)
        if change.changed:
            self.apply(change, check=check)
        return change


def interfaces_of(instance: VrrpInstance) -> tuple[str, ...]:
    """Interfaces on which an instance puts VIPs."""
    return instance.devices or (instance.interface,)
