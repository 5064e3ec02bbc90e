# SPDX-License-Identifier: Apache-2.0
"""Files, folders, lists and broken documents: every error has its place, the rest goes on."""

from pathlib import Path

import pytest

from fairlead.cluster.manifests import parse_documents, read_inventory, read_manifests
from fairlead.model.errors import FairleadError
from fairlead.snapshot.manifests import snapshot_from_documents

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %s, creationTimestamp: 2026-01-01T00:00:00Z}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"""


def snapshot(text: str, file: str = "m.yaml"):
    return snapshot_from_documents(parse_documents(text.encode(), file))


def names(found) -> list[str]:
    return [service.key.name for service in found.services]


def test_several_documents_and_empty_ones() -> None:
    found = snapshot(f"---\n{SERVICE % 'a'}---\n---\n# nothing\n---\n{SERVICE % 'b'}")
    assert names(found) == ["a", "b"]
    assert found.services[0].created == "2026-01-01T00:00:00Z"
    assert (found.errors, found.slices_known, found.nodes_known) == ((), False, False)


def test_kind_list_and_typed_lists() -> None:
    found = snapshot("""
kind: List
items:
  - {kind: Service, metadata: {name: a}}
  - kind: ServiceList
    apiVersion: v1
    items: [{metadata: {name: b}}, {metadata: {name: C}}]
""")
    assert names(found) == ["a", "b"]
    (error,) = found.errors
    assert (error.document, error.kind, error.name, error.field) == (
        1,
        "Service",
        "C",
        "items[1].items[1].metadata.name",
    )


def test_other_kinds_are_passed_over_and_others_of_the_name_too() -> None:
    found = snapshot("""
{kind: Deployment, apiVersion: apps/v1, metadata: {name: x}}
---
{kind: Service, apiVersion: serving.knative.dev/v1, metadata: {name: x}, spec: {type: 7}}
""")
    assert (found.services, found.errors) == ((), ())


def test_a_later_object_of_the_same_name_counts() -> None:
    found = snapshot(f"{SERVICE % 'a'}---\n{(SERVICE % 'a').replace('80', '81')}")
    assert [service.ports[0].port for service in found.services] == [81]


BROKEN = {
    "no-kind": ("{metadata: {name: x}}", 2, "", "no kind"),
    "a-scalar": ("hello", 2, "", "no kind"),
    "not-yaml": ("a: [", 2, "", "not YAML"),
    "a-bad-field": (
        "{kind: Service, metadata: {name: x}, spec: {ports: [{port: x}]}}",
        2,
        "spec.ports[0].port",
        "int",
    ),
    "a-tag-that-runs-code": ("!!python/object/apply:os.system [ls]", 2, "", "not YAML"),
}


@pytest.mark.parametrize("row", BROKEN)
def test_a_broken_document_has_its_place_and_the_others_go_on(row: str) -> None:
    text, number, field, says = BROKEN[row]
    found = snapshot(f"{SERVICE % 'a'}---\n{text}\n")
    (error,) = found.errors
    assert (error.file, error.document, error.field) == ("m.yaml", number, field)
    assert says in error.message
    assert names(found) == ["a"]


def test_json_file_and_broken_json() -> None:
    text = '{"kind": "Service", "metadata": {"name": "a"}}'
    assert names(snapshot(text, "m.json")) == ["a"]
    assert "not JSON" in snapshot("{", "m.json").errors[0].message


def test_pools_of_another_namespace_are_named() -> None:
    text = """
kind: IPAddressPool
apiVersion: metallb.io/v1beta1
metadata: {name: p%s}
spec: {addresses: [10.0.0.0/24]}
"""
    assert [p.namespace for p in snapshot(text % "").pools] == ["metallb-system"]
    (error,) = snapshot(text % ", namespace: default").errors
    assert error.field == "metadata.namespace"
    assert "'metallb-system' only" in error.message


YAML_1_2_VALUES = {
    "sexagesimal": ("'12:30'", "12:30"),
    "plain-sexagesimal": ("12:30", "12:30"),
    "date": ("2026-01-01", "2026-01-01"),
}


@pytest.mark.parametrize("row", YAML_1_2_VALUES)
def test_values_stay_text_as_kubernetes_reads_them(row: str) -> None:
    written, value = YAML_1_2_VALUES[row]
    found = snapshot(f"{{kind: Namespace, metadata: {{name: n, labels: {{a: {written}}}}}}}")
    assert found.namespaces[0].labels == {"a": value}


def test_folders_are_read_recursively_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.yml").write_text(SERVICE % "two")
    (tmp_path / "a.yaml").write_text(SERVICE % "one")
    (tmp_path / "c.json").write_text('{"kind": "Service", "metadata": {"name": "three"}}')
    (tmp_path / "notes.txt").write_text("not: [yaml")
    documents = list(read_manifests([str(tmp_path)]))
    assert names(snapshot_from_documents(documents)) == ["one", "two", "three"]


def test_a_missing_path_is_an_error() -> None:
    with pytest.raises(FairleadError, match="no such file"):
        list(read_manifests(["/nonexistent.yaml"]))


@pytest.mark.parametrize("text", ["- 1", "a: 1\n---\nb: 2", "a: ["])
def test_an_inventory_is_one_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "edges.yaml"
    path.write_text(text)
    with pytest.raises(FairleadError):
        read_inventory(str(path))
