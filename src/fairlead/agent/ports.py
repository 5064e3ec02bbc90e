# SPDX-License-Identifier: Apache-2.0
"""What the main loop acts through, all of it replaceable in a test."""

from collections.abc import Callable
from dataclasses import dataclass

from fairlead.agent.kernel import KernelTable
from fairlead.agent.planning import EdgePlanning
from fairlead.agent.view import AgentView, Surroundings
from fairlead.edge.ownership import OwnedVips
from fairlead.edge.parts import Target
from fairlead.edge.systemd import Notifier
from fairlead.model.names import ObjectKey


@dataclass(frozen=True)
class Ports:
    """The loop's surroundings.

    Attributes:
        owned: Whose addresses are VIPs of ours at the start.
        announce: Takes the whole target of announcements, and its generation.
        decide: Hands new decisions to the publisher; called where this edge leads.
        conflict: A status could not be written on the version that was known: decide it again.
        latency: Seconds from an event until its change stood in the kernel.
        around: What other threads say of themselves.
        publish: Takes a new view; called in the loop, where something is different, and about once
            a second.
    """

    kernel: KernelTable
    planning: EdgePlanning
    owned: OwnedVips
    announce: Callable[[int, Target], None]
    decide: Callable[[], None]
    conflict: Callable[[ObjectKey], None]
    latency: Callable[[float], None]
    around: Callable[[], Surroundings]
    publish: Callable[[AgentView], None]
    notifier: Notifier
