# SPDX-License-Identifier: Apache-2.0
"""Which text may stand as a plain word in every daemon's file.

What is read and what is rendered are held against this one rule.
"""

import re

INSTANCE_NAME = 39
"""Characters of `vrrp.instance`: derived instances get `-` and eight more, up to `WORD`."""
WORD = 48
INTERFACE_NAME = 15  # IFNAMSIZ without the closing zero, Linux' include/uapi/linux/if.h

# What keepalived, BIRD (inside quotes) and nftables all take.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


def is_word(text: str, limit: int = WORD) -> bool:
    """Whether text is a plain word in every daemon's grammar, of at most `limit` characters."""
    return len(text) <= limit and _WORD.fullmatch(text) is not None


def word_rule(limit: int = WORD) -> str:
    """The rule in words, to stand behind the text that breaks it."""
    return f"must be 1 to {limit} letters, digits or any of _ . : - (no leading sign)"


def is_interface_name(text: str) -> bool:
    """Whether Linux can have such an interface (dev_valid_name) and files can name it."""
    return is_word(text, INTERFACE_NAME) and ":" not in text
