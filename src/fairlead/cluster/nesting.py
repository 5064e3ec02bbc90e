# SPDX-License-Identifier: Apache-2.0
"""JSON that is nested deeper than a decoder can follow, made shallow.

Whoever may write an object may nest its `managedFields` thousands of levels deep; the API server
takes that. A decoder follows nesting by recursion, also in what it passes over, and ends in
RecursionError: one object would stop whoever reads it. Nothing that we read is deep, so what lies
deeper than `DEEPEST` is cut out, and the object is as good as any other.

Only after a decoder gave up: the usual text is never looked at twice.
"""

import re
from collections.abc import Callable
from typing import Final, TypeVar

DEEPEST: Final = 100
"""Levels that are kept; the deepest that we read, a CustomResourceDefinition of ours, has 20."""

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_OPEN, _CLOSE = frozenset(b"[{"), frozenset(b"]}")

T = TypeVar("T")


def decoded(decode: Callable[[bytes], T], text: bytes) -> T:
    """Decode a text, without what is nested too deeply in it.

    Raises:
        What `decode` raises for a text that is no JSON, or of another shape.
    """
    try:
        return decode(text)
    except RecursionError:
        return decode(shallow(text))


def shallow(text: bytes, deepest: int = DEEPEST) -> bytes:
    """The same JSON with `null` in place of arrays and objects below a depth; in linear time."""
    parts, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in _OPEN:
            depth += 1
            if depth == deepest + 1:
                parts += [text[start : token.start()], b"null"]
        elif first in _CLOSE:
            if depth == deepest + 1:
                start = token.end()
            depth -= 1
    if depth <= deepest:
        parts.append(text[start:])
    return b"".join(parts)
