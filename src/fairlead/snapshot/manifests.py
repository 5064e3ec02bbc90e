# SPDX-License-Identifier: Apache-2.0
"""Documents of manifests to a `Snapshot`: the offline twin of the live cluster.

Pure: reading files is `fairlead.cluster.manifests`. Kinds that the planner does not read
(Deployments, ConfigMaps, ...) are passed over; a document that is no Kubernetes object, or one of
ours that can't be used, becomes an `ObjectError` with its place, and the others go on.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fairlead.model.errors import ObjectFieldError
from fairlead.model.kube import Namespace, Node
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.snapshot import Snapshot
from fairlead.snapshot.objects import ModelObject
from fairlead.snapshot.resources import METALLB, PLANNED, parse_object


class Document(msgspec.Struct, frozen=True):
    """One document of a file, as YAML or JSON gave it; `number` counts from 1."""

    file: str
    number: int
    content: Any


class DocumentError(msgspec.Struct, frozen=True):
    """A document that could not even be parsed as YAML or JSON."""

    file: str
    number: int
    message: str


def snapshot_from_documents(
    documents: Iterable[Document | DocumentError], *, pool_namespace: str = "metallb-system"
) -> Snapshot:
    """Parse documents into a snapshot.

    Args:
        documents: In the order of the files; of two objects with one name the later one counts,
            as `kubectl apply` would have it.
        pool_namespace: Objects of metallb.io are read from this namespace only (and where they
            name none).
    """
    found: dict[str, dict[ObjectKey, ModelObject]] = {kind: {} for kind in PLANNED}
    errors: list[ObjectError] = []
    places: dict[tuple[str, ObjectKey], tuple[str, int]] = {}
    for document in documents:
        if isinstance(document, DocumentError):
            errors.append(
                ObjectError(file=document.file, document=document.number, message=document.message)
            )
            continue
        for kind, data, place in _objects(document, errors):
            parsed = _parse(kind, data, document, place, pool_namespace)
            if isinstance(parsed, ObjectError):
                errors.append(parsed)
            else:
                found[kind][_object_key(parsed)] = parsed
                if PLANNED[kind].group == METALLB:
                    places[kind, _object_key(parsed)] = (document.file, document.number)
    return Snapshot(
        services=_values(found, "Service"),
        slices=_values(found, "EndpointSlice"),
        nodes=_values(found, "Node"),
        namespaces=_values(found, "Namespace"),
        pools=_values(found, "IPAddressPool"),
        l2_advertisements=_values(found, "L2Advertisement"),
        bgp_advertisements=_values(found, "BGPAdvertisement"),
        bgp_peers=_values(found, "BGPPeer"),
        bfd_profiles=_values(found, "BFDProfile"),
        communities=_values(found, "Community"),
        errors=tuple(errors),
        slices_known=bool(found["EndpointSlice"]),
        nodes_known=bool(found["Node"]),
        places=places,
    )


def _values(found: Mapping[str, Mapping[ObjectKey, ModelObject]], kind: str) -> Any:
    return tuple(found[kind].values())


def _objects(
    document: Document, errors: list[ObjectError]
) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Objects of kinds that are read: (kind, object, place inside the document)."""
    stack: list[tuple[Any, str]] = [(document.content, "")]
    while stack:
        content, place = stack.pop()
        if content is None:
            continue
        if not isinstance(content, Mapping) or not isinstance(content.get("kind"), str):
            errors.append(_error(document, place, {}, "", "not a Kubernetes object: no kind"))
            continue
        kind = content["kind"]
        items = content.get("items")
        if kind.endswith("List") and isinstance(items, list):
            single = kind.removesuffix("List")
            version = content.get("apiVersion")
            stack += [
                (_typed(item, single, version), f"{place}items[{index}].")
                for index, item in reversed(list(enumerate(items)))
            ]
        elif _is_read(kind, content.get("apiVersion")):
            yield kind, content, place


def _is_read(kind: str, version: Any) -> bool:
    """Whether a plan is made from it: other groups have kinds of the same names."""
    known = PLANNED.get(kind)
    return known is not None and (version is None or version in known.api_versions)


def _typed(item: Any, kind: str, version: Any) -> Any:
    """Items of a typed list (`ServiceList`) need not repeat their kind."""
    if kind and isinstance(item, Mapping) and "kind" not in item:
        return {"kind": kind, "apiVersion": version, **item}
    return item


def _parse(
    kind: str, data: Mapping[str, Any], document: Document, place: str, pool_namespace: str
) -> ModelObject | ObjectError:
    try:
        if PLANNED[kind].group == METALLB:
            data = _in_namespace(data, pool_namespace)
        parsed = parse_object(kind, data)
    except ObjectFieldError as error:
        return _error(document, place, data, error.field, error.message)
    if PLANNED[kind].group == METALLB and _object_key(parsed).namespace != pool_namespace:
        return _error(
            document,
            place,
            data,
            "metadata.namespace",
            f"{kind} objects are read from namespace {pool_namespace!r} only (pool_namespace)",
        )
    return parsed


def _in_namespace(data: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    """A manifest without a namespace is meant for the one that `kubectl -n` names."""
    meta = data.get("metadata")
    if isinstance(meta, Mapping) and not meta.get("namespace"):
        return {**data, "metadata": {**meta, "namespace": namespace}}
    return data


def _object_key(parsed: ModelObject) -> ObjectKey:
    return ObjectKey("", parsed.name) if isinstance(parsed, Node | Namespace) else parsed.key


def _error(
    document: Document, place: str, data: Mapping[str, Any], field: str, message: str
) -> ObjectError:
    meta = data.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    return ObjectError(
        file=document.file,
        document=document.number,
        kind=_text(data.get("kind")),
        namespace=_text(meta.get("namespace")),
        name=_text(meta.get("name")),
        field=f"{place}{field}" if field else place.rstrip("."),
        message=message,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
