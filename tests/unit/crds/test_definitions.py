# SPDX-License-Identifier: Apache-2.0
"""Definitions as data: structural, in step with the parser, one schema for all versions of a kind.

What the API server makes of them is in tests/lab/test_crds.py.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from fairlead.crds import definitions
from fairlead.crds.definition import DIGEST_ANNOTATION, REVISION, Definition
from fairlead.snapshot.wire import PoolSpecWire
from fairlead.snapshot.wire_adverts import (
    BfdSpecWire,
    BgpSpecWire,
    CommunitySpecWire,
    L2SpecWire,
    PeerSpecWire,
)

DEFINITIONS = {made.kind: made for made in definitions()}
KINDS = pytest.mark.parametrize("made", DEFINITIONS.values(), ids=list(DEFINITIONS))
# All digests of one revision; a changed definition needs a new revision, and a new row here.
REVISIONS = {1: "74cdebd45fa45817"}


def schemas(made: Definition) -> list[dict[str, Any]]:
    versions = made.manifest()["spec"]["versions"]
    return [version["schema"]["openAPIV3Schema"] for version in versions]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


def spec(kind: str) -> dict[str, Any]:
    return dict(schemas(DEFINITIONS[kind])[-1]["properties"]["spec"])


def test_a_change_raises_the_revision() -> None:
    digests = [
        made.manifest()["metadata"]["annotations"][DIGEST_ANNOTATION] for made in definitions()
    ]
    assert hashlib.sha256("".join(digests).encode()).hexdigest()[:16] == REVISIONS[REVISION]


@KINDS
def test_every_node_has_a_type_and_says_what_it_is(made: Definition) -> None:
    for schema in schemas(made):
        for path, node in nodes(schema):
            assert node["type"], path
            own = path in ("", ".apiVersion", ".kind", ".metadata") or path.endswith("[]")
            assert own or node.get("description", "").endswith("."), path


@KINDS
def test_everything_has_a_limit_so_that_rules_have_a_cost(made: Definition) -> None:
    limits = {"array": "maxItems", "string": "maxLength", "integer": "maximum"}
    for path, node in nodes(schemas(made)[-1]):
        if path in (".apiVersion", ".kind") or "enum" in node or node.get("format") == "date-time":
            continue
        if node.get("format") == "int64" and "maximum" not in node:
            continue  # the format is the limit
        if (limit := limits.get(node["type"])) is not None:
            assert limit in node, path


@KINDS
def test_rules_have_a_sentence(made: Definition) -> None:
    for path, node in nodes(schemas(made)[-1]):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["rule"], path
            assert len(rule["message"]) < 200, path


@KINDS
def test_versions_without_conversion_have_one_schema(made: Definition) -> None:
    manifest = made.manifest()
    assert manifest["spec"]["conversion"] == {"strategy": "None"}
    assert all(schema == schemas(made)[0] for schema in schemas(made))
    assert [v["storage"] for v in manifest["spec"]["versions"]].count(True) == 1
    assert manifest["spec"]["versions"][-1]["storage"] is True


def test_peers_are_stored_as_v1beta2_and_served_as_v1beta1() -> None:
    versions = DEFINITIONS["BGPPeer"].manifest()["spec"]["versions"]
    assert [(v["name"], v["served"], v["storage"]) for v in versions] == [
        ("v1beta1", True, False),
        ("v1beta2", True, True),
    ]
    assert versions[0]["deprecated"] is True


def wire_fields(kind: type[Any]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def struct_in(kind: Any) -> type[Any] | None:
    """The wire struct behind `list[X] | None`, `X | None`, ..."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    found = [struct for part in get_args(kind) if (struct := struct_in(part)) is not None]
    return found[0] if found else None


def assert_same_fields(schema: dict[str, Any], wire: type[Any]) -> None:
    fields = wire_fields(wire)
    assert set(schema["properties"]) == set(fields), wire
    for name, kind in fields.items():
        child = schema["properties"][name]
        if (inner := struct_in(kind)) is not None:
            assert_same_fields(child.get("items", child), inner)


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        ("IPAddressPool", PoolSpecWire),
        ("L2Advertisement", L2SpecWire),
        ("BGPAdvertisement", BgpSpecWire),
        ("BGPPeer", PeerSpecWire),
        ("BFDProfile", BfdSpecWire),
        ("Community", CommunitySpecWire),
    ],
)
def test_fields_are_those_that_are_read(kind: str, wire: type[Any]) -> None:
    assert_same_fields(spec(kind), wire)
