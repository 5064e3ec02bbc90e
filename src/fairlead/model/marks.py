# SPDX-License-Identifier: Apache-2.0
"""Firewall marks of ours: the range that is reserved, so that foreign ones are left alone."""

MARK_BITS = 20
FIRST_MARK = 0x0FA0_0000
"""Marks from here to `FIRST_MARK + 2**MARK_BITS - 1` are ours; 0x0fa is the prefix of all."""


def is_own_mark(mark: int) -> bool:
    """Whether a firewall mark is of the reserved range."""
    return mark >> MARK_BITS == FIRST_MARK >> MARK_BITS


def mark_text(mark: int) -> str:
    """As nftables and iptables show it: `0x0fa00001`."""
    return f"0x{mark:08x}"
