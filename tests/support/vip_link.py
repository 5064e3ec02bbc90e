# SPDX-License-Identifier: Apache-2.0
"""The VIP link made true with addresses that a test names."""

from collections.abc import Callable, Iterable

from fairlead.edge.links import LinkPort
from fairlead.edge.parts.vip_link import LinkDifference, VipLinkPart
from fairlead.model.names import IPAddress


def make_addresses(
    links: LinkPort,
    desired: Iterable[IPAddress],
    owned: Callable[[IPAddress], bool],
    *,
    check: bool = False,
) -> LinkDifference:
    """What was, or with `check` would be, done."""
    part = VipLinkPart(links)
    change = part.difference(frozenset(desired), part.actual(), owned)
    if change.changed:
        part.apply(change, check=check)
    return change
