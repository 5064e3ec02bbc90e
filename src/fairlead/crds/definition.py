# SPDX-License-Identifier: Apache-2.0
"""A CustomResourceDefinition of the group metallb.io, put together from what differs by kind.

All are namespaced, have a status subresource and no conversion webhook: several versions of a kind
have one schema, so that an object reads and writes the same in each of them.
"""

import hashlib
from typing import Any

import msgspec

from fairlead.crds.schema import Schema

GROUP = "metallb.io"
NAME_LABEL = "app.kubernetes.io/name"
LABELS = {NAME_LABEL: "fairlead", "app.kubernetes.io/component": "api"}
REVISION = 1
"""Goes up with every change of a definition, so that an older release never undoes a newer one."""
REVISION_ANNOTATION = "fairlead.io/crd-revision"
DIGEST_ANNOTATION = "fairlead.io/crd-digest"


class Column(msgspec.Struct, frozen=True):
    """A column of `kubectl get`; those of a priority show with `-o wide` only."""

    name: str
    type: str
    path: str
    priority: int = 0


class Version(msgspec.Struct, frozen=True):
    """One version of a kind; `spec` None is a kind that has a status only."""

    name: str
    about: str
    spec: Schema | None
    status: Schema | None = None
    columns: tuple[Column, ...] = ()
    needs_spec: bool = False
    deprecation: str = ""


class Definition(msgspec.Struct, frozen=True):
    """One kind; the last version is the one that is stored."""

    kind: str
    plural: str
    versions: tuple[Version, ...]

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    def manifest(self) -> dict[str, Any]:
        """The CustomResourceDefinition; its digest tells one text of it from another."""
        spec = {
            "group": GROUP,
            "names": {
                "kind": self.kind,
                "listKind": f"{self.kind}List",
                "plural": self.plural,
                "singular": self.kind.lower(),
            },
            "scope": "Namespaced",
            "conversion": {"strategy": "None"},
            "versions": [
                _version(version, stored=version is self.versions[-1]) for version in self.versions
            ],
        }
        digest = hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()[:16]
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": self.name,
                "labels": dict(LABELS),
                "annotations": {
                    REVISION_ANNOTATION: str(REVISION),
                    DIGEST_ANNOTATION: digest,
                },
            },
            "spec": spec,
        }


def _version(version: Version, *, stored: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": version.name,
        "served": True,
        "storage": stored,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": _schema(version)},
    }
    if version.columns:
        made["additionalPrinterColumns"] = [_column(column) for column in version.columns]
    if version.deprecation:
        made["deprecated"] = True
        made["deprecationWarning"] = version.deprecation
    return made


def _schema(version: Version) -> Schema:
    properties: Schema = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    if version.spec is not None:
        properties["spec"] = version.spec
    properties["status"] = version.status or {"type": "object", "description": "Unused."}
    schema: Schema = {"type": "object", "description": version.about, "properties": properties}
    return {**schema, "required": ["spec"]} if version.needs_spec else schema


def _column(column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**made, "priority": column.priority} if column.priority else made
