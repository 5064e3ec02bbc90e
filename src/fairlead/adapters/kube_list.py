# SPDX-License-Identifier: Apache-2.0
"""One reading of the cluster, as manifests: for a playbook that plans once and goes away."""

from typing import Any

import msgspec

from fairlead.adapters.kube_client import ApiError, KubeApi

_PAGE = 500
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


class _ListMeta(msgspec.Struct, rename={"token": "continue"}):
    token: str = ""


class _Page(msgspec.Struct):
    items: list[dict[str, Any]]
    metadata: _ListMeta


def list_objects(api: KubeApi) -> list[dict[str, Any]]:
    """Return every object that a plan reads, as it would stand in a manifest.

    Raises:
        ApiError: An answer other than success, e.g. 403 without the right to list.
        ApiUnavailableError: No answer.
    """
    found: list[dict[str, Any]] = []
    for kind, version, path in COLLECTIONS:
        try:
            items = _list(api, path)
        except ApiError as error:
            if kind in _OPTIONAL and error.status == 404:
                continue
            raise
        found += ({"apiVersion": version, "kind": kind, **_trim(kind, item)} for item in items)
    return found


def _list(api: KubeApi, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    token = ""
    while True:
        query: dict[str, str | int] = {"limit": _PAGE, **({"continue": token} if token else {})}
        page = msgspec.json.decode(api.request("GET", path, query=query), type=_Page)
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
