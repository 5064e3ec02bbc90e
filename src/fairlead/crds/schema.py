# SPDX-License-Identifier: Apache-2.0
"""Words for writing structural schemas: types with their limits, and CEL rules with a sentence.

Each list and text has a limit, because the API server refuses a rule whose worst case costs too
much, and the worst case is what the limits allow.
"""

from typing import Any

Schema = dict[str, Any]

NAME_LENGTH = 253
"""Longest name of a Kubernetes object."""
TEXT_LENGTH = 128
"""Longest text that is an address, a range, a duration, a community, ..."""


def rule(expression: str, message: str, *, says: str = "") -> Schema:
    """A CEL rule; `says` is an expression that builds the sentence, `message` stands in for it."""
    made = {"rule": expression, "message": message}
    return {**made, "messageExpression": says} if says else made


def checked(schema: Schema, *rules: Schema) -> Schema:
    """A schema with rules."""
    return {**schema, "x-kubernetes-validations": list(rules)}


def text(about: str, *, longest: int = TEXT_LENGTH, **limits: Any) -> Schema:
    """A string."""
    return {"type": "string", "description": about, "maxLength": longest, **limits}


def choice(about: str, *values: str) -> Schema:
    """A string out of a few."""
    return {"type": "string", "description": about, "enum": list(values)}


def flag(about: str, **limits: Any) -> Schema:
    """A boolean."""
    return {"type": "boolean", "description": about, **limits}


def number(about: str, low: int, high: int, *, size: str = "int32", **limits: Any) -> Schema:
    """An integer within limits, both included.

    The API server holds limits as float64, in which the largest int64 is one too large for its own
    check; the format says that one anyway.
    """
    made = {"type": "integer", "format": size, "description": about, "minimum": low, **limits}
    return made if high == 2**63 - 1 else {**made, "maximum": high}


def array(about: str, item: Schema, most: int, **limits: Any) -> Schema:
    """A list of at most so many."""
    return {"type": "array", "description": about, "items": item, "maxItems": most, **limits}


def struct(about: str, required: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    """An object with named fields."""
    made: Schema = {"type": "object", "description": about, "properties": fields}
    return {**made, "required": list(required)} if required else made


def distinct(what: str, *, items: str = "self") -> Schema:
    """No item twice; costs the square of the list's limit."""
    return rule(
        f"{items}.all(one, {items}.exists_one(other, other == one))",
        f"{what} is there twice",
    )


def distinct_texts(what: str) -> Schema:
    """No text twice, and the sentence names it."""
    return rule(
        "self.all(one, self.exists_one(other, other == one))",
        f"{what} is there twice",
        says=f"self.filter(one, !self.exists_one(other, other == one))[0] + ': {what} is there "
        "twice'",
    )


def names(about: str, what: str, most: int = 128) -> Schema:
    """Names of other objects, which may come later."""
    item = text(f"Name of {what}.", longest=NAME_LENGTH, minLength=1)
    return checked(array(about, item, most), distinct_texts(what))
