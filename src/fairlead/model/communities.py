# SPDX-License-Identifier: Apache-2.0
"""BGP communities as text: `a:b` (RFC 1997) and `large:a:b:c` (RFC 8092)."""

from functools import lru_cache

LARGE = "large"
MAX_COMMUNITIES = 63
"""Per prefix, as upstream."""


@lru_cache(maxsize=4096)
def parse_community(text: str) -> tuple[int, ...] | None:
    """Return the two or three numbers of a community; None where the text has no such form.

    Raises:
        ValueError: The form is right and a part is not: no number, or too big.
    """
    parts = text.split(":")
    if len(parts) == 2:
        return tuple(_number(part, 16) for part in parts)
    if len(parts) == 4:
        if parts[0] != LARGE:
            raise ValueError(f"a large community is {LARGE}:a:b:c, not {text!r}")
        return tuple(_number(part, 32) for part in parts[1:])
    return None


def community_text(numbers: tuple[int, ...]) -> str:
    """The one spelling of a community, without leading zeros."""
    text = ":".join(map(str, numbers))
    return text if len(numbers) == 2 else f"{LARGE}:{text}"


def _number(text: str, bits: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >> bits:
        raise ValueError(f"{text!r} is not a number of {bits} bits")
    return int(text)
