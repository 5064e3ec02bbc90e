# SPDX-License-Identifier: Apache-2.0
"""Virtual servers on the way down: each stays until its address is withdrawn.

Without one, an edge that still has the address would answer its clients with resets.
"""

from collections.abc import Callable, Iterable

from fairlead.agent.messages import AnnouncementDone
from fairlead.model.ipvs import ServiceKey
from fairlead.model.names import IPAddress


class Withdrawals:
    """Virtual servers that nobody wants and that wait for a pass of the announcer."""

    def __init__(self) -> None:
        self._after: dict[ServiceKey, int] = {}
        self._ended = AnnouncementDone(0)

    def __len__(self) -> int:
        return len(self._after)

    def __contains__(self, key: ServiceKey) -> bool:
        return key in self._after

    def wait(self, keys: Iterable[ServiceKey], generation: int) -> None:
        """Let virtual servers wait for the end of a generation's pass."""
        self._after.update(dict.fromkeys(keys, generation))

    def cancel(self, key: ServiceKey) -> None:
        """A virtual server is wanted again."""
        self._after.pop(key, None)

    def ended(self, done: AnnouncementDone) -> None:
        """The pass of a generation ended."""
        self._ended = done

    def take(self, standing: Callable[[], frozenset[IPAddress]]) -> list[ServiceKey]:
        """Virtual servers whose address is withdrawn; they wait no more.

        Where a part failed, an address that nobody wants may stand all the same; its virtual
        servers stay until it is gone.

        Args:
            standing: VIPs that stand here though nobody wants them; asked only where that matters.
        """
        ready = [key for key, after in self._after.items() if after <= self._ended.generation]
        held = frozenset() if self._ended.complete or not ready else standing()
        gone = [key for key in ready if key.ip is None or key.ip not in held]
        for key in gone:
            del self._after[key]
        return gone
