# SPDX-License-Identifier: Apache-2.0
"""The namespace of pools at removal: it goes only if we made it and nobody put anything into it.

Deleting a namespace deletes all that is in it, of every kind that the cluster knows. So every kind
is asked for, by the API server's own discovery, and whatever can't be asked for counts as there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fairlead.cluster.access import AccessChange, get, shared
from fairlead.cluster.client import ApiError, ApiUnavailableError, KubeApi

_NAMESPACES = "/api/v1/namespaces"
# What a cluster puts into every namespace, and what only tells of others.
_EVERYWHERE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_TALK = {"events"}
_GONE = {404, 405}  # a definition that was just removed; a kind that can't be listed


def remove_if_unused(
    api: KubeApi, name: str, labels: Mapping[str, str], *, check: bool = False
) -> list[AccessChange]:
    """Delete the namespace if it bears exactly our labels and holds nothing of anybody's.

    Args:
        api: An account that may.
        name: The namespace.
        labels: Those that we give what we make; objects that bear them don't count as anybody's.
        check: Only say what would be done.

    Returns:
        The change, or nothing where the namespace stays.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    found = get(api, f"{_NAMESPACES}/{name}")
    if found is None or not _bears(found, labels) or _in_use(api, name, labels):
        return []
    if not check:
        api.request("DELETE", f"{_NAMESPACES}/{name}")
    known = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    return [AccessChange(f"Namespace {name}", shared(known, found), {})]


def _bears(found: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    meta = found["metadata"]
    return "deletionTimestamp" not in meta and labels.items() <= (meta.get("labels") or {}).items()


def _in_use(api: KubeApi, name: str, labels: Mapping[str, str]) -> bool:
    try:
        return any(True for _ in _objects(api, name, labels))
    except (ApiError, ApiUnavailableError):  # e.g. an aggregated API server that is down
        return True


def _objects(api: KubeApi, namespace: str, labels: Mapping[str, str]) -> Iterator[str]:
    for root in _roots(api):
        for resource in _read(api, root)["resources"]:
            if not _listable(resource):
                continue
            listed = _listed(api, f"{root}/namespaces/{namespace}/{resource['name']}")
            for one in listed.get("items", ()):
                meta = one["metadata"]
                ours = labels.items() <= (meta.get("labels") or {}).items()
                common = (resource["kind"], meta["name"]) in _EVERYWHERE
                if not (ours or common or "deletionTimestamp" in meta):
                    yield f"{resource['kind']} {meta['name']}"


def _roots(api: KubeApi) -> Iterator[str]:
    yield "/api/v1"
    for group in _read(api, "/apis")["groups"]:
        # All versions: the preferred one need not have every kind (v1beta2 of metallb.io has one).
        for version in group["versions"]:
            yield f"/apis/{version['groupVersion']}"


def _listable(resource: Mapping[str, Any]) -> bool:
    named = resource["name"]
    return (
        resource["namespaced"]
        and "list" in resource["verbs"]
        and "/" not in named
        and named not in _TALK
    )


def _read(api: KubeApi, path: str) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.json.decode(api.request("GET", path))
    return data


def _listed(api: KubeApi, path: str) -> dict[str, Any]:
    try:
        return _read(api, path)
    except ApiError as error:
        if error.status in _GONE:
            return {}
        raise
