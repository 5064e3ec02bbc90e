# SPDX-License-Identifier: Apache-2.0
"""Objects that are nested deeper than a decoder follows: each is read, and spoils no other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cluster.decode import Decoders, WatchTarget
from fairlead.cluster.feed import targets
from fairlead.cluster.nesting import shallow
from fairlead.cluster.pages import page_decoder
from fairlead.model.plan import ObjectError

TARGETS = {target.kind: target for target in targets("metallb-system")}
DEPTH = 9000
DEEP = '{"f:zzz":' + '{"f:a":' * DEPTH + "{}" + "}" * DEPTH + "}"


def nested(name: str) -> str:
    """An object as somebody with `kubectl replace --raw` can store it."""
    fields = f'[{{"manager":"m","fieldsV1":{DEEP}}}]'
    return f'{{"metadata":{{"name":"{name}","managedFields":{fields},"resourceVersion":"7"}}}}'


@pytest.mark.parametrize("kind", TARGETS)
def test_a_deep_object_is_read_like_any_other(kind: str) -> None:
    decoders: Decoders[Any] = Decoders(TARGETS[kind])
    page = f'{{"metadata":{{"resourceVersion":"9"}},"items":[{nested("deep")},{nested("too")}]}}'
    plain = '{"metadata":{"name":"deep","resourceVersion":"7"}}'
    meta, (deep, _) = decoders.objects(page.encode())
    assert meta.resource_version == "9"
    assert deep == decoders.one(plain.encode())
    assert decoders.one(nested("deep").encode()) == deep


def test_a_deep_object_that_is_wrong_besides_is_named() -> None:
    target: WatchTarget[Any] = TARGETS["Service"]
    wrong = nested("deep").replace('"metadata"', '"spec":{"ports":7},"metadata"', 1)
    page = f'{{"metadata":{{}},"items":[{wrong},{nested("good")}]}}'
    bad, good = Decoders(target).objects(page.encode())[1]
    assert isinstance(bad, ObjectError)
    assert (bad.name, bad.field) == ("deep", "spec.ports")
    assert not isinstance(good, ObjectError)


def test_plans_of_a_live_cluster_are_made_beside_a_deep_object() -> None:
    page = f'{{"metadata":{{}},"items":[{nested("deep")}]}}'
    _, (found,) = page_decoder(dict[str, Any])(page.encode())
    assert found["metadata"]["name"] == "deep"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=30,
)


def cut(value: Any, deepest: int) -> Any:
    """What `shallow` should leave."""
    if not isinstance(value, list | dict):
        return value
    if deepest == 0:
        return None
    if isinstance(value, list):
        return [cut(one, deepest - 1) for one in value]
    return {key: cut(one, deepest - 1) for key, one in value.items()}


@given(JSON, st.integers(0, 4), st.booleans())
def test_what_is_deeper_becomes_null_and_the_rest_stays(
    value: Any, deepest: int, spaces: bool
) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1 if spaces else None).encode()
    assert json.loads(shallow(text, deepest)) == cut(value, deepest)
    assert shallow(text) == text


@given(st.binary())
def test_bytes_that_are_no_json_end(text: bytes) -> None:
    assert len(shallow(text, 2)) <= len(text) + 4 * text.count(b"[") + 4 * text.count(b"{")
