# SPDX-License-Identifier: Apache-2.0
"""From one way of announcing to the other without a lost packet: up comes before down.

After `fairlead_announce` was changed, an agent that starts finds what the way that is off left:
VIPs in keepalived's file, or sessions and VIPs on the link. Taken away at once they would be missed
for as long as the other way needs: BGP a second or two until a session stands, VRRP a third of a
second until one edge is master. So they stay for a while, as they are.
"""

from collections.abc import Callable
from typing import Final

from fairlead.edge.parts import AnyPart, Parts, Target
from fairlead.model.names import Announce

HANDOVER_LOOK: Final = 0.5
"""How often it is looked whether the way that is off may go, in seconds."""
_SETTLE: Final = 5.0  # VRRP elects in a third of a second; routers and neighbours follow
_PATIENCE: Final = 30.0  # a router that never comes up must not keep the old way for ever


class Handover:
    """What is left of a way that is off, and how long it stays; used by the announcer alone."""

    def __init__(self, bgp_up: Callable[[], bool]) -> None:
        self._bgp_up = bgp_up
        self._since: float | None = None
        self._up_since: float | None = None
        self._over = False

    def waiting(self, parts: Parts, target: Target, now: float) -> tuple[str, ...]:
        """Names of parts that are to be left as they are; `now` in monotonic seconds.

        Only at the start, only where another way is on, and only where there is something left.
        """
        if self._over:
            return ()
        names = tuple(part.name for part in _off(parts, target) if _leaves(part, target))
        if not names or not target.announce:
            self._over = True
            return ()
        self._since = now if self._since is None else self._since
        if self._new_way_up(target) and self._up_since is None:
            self._up_since = now
        settled = self._up_since is not None and now - self._up_since >= _SETTLE
        if settled or now - self._since >= _PATIENCE:
            self._over = True
            return ()
        return names

    def _new_way_up(self, target: Target) -> bool:
        return Announce.BGP not in target.announce or self._bgp_up()


def _off(parts: Parts, target: Target) -> tuple[AnyPart, ...]:
    """Parts of ways that are off."""
    found: tuple[AnyPart, ...] = ()
    if Announce.VRRP not in target.announce:
        found += (parts.vrrp,)
    if Announce.BGP not in target.announce:
        found += (parts.bird, parts.vip_link)
    return found


def _leaves(part: AnyPart, target: Target) -> bool:
    """Whether something is there that would be taken away."""
    try:
        change = part.difference(part.desired(target), part.actual(), target.owned)
    except Exception:  # noqa: BLE001 - the walk meets it as well, and keeps it apart
        return False
    return bool(change.changed)
