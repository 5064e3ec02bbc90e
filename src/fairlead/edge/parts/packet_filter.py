# SPDX-License-Identifier: Apache-2.0
"""The parts that stand in the packet filter: who is let in, marks of port ranges, source NAT.

A VIP that one of them is about must not come up without it: restricted it would be open, and
answers without source NAT would go to the client by a way that it does not know.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic

from fairlead.edge.packet_filter import Rule
from fairlead.edge.parts.part import Difference, Owned, Part, Target
from fairlead.edge.port_marks import marks_in_force, reconcile_marks
from fairlead.edge.source_filter import reconcile_sources, source_filters
from fairlead.edge.source_nat import masqueraded as masqueraded_now
from fairlead.edge.source_nat import reconcile_masquerade
from fairlead.model.names import IPAddress
from fairlead.render import MasqueradeTarget
from fairlead.render.nft import masqueraded
from fairlead.render.port_marks import PortMark, port_marks
from fairlead.render.source_filter import SourceFilter, filters_of


@dataclass(frozen=True)
class RuleDifference(Difference, Generic[Rule]):
    """Rules that are there, and those that should be."""

    rules: frozenset[Rule] = frozenset()


class _RulePart(Part[frozenset[Rule], frozenset[Rule], RuleDifference[Rule]]):
    """A set of rules, each about one VIP."""

    verb: ClassVar[str]

    def text(self, rule: Rule) -> str:
        """A rule in words."""
        return str(rule)

    def _lines(self, rules: Iterable[Rule]) -> str:
        return "".join(f"{self.verb} {text}\n" for text in sorted(map(self.text, rules)))

    def difference(
        self, desired: frozenset[Rule], actual: frozenset[Rule], owned: Owned
    ) -> RuleDifference[Rule]:
        """Rules to come and to go; the table is ours alone."""
        del owned
        before, after = self._lines(actual), self._lines(desired)
        return RuleDifference(desired != actual, before, after, rules=desired)

    def guards(self, target: Target) -> frozenset[IPAddress]:
        """VIPs that have rules here."""
        return frozenset(rule.address for rule in self.desired(target))


class SourceFilterPart(_RulePart[SourceFilter]):
    """`loadBalancerSourceRanges`."""

    name = "source filter"
    verb = "restrict"

    def text(self, rule: SourceFilter) -> str:
        """Where, and who is let in."""
        return f"{rule.place} from {', '.join(map(str, rule.sources)) or 'nobody'}"

    def desired(self, target: Target) -> frozenset[SourceFilter]:
        """Whom each restricted virtual server lets in."""
        return filters_of(target.virtual_servers)

    def actual(self) -> frozenset[SourceFilter]:
        """Filters in the kernel."""
        return source_filters()

    def apply(self, change: RuleDifference[SourceFilter], *, check: bool = False) -> None:
        """Load them."""
        reconcile_sources(change.rules, check=check)


class PortMarksPart(_RulePart[PortMark]):
    """Marks by which IPVS knows port ranges."""

    name = "port marks"
    verb = "mark"

    def desired(self, target: Target) -> frozenset[PortMark]:
        """Marks that port ranges need."""
        return port_marks(target.virtual_servers)

    def actual(self) -> frozenset[PortMark]:
        """Marks that the kernel sets."""
        return marks_in_force()

    def apply(self, change: RuleDifference[PortMark], *, check: bool = False) -> None:
        """Load them."""
        reconcile_marks(change.rules, check=check)


class SourceNatPart(_RulePart[MasqueradeTarget]):
    """Source NAT of forwarding mode `masquerade`."""

    name = "source NAT"
    verb = "masquerade"

    def text(self, rule: MasqueradeTarget) -> str:
        """Address, protocol and port."""
        return f"{rule.address} {rule.protocol} {rule.port}"

    def desired(self, target: Target) -> frozenset[MasqueradeTarget]:
        """Virtual servers whose answers must come back through this edge."""
        return masqueraded(target.virtual_servers)

    def actual(self) -> frozenset[MasqueradeTarget]:
        """What the kernel masquerades."""
        return masqueraded_now()

    def apply(self, change: RuleDifference[MasqueradeTarget], *, check: bool = False) -> None:
        """Load it, with the sysctl that IPVS needs for it."""
        reconcile_masquerade(change.rules, check=check)
