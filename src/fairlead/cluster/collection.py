# SPDX-License-Identifier: Apache-2.0
"""Objects of one kind in one namespace that edges write: found by labels, deleted by name."""

from typing import Generic, TypeVar

import msgspec

from fairlead.cluster.client import ApiError, KubeApi

API_VERSION = "metallb.io/v1beta1"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "fairlead"
_PAGE = 500

T = TypeVar("T", bound=msgspec.Struct)


class _ListMeta(msgspec.Struct, rename={"token": "continue"}):
    token: str = ""


class _Page(msgspec.Struct, Generic[T]):
    items: list[T]
    metadata: _ListMeta


class Collection(Generic[T]):
    """Every method raises ApiError and ApiUnavailableError, `select` also MsgspecError.

    Attributes:
        path: Of the collection.
    """

    def __init__(self, api: KubeApi, namespace: str, plural: str, shape: type[T]) -> None:
        self._api = api
        self._decoder = msgspec.json.Decoder(_Page[shape])  # type: ignore[valid-type]
        self.path = f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}"

    def select(self, selector: str = "") -> list[T] | None:
        """Objects that an edge of ours wrote, narrowed by labels; None if the kind is not served.

        Those without our label are MetalLB's own, and never listed.
        """
        labels = f"{MANAGED_LABEL}={MANAGER}"
        query: dict[str, str | int] = {
            "labelSelector": f"{labels},{selector}" if selector else labels,
            "limit": _PAGE,
        }
        found: list[T] = []
        while True:
            try:
                page = self._decoder.decode(self._api.request("GET", self.path, query=query))
            except ApiError as error:
                if error.status == 404:
                    return None
                raise
            found += page.items
            if not page.metadata.token:
                return found
            query["continue"] = page.metadata.token

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone is fine."""
        try:
            self._api.request("DELETE", f"{self.path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
