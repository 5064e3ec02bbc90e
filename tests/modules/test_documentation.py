# SPDX-License-Identifier: Apache-2.0
"""What modules document is what they take and do."""

import re

import pytest
import yaml

from support.modules import COLLECTION, MODULES, fail_module, section


def fragments(name):
    """Parsed documentation fragments of a module, the nearest first."""
    found = []
    for reference in section(name, "DOCUMENTATION").get("extends_documentation_fragment", ()):
        file, _, part = reference.removeprefix("fairlead.edge.").partition(".")
        text = (COLLECTION / f"plugins/doc_fragments/{file}.py").read_text()
        heading = (part or "documentation").upper()
        body = re.search(rf'{heading} = r"""(.*?)"""', text, re.DOTALL)
        found.append(yaml.safe_load(body[1]))
    return found


def documented(name, key):
    """One mapping of the documentation, put together from the module and its fragments."""
    parts = [section(name, "DOCUMENTATION"), *fragments(name)]
    merged = {}
    for part in reversed(parts):
        merged.update(part.get(key) or {})
    return merged


@pytest.mark.parametrize("name", MODULES)
def test_check_and_diff_mode_are_documented(name):
    attributes = documented(name, "attributes")
    assert attributes["check_mode"]["support"] == "full"
    reads_only = name.endswith("_info") or name == "plan"
    expected = "N/A" if reads_only else "none" if name == "release" else "full"
    assert attributes["diff_mode"]["support"] == expected


EXAMPLES = {"str": "x", "dict": {}, "list": [], "path": "/x"}


@pytest.mark.parametrize("name", MODULES)
def test_documented_options_are_those_that_are_taken(name):
    required = {
        key: option.get("choices", (EXAMPLES[option["type"]],))[0]
        for key, option in documented(name, "options").items()
        if option.get("required")
    }
    said = fail_module(name, {**required, "bogus": 1})
    taken = re.search(r"Supported parameters include: (.*)\.", said)
    assert set(re.split(r", ", taken[1])) == set(documented(name, "options")), said


@pytest.mark.parametrize("name", MODULES)
def test_required_options_are_required(name):
    required = sorted(k for k, v in documented(name, "options").items() if v.get("required"))
    assert fail_module(name, {}) == f"missing required arguments: {', '.join(required)}"


@pytest.mark.parametrize("name", MODULES)
def test_return_values_have_samples(name):
    for key, entry in section(name, "RETURN").items():
        assert {"description", "returned", "type"} <= set(entry), key
        assert "sample" in entry or "contains" in entry, key
    (example, *_) = section(name, "EXAMPLES")
    assert f"fairlead.edge.{name}" in example
