# SPDX-License-Identifier: Apache-2.0
"""Export policy of one session, computed from the plan's policies and announcements.

Policies say what any VIP inside some ranges gets, so they stay in the file while Services come and
go. Whatever a VIP that is announced now gets beyond that (advertisements with serviceSelectors) is
an exception by prefix; aggregates are listed one by one. Nothing else is ever exported.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

from fairlead.model.names import Announce, IPAddress, IPNetwork
from fairlead.model.plan import BgpAnnouncement, EdgePlan


class Attributes(NamedTuple):
    """What a route carries; communities as the plan writes them."""

    communities: frozenset[str] = frozenset()
    local_pref: int | None = None


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


class HostPolicy:
    """What one peer hears of any VIP of one family, by the policies alone."""

    def __init__(self, plan: EdgePlan, peer: str, version: int) -> None:
        """Take the policies for host routes of a family; aggregates are listed elsewhere."""
        self.ranges: dict[Attributes, set[IPNetwork]] = defaultdict(set)
        self._found: dict[int, dict[int, list[Attributes]]] = defaultdict(dict)
        self._bits = 32 if version == 4 else 128
        for policy in plan.bgp_policies:
            if policy.length != self._bits or peer not in policy.peers:
                continue
            attributes = Attributes(frozenset(policy.communities), policy.local_pref)
            networks = (ip_network(text) for text in policy.prefixes)
            self.ranges[attributes] |= {one for one in networks if one.version == version}
        for attributes, ranges in sorted(self.ranges.items(), key=_attribute_order):
            for network in ranges:
                row = self._found[network.prefixlen]
                row.setdefault(int(network.network_address), []).append(attributes)

    def attributes(self, address: IPAddress) -> Attributes | None:
        """What the policies give an address, None where they announce it not at all."""
        hits: list[Attributes] = []
        number = int(address)
        for length, networks in self._found.items():
            shift = self._bits - length
            hits += networks.get(number >> shift << shift, ())
        if not hits:
            return None
        preferences = [hit.local_pref for hit in hits if hit.local_pref is not None]
        return Attributes(
            frozenset().union(*(hit.communities for hit in hits)),
            max(preferences, default=None),
        )


def export_views(plan: EdgePlan, peer: str, family: str) -> ExportView:
    """Return what one peer hears of one family (`ipv4`, `ipv6`)."""
    version = int(family[-1])
    policy = HostPolicy(plan, peer, version)
    told = {
        ip_network(one.prefix): Attributes(frozenset(one.communities), one.local_pref)
        for one in plan.bgp
        if peer in one.peers and (":" in one.prefix) == (version == 6)
    }
    return ExportView(
        aggregates=_rules({net: one for net, one in told.items() if not _is_host(net)}),
        exceptions=_rules(_exceptions(plan, policy, told, version)),
        policies=tuple(
            RuleView(_patterns(ranges, host=True), statements(attributes))
            for attributes, ranges in sorted(policy.ranges.items(), key=_attribute_order)
            if ranges
        ),
    )


def aggregates(plan: EdgePlan, family: str) -> tuple[str, ...]:
    """Return the prefixes of one family that the edge originates by itself."""
    networks = {ip_network(one.prefix) for one in plan.bgp if _is_aggregate(one)}
    version = int(family[-1])
    return _patterns({one for one in networks if one.version == version}, host=False)


def exceptional(plan: EdgePlan) -> frozenset[IPAddress]:
    """VIPs whose attributes stand in the file one by one, for some peer."""
    found: set[IPAddress] = set()
    for peer in plan.bgp_peers:
        for version in (4, 6):
            policy = HostPolicy(plan, peer.name, version)
            told = {
                ip_network(one.prefix): Attributes(frozenset(one.communities), one.local_pref)
                for one in plan.bgp
                if peer.name in one.peers
            }
            found |= {net.network_address for net in _exceptions(plan, policy, told, version)}
    return frozenset(found)


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


def _exceptions(
    plan: EdgePlan,
    policy: HostPolicy,
    told: dict[IPNetwork, Attributes],
    version: int,
) -> dict[IPNetwork, Attributes | None]:
    """VIPs that stand on the link and that the policies alone would announce otherwise."""
    found: dict[IPNetwork, Attributes | None] = {}
    for vip in plan.addresses:
        if not vip.ready or Announce.BGP not in vip.announce or vip.address.version != version:
            continue
        host = ip_network(vip.address)
        wanted = told.get(host)
        if wanted != policy.attributes(vip.address):
            found[host] = wanted
    return found


def _rules(by_prefix: dict[IPNetwork, Attributes | None]) -> tuple[RuleView, ...]:
    groups: dict[Attributes | None, set[IPNetwork]] = defaultdict(set)
    for network, attributes in by_prefix.items():
        groups[attributes].add(network)
    refused = groups.pop(None, set())
    rules = [
        RuleView(_patterns(networks, host=False), statements(attributes))
        for attributes, networks in sorted(groups.items(), key=_attribute_order)
        if attributes is not None
    ]
    if refused:
        rules.append(RuleView(_patterns(refused, host=False), accept=False))
    return tuple(rules)


def _patterns(networks: Iterable[IPNetwork], *, host: bool) -> tuple[str, ...]:
    """Prefixes as BIRD writes them; `host` means the host routes inside, `192.0.2.0/28{32,32}`."""
    ordered = sorted(networks, key=lambda item: (int(item.network_address), item.prefixlen))
    return tuple(
        f"{net}{{{net.max_prefixlen},{net.max_prefixlen}}}" if host else str(net) for net in ordered
    )


def _is_host(network: IPNetwork) -> bool:
    return network.prefixlen == network.max_prefixlen


def _is_aggregate(one: BgpAnnouncement) -> bool:
    return not one.prefix.endswith("/128" if ":" in one.prefix else "/32")


def _numbers(community: str) -> tuple[int, ...]:
    return tuple(int(part) for part in community.removeprefix("large:").split(":"))


def _community_order(text: str) -> tuple[int, tuple[int, ...]]:
    numbers = _numbers(text)
    return len(numbers), numbers


def _attribute_order(
    item: tuple[Attributes | None, set[IPNetwork]],
) -> tuple[list[tuple[int, tuple[int, ...]]], int]:
    attributes = item[0] or Attributes()
    return sorted(map(_community_order, attributes.communities)), attributes.local_pref or -1
