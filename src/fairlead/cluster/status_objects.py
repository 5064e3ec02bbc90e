# SPDX-License-Identifier: Apache-2.0
"""ServiceL2Status and ServiceBGPStatus objects: list, make, mend, delete.

Objects are found by labels, of which one says that an edge of ours wrote them: MetalLB's own,
in a cluster that has both, are never listed and never deleted. Status is a subresource, so an
object is made first and gets its status by a second request; a crash in between leaves one with an
empty status, which the next comparison mends.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

import msgspec

from fairlead.cluster.client import MERGE_PATCH, KubeApi
from fairlead.cluster.collection import API_VERSION, MANAGED_LABEL, MANAGER, Collection
from fairlead.cluster.metadata import ObjectMeta
from fairlead.model.groups import DEFAULT_GROUP, group_labels
from fairlead.model.names import ObjectKey

NODE_LABEL = "metallb.io/node"
NAME_LABEL = "metallb.io/service-name"
NAMESPACE_LABEL = "metallb.io/service-namespace"


class StatusKind(Enum):
    """The two kinds: (kind, collection, prefix of generated names)."""

    L2 = ("ServiceL2Status", "servicel2statuses", "l2-")
    BGP = ("ServiceBGPStatus", "servicebgpstatuses", "bgp-")

    @property
    def plural(self) -> str:
        """Name of the collection."""
        return self.value[1]


class StatusRow(msgspec.Struct, frozen=True):
    """That an edge announces a Service.

    Attributes:
        names: Interfaces or peers, sorted.
    """

    kind: StatusKind
    edge: str
    service: ObjectKey
    names: tuple[str, ...]

    def labels(self) -> dict[str, str]:
        """Labels of the object."""
        return {
            NODE_LABEL: self.edge,
            NAME_LABEL: self.service.name,
            NAMESPACE_LABEL: self.service.namespace,
            MANAGED_LABEL: MANAGER,
        }

    def identity(self) -> dict[str, str]:
        """Fields of the status that can't be changed."""
        return {
            "node": self.edge,
            "serviceName": self.service.name,
            "serviceNamespace": self.service.namespace,
        }

    def status(self) -> dict[str, Any]:
        """Status of the object."""
        if self.kind is StatusKind.L2:
            return {**self.identity(), "interfaces": [{"name": name} for name in self.names]}
        return {**self.identity(), "peers": list(self.names)}


class StatusObject(msgspec.Struct):
    """An object as it stands."""

    metadata: ObjectMeta
    status: dict[str, Any] = {}

    @property
    def service(self) -> ObjectKey:
        """The Service that its labels name."""
        labels = self.metadata.labels
        return ObjectKey(labels.get(NAMESPACE_LABEL, ""), labels.get(NAME_LABEL, ""))

    def tells(self, row: StatusRow) -> bool:
        """Whether it says exactly this."""
        return self.status == row.status()

    def is_about(self, row: StatusRow) -> bool:
        """Whether it can be made to say this: what can't be changed is right or empty."""
        return all(self.status.get(key, text) in (text, "") for key, text in row.identity().items())


class StatusObjectStore:
    """The objects of one namespace; every method raises ApiError and ApiUnavailableError."""

    def __init__(self, api: KubeApi, namespace: str, group: str = DEFAULT_GROUP) -> None:
        self._api, self._group = api, group
        self._of = {
            kind: Collection(api, namespace, kind.plural, StatusObject, group)
            for kind in StatusKind
        }

    def own(self, kind: StatusKind, edge: str) -> list[StatusObject] | None:
        """Objects that an edge wrote; None where the kind is not served."""
        return self._of[kind].select(f"{NODE_LABEL}={edge}")

    def of_others(self, kind: StatusKind, edges: Iterable[str]) -> list[StatusObject]:
        """Objects of ours that none of these edges wrote."""
        names = ",".join(sorted(edges))
        return self._of[kind].select(f"{NODE_LABEL} notin ({names})") or []

    def of_all(self, kind: StatusKind) -> list[StatusObject]:
        """Objects of ours, whichever edge wrote them."""
        return self._of[kind].select() or []

    def create(self, row: StatusRow) -> None:
        """Make an object, then fill in its status."""
        kind, _, prefix = row.kind.value
        labels = row.labels() | group_labels(self._group)
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"generateName": prefix, "labels": labels},
        }
        data = self._api.request("POST", self._of[row.kind].path, body=body)
        self.mend(msgspec.json.decode(data, type=StatusObject), row)

    def mend(self, found: StatusObject, row: StatusRow) -> None:
        """Make the status of an object tell this."""
        self._api.request(
            "PATCH",
            f"{self._of[row.kind].path}/{found.metadata.name}/status",
            body={"status": row.status()},
            content_type=MERGE_PATCH,
        )

    def delete(self, kind: StatusKind, found: StatusObject) -> None:
        """Delete an object; one that is gone is fine."""
        self._of[kind].delete(found.metadata.name)
