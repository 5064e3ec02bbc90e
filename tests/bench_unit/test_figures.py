# SPDX-License-Identifier: Apache-2.0
"""Percentiles, verdicts and the table of `make bench`."""

import pytest
from bench.figures import Figure, number, percentile, spread, table
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (1, 0.99, 1),
        (2, 0.5, 1),
        (100, 0.99, 99),
        (100, 1, 100),
        (101, 0.99, 100),
        (200, 0.99, 198),
        (300, 0.99, 297),
        (100, 0.07, 7),  # 0.07 * 100 is a hair above 7
        (300, 0, 1),
    ],
)
def test_a_percentile_is_the_nearest_rank(count: int, share: float, expected: int) -> None:
    assert percentile(range(count, 0, -1), share) == expected


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1),
    st.integers(0, 100),
)
def test_a_percentile_is_a_value_that_its_share_does_not_exceed(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent / 100)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 <= percent * len(values)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 99)])
def test_no_percentile_without_values_or_with_a_percentage(
    values: list[float], share: float
) -> None:
    with pytest.raises(ValueError, match="share of 0 to 1"):
        percentile(values, share)


def test_spread_is_in_milliseconds() -> None:
    assert spread([0.001] * 98 + [0.0125, 0.5]) == {"p50": 1.0, "p99": 12.5}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.03119, "0.0312"),
        (1.2549, "1.25"),
        (9.999, "10.00"),
        (99.96, "100.0"),
        (163.4, "163"),
        (1173.2, "1170"),
        (-2.5, "-2.50"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "goal", "met", "verdict"),
    [
        (1.0, 2.0, True, "met"),
        (2.0, 2.0, True, "met"),
        (3.0, 2.0, False, "missed: 1.50 x the goal"),
        (3.0, None, None, "-"),
    ],
)
def test_a_goal_is_at_most(
    value: float, goal: float | None, met: bool | None, verdict: str
) -> None:
    figure = Figure("one", value, "ms", "1 run", goal)
    assert figure.met is met
    assert figure.verdict == verdict


def test_the_table_is_aligned() -> None:
    text = table(
        [
            Figure("flip: agent CPU", 1.5, "ms", "mean of 300", 1.0),
            Figure("cold apply", 0.61, "s", "median of 3", 1.0),
            Figure("codec, pyroute2 / ours", 1173.2, "x", "median of 15"),
        ]
    )
    assert text.splitlines() == [
        "figure                  measured        goal                           how",
        "flip: agent CPU          1.50 ms  <= 1.00 ms  missed: 1.50 x the goal  mean of 300",
        "cold apply               0.610 s   <= 1.00 s  met                      median of 3",
        "codec, pyroute2 / ours    1170 x           -  -                        median of 15",
    ]


def test_an_empty_table_is_its_head() -> None:
    assert table([]).split() == ["figure", "measured", "goal", "how"]
