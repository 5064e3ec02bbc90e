# SPDX-License-Identifier: Apache-2.0
"""Writes docs/annotations.md from the tables in the code: `python tools/annotations_page.py`.

A test compares the page with what this would write.
"""

from pathlib import Path

from fairlead.planner.options import ANNOTATIONS, INVALID
from fairlead.planner.requests import (
    ADDRESSES,
    OLD_PREFIX,
    POOL,
    POOL_NOTE,
    PREFIX,
    SHARING,
)

PAGE = Path(__file__).resolve().parents[1] / "docs/annotations.md"
METALLB = {
    PREFIX + ADDRESSES: "One address, or two of different families separated by a comma.",
    PREFIX + POOL: "Take the address from this pool only.",
    PREFIX + SHARING: "Sharing key: Services with the same key may share an address.",
}
HEAD = f"""\
# Annotations of a Service

Made from the code by `python tools/annotations_page.py`; changes here are overwritten.

## Fairlead's own

A value that is not allowed raises a Warning `{INVALID}` that names the allowed ones; the default is
used, and nothing else changes.

| annotation | allowed | default | effect |
|---|---|---|---|
"""
MIDDLE = f"""
## MetalLB's

They mean what they mean there ([allocation](allocation.md) has the rules). The old prefix
`{OLD_PREFIX}` is honoured as well; where both are set, `{PREFIX}` wins, even when it is empty.

| annotation | meaning |
|---|---|
"""


def page() -> str:
    """The text of the page."""
    ours = "".join(
        f"| `{key}` | {one.allowed} | {one.default} | {one.effect} |\n"
        for key, one in sorted(ANNOTATIONS.items())
    )
    theirs = "".join(f"| `{key}` | {meaning} |\n" for key, meaning in METALLB.items())
    note = f"| `{POOL_NOTE}` | Written by Fairlead: the pool of the address. |\n"
    return HEAD + ours + MIDDLE + theirs + note


if __name__ == "__main__":
    PAGE.write_text(page())
