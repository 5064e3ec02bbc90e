# SPDX-License-Identifier: Apache-2.0
"""The announcer's effects on this edge: packet filter, BIRD, addresses, keepalived."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fairlead.agent.wanted import Held, Owned
from fairlead.edge.bird import apply_bird
from fairlead.edge.keepalived import apply_vrrp
from fairlead.edge.links import Links, reconcile_addresses
from fairlead.edge.port_marks import reconcile_marks
from fairlead.edge.source_filter import reconcile_sources
from fairlead.edge.source_nat import reconcile_masquerade
from fairlead.model.names import IPAddress
from fairlead.model.plan import VrrpInstance
from fairlead.render import MasqueradeTarget
from fairlead.render.port_marks import PortMark
from fairlead.render.source_filter import SourceFilter


class Steps(Protocol):
    """The effects, so that a test can stand in for daemons and kernel."""

    def sources(self, filters: Iterable[SourceFilter]) -> bool:
        """Make true who is let in; whether anything changed."""

    def marks(self, marks: Iterable[PortMark]) -> bool:
        """Make marks of port ranges true; whether anything changed."""

    def masquerade(self, targets: Iterable[MasqueradeTarget]) -> bool:
        """Make the source NAT true; whether anything changed."""

    def bird(self, text: str) -> bool:
        """Make BIRD run a file; whether anything changed."""

    def addresses(self, wanted: frozenset[IPAddress], owned: Owned) -> bool:
        """Make the dummy link hold exactly these VIPs; whether anything changed."""

    def vrrp(self, instances: tuple[VrrpInstance, ...]) -> bool:
        """Make keepalived hold these; whether anything changed."""

    def missing(self, interfaces: Iterable[str]) -> frozenset[str]:
        """Interfaces that are not there."""

    def held(self, interfaces: Iterable[str]) -> Held:
        """Addresses on these interfaces and on the dummy link."""

    def clean(self, interfaces: Iterable[str], addresses: Iterable[IPAddress]) -> None:
        """Take addresses off these interfaces."""

    def close(self) -> None:
        """Let go of sockets."""


@dataclass(frozen=True)
class EdgePaths:
    """Files and sockets of the daemons, and the dummy link.

    Attributes:
        vrrp_loaded, bird_loaded: What each daemon was told to load last.
    """

    link: str
    vrrp_conf: Path
    keepalived_pid: Path
    vrrp_loaded: Path
    bird_conf: Path
    bird_control: Path
    bird_loaded: Path


class EdgeSteps:
    """The real effects."""

    def __init__(self, links: Links, paths: EdgePaths) -> None:
        self._links, self._paths = links, paths

    def sources(self, filters: Iterable[SourceFilter]) -> bool:
        """Make true who is let in; whether anything changed."""
        return reconcile_sources(filters).changed

    def marks(self, marks: Iterable[PortMark]) -> bool:
        """Make marks of port ranges true; whether anything changed."""
        return reconcile_marks(marks).changed

    def masquerade(self, targets: Iterable[MasqueradeTarget]) -> bool:
        """Make the source NAT true; whether anything changed."""
        return reconcile_masquerade(targets).changed

    def bird(self, text: str) -> bool:
        """Make BIRD run a file; whether anything changed."""
        paths = self._paths
        return apply_bird(
            text,
            path=paths.bird_conf,
            control=paths.bird_control,
            loaded_mark=paths.bird_loaded,
        ).changed

    def addresses(self, wanted: frozenset[IPAddress], owned: Owned) -> bool:
        """Make the dummy link hold exactly these VIPs; whether anything changed."""
        link = self._paths.link
        if not wanted and not self._links.exists(link):
            return False  # an edge without BGP needs no such link
        return reconcile_addresses(self._links, wanted, owned, name=link).changed

    def vrrp(self, instances: tuple[VrrpInstance, ...]) -> bool:
        """Make keepalived hold these; whether anything changed."""
        paths = self._paths
        return apply_vrrp(
            instances,
            path=paths.vrrp_conf,
            pid_file=paths.keepalived_pid,
            loaded_mark=paths.vrrp_loaded,
        ).changed

    def missing(self, interfaces: Iterable[str]) -> frozenset[str]:
        """Interfaces that are not there."""
        return frozenset(name for name in interfaces if not self._links.exists(name))

    def held(self, interfaces: Iterable[str]) -> Held:
        """Addresses on these interfaces and on the dummy link."""
        lan = {address for name in interfaces for address in self._links.addresses(name)}
        return Held(frozenset(lan), frozenset(self._links.addresses(self._paths.link)))

    def clean(self, interfaces: Iterable[str], addresses: Iterable[IPAddress]) -> None:
        """Take addresses off these interfaces."""
        gone = set(addresses)
        for name in interfaces:
            self._links.remove(gone & set(self._links.addresses(name)), name)

    def close(self) -> None:
        """Let go of sockets."""
        self._links.close()
