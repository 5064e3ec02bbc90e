# SPDX-License-Identifier: Apache-2.0
"""What the agent knows of itself, published by the main loop as one frozen value.

The loop swaps one reference; metrics, the status file and all writers read what they find there and
nothing else, so no thread ever walks a container that another one changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fairlead.agent.announcer import AnnounceState
from fairlead.cluster.freshness import stale
from fairlead.cluster.watch import WatchState
from fairlead.edge.status_file import SessionReport
from fairlead.edge.vips import StandingVips
from fairlead.model.bgp import BgpPeer
from fairlead.model.names import IPAddress
from fairlead.model.plan import (
    BgpAnnouncement,
    NotAnnounced,
    ObjectError,
    VirtualServer,
    VrrpInstance,
)
from fairlead.planner.pools import PoolIndex
from fairlead.planner.usage import PoolUsage

VIEW_SECONDS: Final = 15.0
"""How old a view may be: the loop publishes one a second."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What other threads say of themselves; each value was swapped in by its own thread.

    Attributes:
        watches: Copies, one for each kind.
        sessions, bird: BGP sessions; whether BIRD answers, None where BGP is off.
        writes: Totals of writes to the cluster, by kind.
        write_error: The last write that failed, "" while they succeed.
        backlog: Writes that wait.
        lease_holder: Who writes Service status.
        kubeconfig_error: Why the kubeconfig on disk can't be used, "" where it can.
    """

    watches: tuple[WatchState, ...] = ()
    announce: AnnounceState = field(default_factory=AnnounceState)
    sessions: tuple[SessionReport, ...] = ()
    bird: bool | None = None
    writes: Mapping[str, int] = field(default_factory=dict)
    write_error: str = ""
    backlog: int = 0
    lease_holder: str = ""
    kubeconfig_error: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentView:
    """The state of one moment.

    Attributes:
        edge: Name of this edge.
        published: When, on the monotonic clock.
        synced: Whether complete lists were applied since the start.
        leading: Whether this edge writes Service status.
        resyncs, last_sync: Full comparisons so far; when the last one ended, in seconds since the
            epoch.
        trouble: Why IPVS can't be changed at all, "" while it can.
        virtual_servers: As they should stand.
        failures: Virtual servers that the kernel refuses, and why.
        outcomes, changes: Totals of reconciliations and of changes sent to the kernel.
        errors: Objects of the cluster that can't be used: unreadable ones first, then those that
            the planner leaves out.
        vips: VIPs that stand here; None until they were read once.
        failed: Services that this edge should announce and can't, by the inventory.
        vrrp, routes, peers: Instances, prefixes and sessions of this edge's plan.
        pools, usage: Pools in force, and how full they are.
        has_pool_namespace: Whether the namespace of the pools exists.
    """

    edge: str
    published: float = 0.0
    synced: bool = False
    leading: bool = False
    resyncs: int = 0
    last_sync: float = 0.0
    trouble: str = ""
    virtual_servers: tuple[VirtualServer, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ObjectError, ...] = ()
    vips: StandingVips | None = None
    failed: tuple[NotAnnounced, ...] = ()
    vrrp: tuple[VrrpInstance, ...] = ()
    routes: tuple[BgpAnnouncement, ...] = ()
    peers: tuple[BgpPeer, ...] = ()
    pools: PoolIndex = field(default_factory=lambda: PoolIndex(()))
    usage: tuple[PoolUsage, ...] = ()
    has_pool_namespace: bool = False
    around: Surroundings = field(default_factory=Surroundings)

    def out_of_step(self, now: float) -> tuple[str, ...]:
        """Why this edge may not hold what the cluster says, a sentence each; () is "in step".

        Args:
            now: Monotonic seconds.
        """
        found = [
            f"{one.kind} has not been known for {one.seconds:.0f} s: {one.why}"
            for one in stale(self.around.watches, now)
        ]
        if now - self.published > VIEW_SECONDS:
            found.append(f"the main loop has not turned for {now - self.published:.0f} s")
        if not self.synced:
            found.append("no complete list of every kind was applied yet")
        return tuple(found)

    @property
    def standing(self) -> StandingVips:
        """VIPs that stand here, none before they were read."""
        return self.vips or StandingVips()

    @property
    def all_errors(self) -> tuple[ObjectError, ...]:
        """Objects that can't be used, those that only BIRD refuses included."""
        return (*self.errors, *self.around.announce.bird_errors)

    def interfaces(self) -> dict[IPAddress, tuple[str, ...]]:
        """Where each VIP of VRRP stands, on whichever edge is master."""
        return {vip: one.devices or (one.interface,) for one in self.vrrp for vip in one.addresses}
