# SPDX-License-Identifier: Apache-2.0
"""Text to addresses, their family and their order, for every layer."""

from functools import lru_cache
from ipaddress import IPv4Address, ip_address

from fairlead.model.names import Family, IPAddress


@lru_cache(maxsize=262_144)
def parse_address(text: str) -> IPAddress:
    """Return an address; zones (`fe80::1%eth0`) are refused.

    Cached, because an agent decodes a slice of 100 endpoints at every readiness flip and
    `ipaddress` needs 1.5 us for each; equal texts giving one object also makes comparing cheap and
    holds an endpoint's address once.

    Raises:
        ValueError: The text is no address.
    """
    address = ip_address(text)
    if not isinstance(address, IPv4Address) and address.scope_id is not None:
        raise ValueError(f"{text!r} carries a zone")
    return address


def address_order(address: IPAddress) -> tuple[int, int]:
    """Sort key of addresses: IPv4 before IPv6, then by number."""
    return address.version, int(address)


def family_of(address: IPAddress) -> Family:
    """Return the family of an address."""
    return Family.IPV4 if address.version == 4 else Family.IPV6
