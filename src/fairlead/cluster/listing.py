# SPDX-License-Identifier: Apache-2.0
"""One reading of the cluster, as manifests: for a playbook that plans once and goes away."""

from collections.abc import Sequence
from typing import Any

from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.pages import list_all, page_decoder
from fairlead.model.errors import FairleadError
from fairlead.snapshot.resources import PLANNED, Resource

_COPY = "kubectl.kubernetes.io/last-applied-configuration"
_HIDDEN = "(hidden)"
_decode = page_decoder(dict[str, Any])


class ListDeniedError(FairleadError):
    """The account may not list all that a plan reads."""

    def __init__(self, denied: Sequence[str]) -> None:
        super().__init__(
            f"API server: this account may not list {', '.join(denied)}; bind a ClusterRole with "
            "the verb list on these resources to it (role cluster_access makes one)"
        )


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
    for resource in PLANNED.values():
        query = {"labelSelector": resource.selector} if resource.selector else {}
        try:
            _, items = list_all(api, resource.path(), _decode, query=query)
        except ApiError as error:
            if resource.optional and not _served(api, resource, error.status):
                continue
            if error.status != 403:
                raise
            denied.append(resource.rbac_name)
            continue
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        found += ({**head, **_trim(resource.kind, item)} for item in items)
    if denied:
        raise ListDeniedError(denied)
    return found


def _served(api: KubeApi, resource: Resource, status: int) -> bool:
    """Whether the API server has definitions of this group; rights are checked before existence."""
    if status != 403:
        return status != 404
    try:
        api.request("GET", f"/apis/{resource.api_version}")
    except ApiError as error:
        return error.status != 404
    return True


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
