# SPDX-License-Identifier: Apache-2.0
"""Sums the results of all tiers and prints one closing line: `N passed, N failed`.

Reads JUnit XML files (pytest) and a `steps` file (lint and the like) from the folder given.
A run in which no test ran is a failure.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def count(folder: Path) -> tuple[int, int, int]:
    """Return (passed, failed, skipped) over all result files of a folder."""
    passed = failed = skipped = 0
    for path in sorted(folder.glob("*.xml")):
        for suite in ET.parse(path).getroot().iter("testsuite"):  # noqa: S314 - as above
            tests = int(suite.get("tests", 0))
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skip = int(suite.get("skipped", 0))
            print(f"    {path.stem}: {tests - bad - skip} passed, {bad} failed, {skip} skipped")
            passed, failed, skipped = passed + tests - bad - skip, failed + bad, skipped + skip
    steps = folder / "steps"
    for line in steps.read_text().splitlines() if steps.exists() else ():
        good = line.startswith("passed ")
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"    {line}")
    return passed, failed, skipped


def main() -> int:
    """Print the closing line; 1 if anything failed, was skipped, or nothing ran."""
    passed, failed, skipped = count(Path(sys.argv[1]))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or skipped or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
