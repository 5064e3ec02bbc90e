# SPDX-License-Identifier: Apache-2.0
"""Options and fixtures of every tier."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden twins instead of comparing"
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden twins are to be written."""
    return bool(request.config.getoption("--update-golden"))
