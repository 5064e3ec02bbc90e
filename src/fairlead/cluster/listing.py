# SPDX-License-Identifier: Apache-2.0
"""One reading of the cluster, as manifests: for a playbook that plans once and goes away."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fairlead.cluster.client import ApiError, KubeApi
from fairlead.model.errors import FairleadError

_PAGE = 500
_RESTARTS = 3
_COPY = "kubectl.kubernetes.io/last-applied-configuration"
_HIDDEN = "(hidden)"
_METALLB = (
    ("IPAddressPool", "v1beta1", "ipaddresspools"),
    ("L2Advertisement", "v1beta1", "l2advertisements"),
    ("BGPAdvertisement", "v1beta1", "bgpadvertisements"),
    ("BGPPeer", "v1beta2", "bgppeers"),
    ("BFDProfile", "v1beta1", "bfdprofiles"),
    ("Community", "v1beta1", "communities"),
)
# (kind, apiVersion, collection); an API server that lacks a definition answers 404.
COLLECTIONS = (
    ("Namespace", "v1", "/api/v1/namespaces"),
    ("Node", "v1", "/api/v1/nodes"),
    ("Service", "v1", "/api/v1/services"),
    ("EndpointSlice", "discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1/endpointslices"),
    *(
        (kind, f"metallb.io/{version}", f"/apis/metallb.io/{version}/{plural}")
        for kind, version, plural in _METALLB
    ),
)
_OPTIONAL = frozenset(kind for kind, _, _ in _METALLB)


class ListDeniedError(FairleadError):
    """The account may not list all that a plan reads."""

    def __init__(self, denied: Sequence[str]) -> None:
        super().__init__(
            f"API server: this account may not list {', '.join(denied)}; bind a ClusterRole with "
            "the verb list on these resources to it (role cluster_access makes one)"
        )


class _ListMeta(msgspec.Struct, rename={"token": "continue"}):
    token: str = ""


class _Page(msgspec.Struct):
    items: list[dict[str, Any]]
    metadata: _ListMeta


def list_objects(api: KubeApi) -> list[dict[str, Any]]:
    """Return every object that a plan reads, as it would stand in a manifest.

    Only the right to list is needed.

    Raises:
        ListDeniedError: Some kinds may not be listed; names every one.
        ApiError: Another answer than success.
        ApiUnavailableError: No answer.
    """
    found: list[dict[str, Any]] = []
    denied: list[str] = []
    for kind, version, path in COLLECTIONS:
        try:
            items = _list(api, path)
        except ApiError as error:
            if kind in _OPTIONAL and not _served(api, version, error.status):
                continue
            if error.status != 403:
                raise
            denied.append(_resource(path))
            continue
        found += ({"apiVersion": version, "kind": kind, **_trim(kind, item)} for item in items)
    if denied:
        raise ListDeniedError(denied)
    return found


def _served(api: KubeApi, version: str, status: int) -> bool:
    """Whether the API server has definitions of this group; rights are checked before existence."""
    if status != 403:
        return status != 404
    try:
        api.request("GET", f"/apis/{version}")
    except ApiError as error:
        return error.status != 404
    return True


def _resource(path: str) -> str:
    """A collection as RBAC names it: `services`, `ipaddresspools.metallb.io`."""
    group, _, name = path.removeprefix("/apis/").rpartition("/")
    return name if path.startswith("/api/") else f"{name}.{group.partition('/')[0]}"


def _list(api: KubeApi, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    token, restarts = "", 0
    while True:
        query: dict[str, str | int] = {"limit": _PAGE, **({"continue": token} if token else {})}
        try:
            body = api.request("GET", path, query=query)
        except ApiError as error:
            # The pages were of a state that is compacted by now: begin again with the present one.
            if error.status != 410 or not token or restarts == _RESTARTS:
                raise
            items, token, restarts = [], "", restarts + 1
            continue
        page = msgspec.json.decode(body, type=_Page)
        items += page.items
        token = page.metadata.token
        if not token:
            return items


def _trim(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """Without managed fields and kubectl's copy: most of its size, and nobody plans by them.

    A peer's password stays where it is, too: a plan says only that there is one, and what a
    playbook reads is shown with -v.
    """
    meta = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    if _COPY in (notes := meta.get("annotations") or {}):
        meta["annotations"] = {key: text for key, text in notes.items() if key != _COPY}
    found = {**item, "metadata": meta}
    if kind == "BGPPeer" and (found.get("spec") or {}).get("password"):
        found["spec"] = {**found["spec"], "password": _HIDDEN}
    return found
