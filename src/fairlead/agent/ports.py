# SPDX-License-Identifier: Apache-2.0
"""What the main loop acts through, all of it replaceable in a test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairlead.agent.kernel import KernelTable
from fairlead.agent.owned import OwnedAddresses
from fairlead.agent.planning import EdgePlanning
from fairlead.agent.wanted import Held, Wanted
from fairlead.edge.systemd import Notifier
from fairlead.model.names import ObjectKey

if TYPE_CHECKING:
    from fairlead.agent.loop import Loop


@dataclass(frozen=True)
class Ports:
    """The loop's surroundings.

    Attributes:
        announce: Takes the whole wanted state of announcements.
        decide: Hands new decisions to the publisher, where this edge leads.
        conflict: A status could not be written on the version that was known: decide it again.
        held: Addresses came or went on this edge.
        latency: Seconds from an event until its change stood in the kernel.
        report: Called about once a second.
    """

    kernel: KernelTable
    planning: EdgePlanning
    owned: OwnedAddresses
    announce: Callable[[Wanted], None]
    decide: Callable[["Loop"], None]
    conflict: Callable[[ObjectKey], None]
    held: Callable[["Loop", Held], None]
    latency: Callable[[float], None]
    report: Callable[["Loop"], None]
    notifier: Notifier
