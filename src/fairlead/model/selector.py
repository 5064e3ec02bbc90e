# SPDX-License-Identifier: Apache-2.0
"""Label selectors: of namespaces, Services, pools, and of edges by their inventory labels."""

from collections.abc import Iterable, Mapping

import msgspec


class LabelRequirement(msgspec.Struct, frozen=True):
    """One `matchExpressions` row: In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(msgspec.Struct, frozen=True):
    """A Kubernetes label selector; empty matches everything."""

    match_labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a set of labels satisfies every term."""
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_requirement_holds(term, labels) for term in self.match_expressions)


def _requirement_holds(term: LabelRequirement, labels: Mapping[str, str]) -> bool:
    present = term.key in labels
    match term.operator:
        case "In":
            return present and labels[term.key] in term.values
        case "NotIn":
            return not present or labels[term.key] not in term.values
        case "Exists":
            return present
        case _:
            return not present


def any_matches(selectors: Iterable[LabelSelector], labels: Mapping[str, str]) -> bool:
    """Whether one of several selectors matches: lists of them are OR-ed everywhere."""
    return any(selector.matches(labels) for selector in selectors)
