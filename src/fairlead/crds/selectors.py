# SPDX-License-Identifier: Apache-2.0
"""Label selectors as the API server can check them: operators, their values, the form of labels."""

from fairlead.crds.schema import Schema, array, checked, choice, distinct, rule, struct, text

MOST_SELECTORS = 32
_MOST_TERMS = 16
_LABEL = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_KEY_LENGTH = 253 + 1 + 63


def selector(about: str) -> Schema:
    """A label selector; both parts must hold, an empty one matches everything."""
    labels = {
        "type": "object",
        "description": "Labels with the values that they must have.",
        "maxProperties": _MOST_TERMS,
        "additionalProperties": text("Value of the label.", longest=63),
    }
    whole = struct(
        about,
        matchLabels=checked(
            labels,
            rule(
                f"self.all(key, key.size() <= {_KEY_LENGTH} && key.matches('{_KEY}')"
                f" && self[key].matches('{_LABEL}'))",
                "a key or a value is not that of a label (letters, digits, '-', '_' and '.')",
            ),
        ),
        matchExpressions=checked(
            array("Conditions; all of them must hold.", _term(), _MOST_TERMS,
                  **{"x-kubernetes-list-type": "atomic"}),
            distinct("a condition"),
        ),
    )  # fmt: skip
    return {**whole, "x-kubernetes-map-type": "atomic"}


def selectors(about: str, what: str, most: int = MOST_SELECTORS) -> Schema:
    """A list of selectors of which one must match; none twice."""
    return checked(array(about, selector(f"Labels of {what}."), most), distinct("a selector"))


def _term() -> Schema:
    fields = struct(
        "One condition.",
        ("key", "operator"),
        key=checked(
            text("Key of the label.", longest=_KEY_LENGTH),
            rule(f"self.matches('{_KEY}')", "is not the key of a label",
                 says="'\"' + self + '\" is not the key of a label'"),
        ),
        operator=choice("How the label's value is compared.",
                        "In", "NotIn", "Exists", "DoesNotExist"),
        values=checked(
            array("Values for In and NotIn; none for the others.",
                  text("Value of the label.", longest=63), _MOST_TERMS,
                  **{"x-kubernetes-list-type": "atomic"}),
            rule(f"self.all(one, one.matches('{_LABEL}'))", "a value is not that of a label"),
            distinct("a value"),
        ),
    )  # fmt: skip
    given = "has(self.values) && self.values.size() > 0"
    return checked(
        fields,
        rule(
            f"self.operator in ['In', 'NotIn'] ? {given} : !({given})",
            "operators In and NotIn need values, Exists and DoesNotExist take none",
            says="'operator ' + self.operator + (self.operator in ['In', 'NotIn']"
            " ? ' needs values' : ' takes no values')",
        ),
    )
