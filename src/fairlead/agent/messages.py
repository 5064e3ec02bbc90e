# SPDX-License-Identifier: Apache-2.0
"""What reaches the main loop through its queue, and what the loop knows about itself."""

from dataclasses import dataclass, field

import msgspec

from fairlead.cluster.watch import WatchMessage
from fairlead.edge.vips import StandingVips
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError


class LeadershipChanged(msgspec.Struct, frozen=True):
    """The election's outcome for this edge."""

    leading: bool


class AnnouncementDone(msgspec.Struct, frozen=True):
    """The announcer tried this generation; `complete` where every part is true now."""

    generation: int
    complete: bool = True


class VipsChanged(msgspec.Struct, frozen=True):
    """VIPs came or went on this edge."""

    vips: StandingVips


class WriteConflict(msgspec.Struct, frozen=True):
    """A status could not be written because the Service changed meanwhile."""

    key: ObjectKey


class Stop(msgspec.Struct, frozen=True):
    """End the loop."""


class DumpState(msgspec.Struct, frozen=True):
    """Write the state to the log (SIGUSR1)."""


Message = (
    WatchMessage
    | LeadershipChanged
    | AnnouncementDone
    | VipsChanged
    | WriteConflict
    | Stop
    | DumpState
)


@dataclass
class LoopState:
    """What the loop knows about itself; no other thread reads it, see `agent.view`."""

    synced: bool = False
    leading: bool = False
    resyncs: int = 0
    last_sync: float = 0.0
    trouble: str = ""
    missing: set[str] = field(default_factory=set)
    errors: dict[tuple[str, ObjectKey], ObjectError] = field(default_factory=dict)
    vips: StandingVips | None = None
