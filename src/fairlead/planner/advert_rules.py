# SPDX-License-Identifier: Apache-2.0
"""Rules of advertisements over pools: which pools, which prefixes, which conflicts (3.1, 3.2)."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range

from fairlead.model.advertisement import BgpAdvertisement, L2Advertisement
from fairlead.model.names import IPAddress, IPNetwork
from fairlead.model.pool import AddressRange, Pool
from fairlead.model.selector import any_matches


def pools_of(one: L2Advertisement | BgpAdvertisement, pools: Iterable[Pool]) -> tuple[Pool, ...]:
    """Pools that an advertisement is for: named or selected; all where it says neither."""
    if not one.pools and not one.pool_selectors:
        return tuple(pools)
    return tuple(
        pool
        for pool in pools
        if pool.name in one.pools or any_matches(one.pool_selectors, pool.labels)
    )


def length_for(one: BgpAdvertisement, version: int) -> int:
    """Length of the prefixes that an advertisement announces in a family."""
    return one.aggregation_length if version == 4 else one.aggregation_length_v6


def aggregation_problem(one: BgpAdvertisement, pool: Pool) -> tuple[str, str] | None:
    """Why prefixes of an advertisement would be wider than a pool's entry; field and sentence.

    A range counts by the widest CIDR inside it, as upstream.
    """
    for part in pool.ranges:
        length = length_for(one, part.first.version)
        widest = min(network.prefixlen for network in cidrs(part))
        if length < widest:
            field = "aggregationLength" if part.first.version == 4 else "aggregationLengthV6"
            return field, (
                f"/{length} is wider than {part.text!r} of pool {pool.name!r}, "
                f"whose widest prefix is a /{widest}"
            )
    return None


def local_prefs_fit(one: BgpAdvertisement, other: BgpAdvertisement, pool: Pool) -> bool:
    """Whether two advertisements of one pool, on one edge, never disagree about LOCAL_PREF.

    They can't disagree about prefixes of different lengths or towards different peers.
    """
    if (one.local_pref or 0) == (other.local_pref or 0):
        return True
    versions = {part.first.version for part in pool.ranges}
    if all(length_for(one, version) != length_for(other, version) for version in versions):
        return True
    return bool(one.peers and other.peers and not set(one.peers) & set(other.peers))


@lru_cache(maxsize=4096)
def cidrs(part: AddressRange) -> tuple[IPNetwork, ...]:
    """CIDRs that cover a range exactly, in order."""
    first, last = part.first, part.last
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address):
        return tuple(summarize_address_range(first, last))
    if isinstance(first, IPv6Address) and isinstance(last, IPv6Address):
        return tuple(summarize_address_range(first, last))
    return ()  # a range never mixes families: the parser of pools refuses it


def announced_within(pool: Pool, version: int, length: int) -> set[IPNetwork]:
    """CIDRs in which all prefixes of this length lie that a pool's addresses can lead to."""
    found: set[IPNetwork] = set()
    for part in pool.ranges:
        if part.first.version == version:
            found |= {
                network.supernet(new_prefix=length) if network.prefixlen > length else network
                for network in cidrs(part)
            }
    return found


@lru_cache(maxsize=65_536)
def prefix_of(address: IPAddress, length: int) -> str:
    """The prefix of this length around an address, as text."""
    return str(ip_network(f"{address}/{length}", strict=False))
