# SPDX-License-Identifier: Apache-2.0
"""Which VIPs stand on this edge: on LAN interfaces (by VRRP), on the dummy link (by BGP)."""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from fairlead.edge.links import Links
from fairlead.model.names import VIP_LINK, IPAddress


class StandingVips(msgspec.Struct, frozen=True):
    """VIPs that stand here now.

    Attributes:
        lan: On interfaces of the LAN, stable VRRP addresses among them: who has one is master.
        link: On the dummy link.
        missing: Interfaces that VRRP instances want and this machine does not have.
    """

    lan: frozenset[IPAddress] = frozenset()
    link: frozenset[IPAddress] = frozenset()
    missing: frozenset[str] = frozenset()

    def all(self) -> frozenset[IPAddress]:
        """Those of both places."""
        return self.lan | self.link


class VipReader(Protocol):
    """Reads addresses of this machine, and takes them off."""

    def read(self, interfaces: Iterable[str]) -> StandingVips:
        """All addresses on these interfaces and on the dummy link."""

    def remove(self, interfaces: Iterable[str], addresses: Iterable[IPAddress]) -> None:
        """Take addresses off these interfaces."""


class LinkVipReader:
    """`VipReader` of the kernel."""

    def __init__(self, links: Links, link: str = VIP_LINK) -> None:
        self._links, self._link = links, link

    def read(self, interfaces: Iterable[str]) -> StandingVips:
        """All addresses on these interfaces and on the dummy link."""
        lan = {address for name in interfaces for address in self._lan(name)}
        return StandingVips(frozenset(lan), frozenset(self._links.addresses(self._link)))

    def remove(self, interfaces: Iterable[str], addresses: Iterable[IPAddress]) -> None:
        """Take addresses off these interfaces."""
        gone = set(addresses)
        for name in interfaces:
            self._links.remove(gone & set(self._lan(name)), name)

    def _lan(self, interface: str) -> tuple[IPAddress, ...]:
        """All addresses there: among edges of IPv6 the stable one may be link-local."""
        return self._links.addresses(interface, link_local=True)


def ours(
    found: StandingVips,
    owned: Callable[[IPAddress], bool],
    advertised: Iterable[IPAddress],
    missing: frozenset[str],
) -> StandingVips:
    """Only VIPs, and the stable addresses of VRRP on the LAN."""
    stable = frozenset(advertised)
    lan = frozenset(one for one in found.lan if one in stable or owned(one))
    return StandingVips(lan, frozenset(filter(owned, found.link)), missing)
