# SPDX-License-Identifier: Apache-2.0
"""The reference page of annotations says what the code says."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_page_is_the_one_that_the_code_makes():
    made = runpy.run_path(str(ROOT / "tools/annotations_page.py"))
    assert (ROOT / "docs/annotations.md").read_text() == made["page"]()
