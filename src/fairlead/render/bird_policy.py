# SPDX-License-Identifier: Apache-2.0
"""Export policy of one session, computed from the plan's policies and announcements.

Policies say what any VIP inside some ranges gets, so they stay in the file while Services come and
go. Whatever a VIP that is announced now gets beyond that (advertisements with serviceSelectors) is
an exception by prefix; aggregates are listed one by one. Nothing else is ever exported.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple

from fairlead.model.names import Announce, IPAddress
from fairlead.model.plan import BgpAnnouncement, BgpPolicy, EdgePlan


class Attributes(NamedTuple):
    """What a route carries; communities as the plan writes them."""

    communities: frozenset[str] = frozenset()
    local_pref: int | None = None


class _Prefix(NamedTuple):
    """A prefix by number: `ipaddress` hashes and compares in Python, too slow for every VIP."""

    version: int
    number: int
    length: int

    @property
    def is_host(self) -> bool:
        """Whether it is one address."""
        return self.length == (32 if self.version == 4 else 128)

    def __str__(self) -> str:
        address = IPv4Address(self.number) if self.version == 4 else IPv6Address(self.number)
        return f"{address}/{self.length}"


@dataclass(frozen=True)
class RuleView:
    """Prefix patterns and what is done to what they match; `accept` False refuses it."""

    patterns: tuple[str, ...]
    statements: tuple[str, ...] = ()
    accept: bool = True


@dataclass(frozen=True)
class ExportView:
    """One export filter: aggregates by prefix, exceptions by prefix, then policies that add up."""

    aggregates: tuple[RuleView, ...] = ()
    exceptions: tuple[RuleView, ...] = ()
    policies: tuple[RuleView, ...] = ()


class Announced:
    """A plan's announcements by router, and the VIPs that stand; made once for all sessions."""

    def __init__(self, plan: EdgePlan) -> None:
        self.plan = plan
        self._exported: dict[str, dict[_Prefix, Attributes]] = defaultdict(dict)
        for one in plan.bgp:
            prefix, attributes = _prefix(one.prefix), attributes_of(one)
            for peer in one.peers:
                self._exported[peer][prefix] = attributes
        self._standing = [
            _Prefix(vip.address.version, int(vip.address), vip.address.max_prefixlen)
            for vip in plan.addresses
            if vip.ready and Announce.BGP in vip.announce
        ]

    def exported(self, peer: str) -> Mapping[_Prefix, Attributes]:
        """What a router hears now."""
        return self._exported.get(peer, {})

    def exceptions(self, peer: str, version: int) -> dict[_Prefix, Attributes | None]:
        """VIPs that the policies alone would announce otherwise; None refuses one."""
        exported, policy = self.exported(peer), HostPolicy(self.plan, peer, version)
        return {
            host: exported.get(host)
            for host in self._standing
            if host.version == version and exported.get(host) != policy.attributes(host.number)
        }


class HostPolicy:
    """What one peer hears of any VIP of one family, by the policies alone."""

    def __init__(self, plan: EdgePlan, peer: str, version: int) -> None:
        """Take the policies for host routes of a family; aggregates are listed elsewhere."""
        self.ranges: dict[Attributes, set[_Prefix]] = defaultdict(set)
        self._bits = 32 if version == 4 else 128
        for policy in plan.bgp_policies:
            if policy.length == self._bits and peer in policy.peers:
                found = {_prefix(text) for text in policy.prefixes}
                own = {one for one in found if one.version == version}
                self.ranges[attributes_of(policy)] |= own
        by_length: dict[int, dict[int, list[Attributes]]] = defaultdict(dict)
        for attributes, ranges in sorted(self.ranges.items(), key=_attribute_order):
            for one in ranges:
                by_length[one.length].setdefault(one.number, []).append(attributes)
        self._found = [(self._bits - length, rows) for length, rows in by_length.items()]

    def attributes(self, number: int) -> Attributes | None:
        """What the policies give an address, None where they announce it not at all."""
        hits: list[Attributes] = []
        for shift, rows in self._found:
            hits += rows.get(number >> shift << shift, ())
        if len(hits) < 2:
            return hits[0] if hits else None
        preferences = [hit.local_pref for hit in hits if hit.local_pref is not None]
        return Attributes(
            frozenset().union(*(hit.communities for hit in hits)),
            max(preferences, default=None),
        )


def export_views(announced: Announced, peer: str, family: str) -> ExportView:
    """Return what one peer hears of one family (`ipv4`, `ipv6`)."""
    version = int(family[-1])
    wide = {
        prefix: attributes
        for prefix, attributes in announced.exported(peer).items()
        if prefix.version == version and not prefix.is_host
    }
    policy = HostPolicy(announced.plan, peer, version)
    return ExportView(
        aggregates=_rules(wide),
        exceptions=_rules(announced.exceptions(peer, version)),
        policies=tuple(
            RuleView(_patterns(ranges, host=True), statements(attributes))
            for attributes, ranges in sorted(policy.ranges.items(), key=_attribute_order)
            if ranges
        ),
    )


def aggregates(plan: EdgePlan, family: str) -> tuple[str, ...]:
    """Return the prefixes of one family that the edge originates by itself."""
    prefixes = {_prefix(one.prefix) for one in plan.bgp}
    version = int(family[-1])
    wide = {one for one in prefixes if one.version == version and not one.is_host}
    return _patterns(wide, host=False)


def exceptional(plan: EdgePlan) -> frozenset[IPAddress]:
    """VIPs whose attributes stand in the file one by one, for some peer."""
    announced = Announced(plan)
    return frozenset(
        IPv4Address(host.number) if version == 4 else IPv6Address(host.number)
        for peer in plan.bgp_peers
        for version in (4, 6)
        for host in announced.exceptions(peer.name, version)
    )


def attributes_of(one: BgpAnnouncement | BgpPolicy) -> Attributes:
    """What an announcement or a policy gives; equal ones are the same object."""
    return _attributes(one.communities, one.local_pref)


@lru_cache(maxsize=4096)
def _attributes(communities: tuple[str, ...], local_pref: int | None) -> Attributes:
    return Attributes(frozenset(communities), local_pref)


@lru_cache(maxsize=131_072)
def _prefix(text: str) -> _Prefix:
    """A prefix by number; cached, because all are looked at again when one changes."""
    network = ip_network(text)
    return _Prefix(network.version, int(network.network_address), network.prefixlen)


def statements(attributes: Attributes) -> tuple[str, ...]:
    """Filter statements that give a route its attributes."""
    found = []
    for text in sorted(attributes.communities, key=_community_order):
        parts = _numbers(text)
        kind = "bgp_large_community" if len(parts) == 3 else "bgp_community"
        found.append(f"{kind}.add(({', '.join(map(str, parts))}));")
    if attributes.local_pref is not None:
        found.append(f"bgp_local_pref = {attributes.local_pref};")
    return tuple(found)


def _rules(by_prefix: Mapping[_Prefix, Attributes | None]) -> tuple[RuleView, ...]:
    groups: dict[Attributes | None, set[_Prefix]] = defaultdict(set)
    for prefix, attributes in by_prefix.items():
        groups[attributes].add(prefix)
    refused = groups.pop(None, set())
    rules = [
        RuleView(_patterns(prefixes, host=False), statements(attributes))
        for attributes, prefixes in sorted(groups.items(), key=_attribute_order)
        if attributes is not None
    ]
    if refused:
        rules.append(RuleView(_patterns(refused, host=False), accept=False))
    return tuple(rules)


def _patterns(prefixes: Iterable[_Prefix], *, host: bool) -> tuple[str, ...]:
    """Prefixes as BIRD writes them; `host` means the host routes inside, `192.0.2.0/28{32,32}`."""
    bits = {4: 32, 6: 128}
    return tuple(
        f"{one}{{{bits[one.version]},{bits[one.version]}}}" if host else str(one)
        for one in sorted(prefixes)
    )


def _numbers(community: str) -> tuple[int, ...]:
    return tuple(int(part) for part in community.removeprefix("large:").split(":"))


def _community_order(text: str) -> tuple[int, tuple[int, ...]]:
    numbers = _numbers(text)
    return len(numbers), numbers


def _attribute_order(
    item: tuple[Attributes | None, set[_Prefix]],
) -> tuple[list[tuple[int, tuple[int, ...]]], int]:
    attributes = item[0] or Attributes()
    return sorted(map(_community_order, attributes.communities)), attributes.local_pref or -1
