# SPDX-License-Identifier: Apache-2.0
"""The parts that stand in the packet filter: who is let in, marks of port ranges, source NAT.

A VIP that one of them is about must not come up without it: restricted it would be open, and
answers without source NAT would go to the client by a way that it does not know.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic

from fairlead.edge.packet_filter import (
    Rule,
    RuleChange,
    RuleKind,
    RuleState,
    compare,
    make_rules,
    read_rules,
)
from fairlead.edge.parts.part import Difference, Owned, Part, Target
from fairlead.edge.port_marks import MARKS
from fairlead.edge.source_filter import SOURCES
from fairlead.edge.source_nat import SOURCE_NAT, conntrack_enabled, enable_conntrack
from fairlead.model.names import IPAddress
from fairlead.model.plan import VirtualServer
from fairlead.render import MasqueradeTarget
from fairlead.render.nft import masqueraded
from fairlead.render.port_marks import PortMark, port_marks
from fairlead.render.source_filter import SourceFilter, filters_of


@dataclass(frozen=True)
class RuleDifference(Difference, Generic[Rule]):
    """Rules that are there, and those that should be.

    Attributes:
        rules: Those that should be.
        change, actual: What `apply` works with.
    """

    rules: frozenset[Rule] = frozenset()
    change: RuleChange[Any] | None = None
    actual: RuleState[Any] | None = None


class _RulePart(Part[frozenset[Rule], RuleState[Rule], RuleDifference[Rule]]):
    """A set of rules, each about one VIP."""

    verb: ClassVar[str]
    kind: ClassVar[RuleKind[Any]]

    def desired(self, target: Target) -> frozenset[Rule]:
        """Rules for the virtual servers that the packet filter looks at."""
        servers = target.virtual_servers
        return self.rules_for(servers) if servers else frozenset()

    @abstractmethod
    def rules_for(self, servers: Collection[VirtualServer]) -> frozenset[Rule]:
        """Rules that some virtual servers need."""

    def actual(self) -> RuleState[Rule]:
        """Rules in the kernel, and what carries them."""
        return read_rules(self.kind)

    def difference(
        self, desired: frozenset[Rule], actual: RuleState[Rule], owned: Owned
    ) -> RuleDifference[Rule]:
        """Rules to come and to go, and what is broken around them; all of it is ours alone."""
        del owned
        change = compare(self.kind, desired, actual)
        broken = "".join(f"broken: {fault}\n" for fault in change.faults)
        return RuleDifference(
            change.changed,
            self._lines(change.before) + broken,
            self._lines(desired),
            change.faults,
            rules=desired,
            change=change,
            actual=actual,
        )

    def apply(self, change: RuleDifference[Rule], *, check: bool = False) -> None:
        """Load them."""
        if not check and change.change is not None and change.actual is not None:
            make_rules(self.kind, change.change, change.actual)

    def guards(self, target: Target) -> frozenset[IPAddress]:
        """VIPs that have rules here."""
        return frozenset(rule.address for rule in self.desired(target))

    def text(self, rule: Rule) -> str:
        """A rule in words."""
        return str(rule)

    def _lines(self, rules: Iterable[Rule]) -> str:
        return "".join(f"{self.verb} {text}\n" for text in sorted(map(self.text, rules)))


class SourceFilterPart(_RulePart[SourceFilter]):
    """`loadBalancerSourceRanges`."""

    name = "source filter"
    verb = "restrict"
    kind = SOURCES

    def rules_for(self, servers: Collection[VirtualServer]) -> frozenset[SourceFilter]:
        """Whom each restricted virtual server lets in."""
        return filters_of(servers)

    def text(self, rule: SourceFilter) -> str:
        """Where, and who is let in."""
        return f"{rule.place} from {', '.join(map(str, rule.sources)) or 'nobody'}"


class PortMarksPart(_RulePart[PortMark]):
    """Marks by which IPVS knows port ranges."""

    name = "port marks"
    verb = "mark"
    kind = MARKS

    def rules_for(self, servers: Collection[VirtualServer]) -> frozenset[PortMark]:
        """Marks that port ranges need."""
        return port_marks(servers)


class SourceNatPart(_RulePart[MasqueradeTarget]):
    """Source NAT of forwarding mode `masquerade`, and the sysctl that IPVS needs for it."""

    name = "source NAT"
    verb = "masquerade"
    kind = SOURCE_NAT

    def rules_for(self, servers: Collection[VirtualServer]) -> frozenset[MasqueradeTarget]:
        """Virtual servers whose answers must come back through this edge."""
        return masqueraded(servers)

    def difference(
        self,
        desired: frozenset[MasqueradeTarget],
        actual: RuleState[MasqueradeTarget],
        owned: Owned,
    ) -> RuleDifference[MasqueradeTarget]:
        """As for all rules; a sysctl that somebody switched off is a difference as well."""
        found = super().difference(desired, actual, owned)
        if not desired or conntrack_enabled():
            return found
        off = "net.ipv4.vs.conntrack is off"
        return replace(
            found,
            changed=True,
            before=f"{found.before}broken: {off}\n",
            changes=(*found.changes, off),
        )

    def apply(self, change: RuleDifference[MasqueradeTarget], *, check: bool = False) -> None:
        """Switch the sysctl on, and load them."""
        if not check and change.rules:
            enable_conntrack()
        if change.change is not None and change.change.changed:
            super().apply(change, check=check)

    def text(self, rule: MasqueradeTarget) -> str:
        """Address, protocol and port."""
        return f"{rule.address} {rule.protocol} {rule.port}"
