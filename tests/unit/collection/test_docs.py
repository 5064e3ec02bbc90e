# SPDX-License-Identifier: Apache-2.0
"""What the documentation names is there: files in its tables, links between its pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
WHERE = (ROOT, ROOT / "src/fairlead", ROOT / "tests/unit/planner", ROOT / "tests/unit/agent")
PATH = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|yml|j2|md)|test_\w+\.py)`")
LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)]*)?\)")


def named(page: Path) -> set[str]:
    """Files that a page names in the way of its tables."""
    return {name for name in PATH.findall(page.read_text()) if not name.startswith("/")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_pages_that_are_named_exist(page: Path) -> None:
    missing = [
        name
        for name in sorted(named(page))
        if not any((folder / name).exists() for folder in WHERE)
        and not list(ROOT.glob(f"tests/**/{name}"))
    ]
    missing += [
        target
        for target, _ in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_tables_are_found_at_all() -> None:
    assert len(named(ROOT / "docs/agent.md")) > 30
