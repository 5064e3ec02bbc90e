# SPDX-License-Identifier: Apache-2.0
"""Desired and actual VIPs on the dummy link -> changes. Pure."""

from collections.abc import Callable, Iterable

import msgspec

from fairlead.model.addresses import address_order
from fairlead.model.names import IPAddress


class AddAddress(msgspec.Struct, frozen=True, gc=False):
    """Put a VIP on the link as /32 or /128."""

    address: IPAddress

    def __str__(self) -> str:
        return f"+{self.address}/{self.address.max_prefixlen}"


class DelAddress(msgspec.Struct, frozen=True, gc=False):
    """Take a VIP off the link."""

    address: IPAddress

    def __str__(self) -> str:
        return f"-{self.address}/{self.address.max_prefixlen}"


AddressChange = AddAddress | DelAddress


def diff_addresses(
    desired: Iterable[IPAddress],
    actual: Iterable[IPAddress],
    owned: Callable[[IPAddress], bool],
) -> list[AddressChange]:
    """Additions, then removals, each sorted; an address outside of the pools is never removed."""
    wanted, present = set(desired), set(actual)
    adds = [AddAddress(address) for address in sorted(wanted - present, key=address_order)]
    gone = [address for address in sorted(present - wanted, key=address_order) if owned(address)]
    return [*adds, *(DelAddress(address) for address in gone)]
