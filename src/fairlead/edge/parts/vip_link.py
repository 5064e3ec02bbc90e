# SPDX-License-Identifier: Apache-2.0
"""VIPs on the dummy link: what stands there is what BGP announces."""

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.diff.addresses import AddAddress, AddressChange, diff_addresses
from fairlead.edge.links import LinkPort
from fairlead.edge.parts.part import Difference, Owned, Part, Target
from fairlead.model.addresses import address_order
from fairlead.model.names import VIP_LINK, IPAddress


@dataclass(frozen=True)
class LinkAddresses:
    """What stands on the link; one that is missing or down is made when it is needed."""

    up: bool
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True)
class LinkDifference(Difference):
    """Addresses to put on and to take off, and whether the link has to be made first."""

    make: bool = False
    moves: tuple[AddressChange, ...] = ()


class VipLinkPart(Part[frozenset[IPAddress], LinkAddresses, LinkDifference]):
    """VIPs as /32 or /128 on the dummy link; without BGP there need not be such a link."""

    name = "VIP link"

    def __init__(self, links: LinkPort, link: str = VIP_LINK) -> None:
        self._links, self._link = links, link

    def desired(self, target: Target) -> frozenset[IPAddress]:
        """VIPs that are ready and announced by BGP."""
        return target.by_bgp

    def actual(self) -> LinkAddresses:
        """Addresses on the link."""
        return LinkAddresses(self._links.is_up(self._link), self._links.addresses(self._link))

    def difference(
        self, desired: frozenset[IPAddress], actual: LinkAddresses, owned: Owned
    ) -> LinkDifference:
        """Additions, then removals; an address that is not ours stays."""
        moves = diff_addresses(desired, actual.addresses, owned)
        missing = bool(desired) and not actual.up
        return LinkDifference(
            missing or bool(moves),
            _lines(actual.addresses),
            _lines(_after(actual.addresses, moves)),
            tuple(map(str, moves)),
            make=missing,
            moves=tuple(moves),
        )

    def apply(self, change: LinkDifference, *, check: bool = False) -> None:
        """Make the link if need be, then move addresses."""
        if not check:
            if change.make:
                self._links.ensure_link(self._link)
            self._links.apply(change.moves, self._link)


def _after(before: Sequence[IPAddress], moves: Sequence[AddressChange]) -> list[IPAddress]:
    added = {one.address for one in moves if isinstance(one, AddAddress)}
    removed = {one.address for one in moves} - added
    return sorted({*before} - removed | added, key=address_order)


def _lines(addresses: Sequence[IPAddress]) -> str:
    return "".join(f"{address}\n" for address in addresses)
