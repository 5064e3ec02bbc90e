# SPDX-License-Identifier: Apache-2.0
"""BIRD's file as a part: sessions and export policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.edge.bird import BIRD_CONF, LOADED_MARK, apply_bird, bird_refusal, masked
from fairlead.edge.bird_control import CONTROL_SOCKET
from fairlead.edge.bird_refusals import without_refused
from fairlead.edge.config_file import DaemonFile, Ids, read_text
from fairlead.edge.parts.part import FileDifference, Owned, Part, Target
from fairlead.model.inventory import Edge
from fairlead.model.names import Announce, IPAddress
from fairlead.model.plan import EdgePlan, ObjectError
from fairlead.render import render_bird
from fairlead.render.bird import BirdFile
from fairlead.render.bird_policy import exceptional

NO_SESSIONS = """\
# Written by fairlead: BGP is off in the inventory, so there are no sessions.
# BIRD's parser refuses a file without any protocol.
protocol direct fairlead_off {
    disabled;
}
"""
"""The file where BGP is switched off; sessions and aggregates of before are gone with it."""


@dataclass(frozen=True)
class BirdPaths:
    """Where BIRD's things are, and who may write them.

    Attributes:
        loaded: What it was told to load last.
        owner, mark_owner: User and group of the file and of the mark; None keeps whoever runs this.
    """

    conf: Path = BIRD_CONF
    control: Path = CONTROL_SOCKET
    loaded: Path = LOADED_MARK
    owner: Ids | None = field(default=None)
    mark_owner: Ids | None = field(default=None)


@dataclass(frozen=True)
class BirdDesired:
    """What BIRD's file is made of: the BGP parts of the plan, and secrets (never shown)."""

    edge: Edge
    plan: EdgePlan = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)


class BirdPart(Part[BirdDesired | None, DaemonFile, FileDifference]):
    """Sessions and policy; which VIPs are announced stands on the dummy link.

    Attributes:
        errors: Sessions that could not be put into the file; as of the last comparison.
    """

    name = "BGP configuration"

    def __init__(self, paths: BirdPaths | None = None) -> None:
        self._paths = paths or BirdPaths()
        self._narrowed: tuple[str, BirdFile] = ("", BirdFile(""))
        self.errors: tuple[ObjectError, ...] = ()

    def desired(self, target: Target) -> BirdDesired | None:
        """The BGP parts of the plan; None where BGP is off."""
        if Announce.BGP not in target.announce:
            return None
        plan = EdgePlan(
            addresses=target.plan.addresses,
            bgp=target.plan.bgp,
            bgp_policies=target.plan.bgp_policies,
            bgp_peers=target.plan.bgp_peers,
        )
        return BirdDesired(target.edge, plan, target.passwords)

    def actual(self) -> DaemonFile:
        """The file, and what BIRD was told."""
        paths = self._paths
        return DaemonFile(
            read_text(paths.conf), paths.control.is_socket(), read_text(paths.loaded) or ""
        )

    def difference(
        self, desired: BirdDesired | None, actual: DaemonFile, owned: Owned
    ) -> FileDifference:
        """The file's text, where it is another; no file at all has no sessions either."""
        del owned
        if desired is None and actual.text is None:
            self.errors = ()
            return FileDifference(False)
        text = NO_SESSIONS if desired is None else self._render(desired, actual.text)
        return FileDifference(
            actual.differs(text), masked(actual.text or ""), masked(text), text=text
        )

    def apply(self, change: FileDifference, *, check: bool = False) -> None:
        """Let BIRD's own parser look at it, write it, tell BIRD."""
        paths = self._paths
        apply_bird(
            change.text,
            path=paths.conf,
            control=paths.control,
            loaded_mark=paths.loaded,
            owner=paths.owner,
            mark_owner=paths.mark_owner,
            check=check,
        )

    def guards(self, target: Target) -> frozenset[IPAddress]:
        """VIPs that BIRD must treat apart: what is said of them holds from their first moment."""
        return exceptional(target.plan) if Announce.BGP in target.announce else frozenset()

    def _render(self, desired: BirdDesired, live: str | None) -> str:
        """A text that BIRD takes; its parser is asked about one that is not in force."""
        rendered = render_bird(desired.edge, desired.plan, desired.passwords)
        if rendered.text != live:
            if rendered.text != self._narrowed[0]:  # else a resync would ask about each session
                narrowed = without_refused(
                    rendered, desired.edge, desired.plan, desired.passwords, refusal=bird_refusal
                )
                self._narrowed = rendered.text, narrowed
            rendered = self._narrowed[1]
        self.errors = rendered.errors
        return rendered.text
