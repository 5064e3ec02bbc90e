# SPDX-License-Identifier: Apache-2.0
"""Figures, their goals, and the one small table that `make bench` prints. Pure."""

import math
import statistics
from collections.abc import Iterable, Sequence

import msgspec

COLUMNS = ("figure", "measured", "goal", "", "how")
NONE = "-"


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured figure.

    Attributes:
        what: What was measured, and at which size.
        value: Measured, in `unit`.
        unit: "us", "ms", "s", "MB" or "x" (a ratio).
        how: Which statistic of how many runs.
        goal: At most this, in the same unit; None where nothing was promised.
    """

    what: str
    value: float
    unit: str
    how: str
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.value <= self.goal

    @property
    def verdict(self) -> str:
        """Whether the goal is met, or how many goals the measured value is."""
        if self.goal is None:
            return NONE
        return "met" if self.met else f"missed: {number(self.value / self.goal)} x the goal"


def number(value: float) -> str:
    """Three significant digits, never an exponent: 0.0312, 1.25, 163, 1170."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):.{max(0, digits)}f}"


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest rank: the smallest value that at least this share of all values does not exceed.

    Raises:
        ValueError: No values, or a share outside 0 to 1.
    """
    ordered = sorted(values)
    if not ordered or not 0 <= share <= 1:
        raise ValueError(f"{len(ordered)} values, share {share}: one value and a share of 0 to 1")
    # 0.07 * 100 is a hair above 7 in floating point, and the hair would cost a rank.
    return ordered[max(0, math.ceil(round(share * len(ordered), 6)) - 1)]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    return {
        "p50": round(statistics.median(seconds) * 1e3, 3),
        "p99": round(percentile(seconds, 0.99) * 1e3, 3),
    }


def table(figures: Sequence[Figure]) -> str:
    """All figures as aligned text, one a line under a line of names."""
    rows = [COLUMNS, *(_row(figure) for figure in figures)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = []
    for row in rows:
        what, measured, goal, verdict, how = row
        cells = (
            what.ljust(widths[0]),
            measured.rjust(widths[1]),
            goal.rjust(widths[2]),
            verdict.ljust(widths[3]),
            how,
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, str, str, str, str]:
    goal = NONE if figure.goal is None else f"<= {number(figure.goal)} {figure.unit}"
    measured = f"{number(figure.value)} {figure.unit}"
    return (figure.what, measured, goal, figure.verdict, figure.how)
