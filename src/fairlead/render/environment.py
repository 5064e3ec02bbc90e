# SPDX-License-Identifier: Apache-2.0
"""The one Jinja environment, and the check that text may stand in a configuration file."""

import re
from functools import cache
from typing import Any

import jinja2

from fairlead.model.errors import InventoryError
from fairlead.model.words import WORD, is_word, word_rule

# A secret inside double quotes: printable ASCII without the quote and the backslash.
_SECRET = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,80}")


@cache
def environment() -> jinja2.Environment:
    """Build the environment once; a variable that a template misses is an error, never empty."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fairlead.render"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - daemon configuration, not HTML; words are checked below
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **view: Any) -> str:
    """Render one template of this package."""
    return environment().get_template(template).render(view)


def word(field: str, text: str, limit: int = WORD) -> str:
    """Return text that is a plain word in every daemon's grammar.

    Raises:
        InventoryError: It holds anything but letters, digits and `_ . : -`, or is too long.
    """
    if not is_word(text, limit):
        raise InventoryError(field, f"{text!r} {word_rule(limit)}")
    return text


def secret(field: str, text: str) -> str:
    """Return a secret that may stand between double quotes.

    Raises:
        InventoryError: It holds quotes, backslashes or anything not printable, or is too long;
            the secret itself is not repeated in the message.
    """
    if _SECRET.fullmatch(text) is None:
        raise InventoryError(
            field, 'a secret must be 1 to 80 printable ASCII characters without " and \\'
        )
    return text
