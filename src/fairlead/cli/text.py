# SPDX-License-Identifier: Apache-2.0
"""Plain text for people: columns as kubectl's, sentences wrapped, no colours.

It must read well on a terminal of 80 columns, and be the same at every run when it is piped.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

PIPED_WIDTH = 80
NARROWEST, WIDEST = 60, 140


def line_width() -> int:
    """Columns to use: the terminal's within reason, 80 where there is none."""
    if not sys.stdout.isatty():
        return PIPED_WIDTH
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))


def clean(text: str) -> str:
    """Text of the cluster without control characters: they could steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def paragraph(text: str, indent: str = "", hang: str | None = None) -> list[str]:
    """Wrap a sentence; `hang` indents the lines after the first (default: as the first)."""
    return textwrap.wrap(
        clean(text),
        line_width(),
        initial_indent=indent,
        subsequent_indent=indent if hang is None else hang,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent.rstrip()]


def columns(head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Rows under a head, each column as wide as its widest cell; the last one is not padded."""
    table = [[clean(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    return [
        (indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))).rstrip()
        for row in table
    ]


def counted(number: int, one: str, many: str = "") -> str:
    """`1 address`, `2,000 addresses`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
