# SPDX-License-Identifier: Apache-2.0
"""Objects of one kind in one namespace that edges write: found by labels, deleted by name."""

from typing import Generic, TypeVar

import msgspec

from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.pages import list_all, page_decoder
from fairlead.model.groups import DEFAULT_GROUP, group_selector

API_VERSION = "metallb.io/v1beta1"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "fairlead"

T = TypeVar("T", bound=msgspec.Struct)


class Collection(Generic[T]):
    """Every method raises ApiError and ApiUnavailableError, `select` also MsgspecError.

    Attributes:
        path: Of the collection.
    """

    def __init__(
        self, api: KubeApi, namespace: str, plural: str, shape: type[T], group: str = DEFAULT_GROUP
    ) -> None:
        self._api, self._group = api, group
        self._decode = page_decoder(shape)
        self.path = f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}"

    def select(self, selector: str = "") -> list[T] | None:
        """Objects that edges of this group wrote, narrowed by labels; None: the kind is not served.

        Those without our label are MetalLB's own, and never listed.
        """
        labels = f"{MANAGED_LABEL}={MANAGER},{group_selector(self._group)}"
        query = {"labelSelector": f"{labels},{selector}" if selector else labels}
        try:
            return list_all(self._api, self.path, self._decode, query=query)[1]
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone is fine."""
        try:
            self._api.request("DELETE", f"{self.path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
