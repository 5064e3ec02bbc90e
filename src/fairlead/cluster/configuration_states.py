# SPDX-License-Identifier: Apache-2.0
"""ConfigurationState objects: whether the objects of metallb.io can be used, by component.

Names are fixed, and MetalLB uses the same ones. An object under our name that lacks our label is
MetalLB's and left alone; MetalLB sets the labels anew where it finds one of ours, so that it wins
wherever it runs. Status is a subresource: an object is made first and gets its status by a second
request; a crash in between leaves one without, which the next comparison fills in.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from typing import Any

import msgspec

from fairlead.cluster.client import MERGE_PATCH, ApiError, KubeApi
from fairlead.cluster.collection import API_VERSION, MANAGED_LABEL, MANAGER, Collection
from fairlead.cluster.metadata import ObjectMeta
from fairlead.model.groups import DEFAULT_GROUP, GROUP_LABEL, group_labels, named

KIND = "ConfigurationState"
COMPONENT_LABEL = "metallb.io/component-type"
NODE_LABEL = "metallb.io/node-name"


class Component(Enum):
    """Who tells: (value of the label, type of its condition)."""

    CONTROLLER = ("controller", "poolReconcilerValid")
    SPEAKER = ("speaker", "configReconcilerValid")


class Reason(StrEnum):
    """Reason of a condition."""

    RECONCILED = "Reconciled"
    CONFIGURATION = "ConfigurationError"
    UNKNOWN = "UnknownError"


_RESULTS = {
    Reason.RECONCILED: "Valid",
    Reason.CONFIGURATION: "Invalid",
    Reason.UNKNOWN: "Unknown",
}


class ConfigState(msgspec.Struct, frozen=True):
    """What one component should tell.

    Attributes:
        edge: Name of the edge; "" for what the leader tells as the controller.
        message: What is wrong, a line for each object; "" for nothing.
    """

    component: Component
    edge: str
    reason: Reason
    message: str = ""
    group: str = DEFAULT_GROUP

    @property
    def name(self) -> str:
        """Name of the object."""
        word = named(self.component.value[0], self.group)
        return f"{word}-{self.edge}" if self.edge else word

    def labels(self) -> dict[str, str]:
        """Labels of the object."""
        node = {NODE_LABEL: self.edge} if self.edge else {}
        labels = {COMPONENT_LABEL: self.component.value[0], **node, MANAGED_LABEL: MANAGER}
        return labels | group_labels(self.group)


class _Condition(msgspec.Struct, rename="camel"):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class _Status(msgspec.Struct, rename="camel"):
    result: str = ""
    error_summary: str = ""
    conditions: list[_Condition] = []


class StateObject(msgspec.Struct):
    """An object as it stands."""

    metadata: ObjectMeta
    status: _Status = msgspec.field(default_factory=_Status)

    def is_of(self, group: str) -> bool:
        """Whether an edge of this group made it."""
        labels = self.metadata.labels
        of = labels.get(GROUP_LABEL, DEFAULT_GROUP)
        return labels.get(MANAGED_LABEL) == MANAGER and of == group


class ConfigStateStore:
    """The objects of one namespace; every method raises ApiError and ApiUnavailableError.

    Args:
        clock: Time of day, for the moment at which a condition turned.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        *,
        group: str = DEFAULT_GROUP,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(tz=dt.UTC),
    ) -> None:
        self._api, self._clock = api, clock
        self._of = Collection(api, namespace, "configurationstates", StateObject, group)

    def make_true(self, state: ConfigState) -> None:
        """Make the object tell this; writes nothing where it does, or is not ours."""
        found = self._get(state.name)
        if found is None:
            found = self._create(state)
        elif not found.is_of(state.group):
            return
        elif not state.labels().items() <= found.metadata.labels.items():
            found = self._patch(state.name, {"metadata": {"labels": state.labels()}})
        status = self._status(state, found)
        if not _tells(found.status, status):
            # On the version that was looked at: if it changed meanwhile, it may be MetalLB's now.
            version = {"resourceVersion": found.metadata.resource_version}
            self._patch(f"{state.name}/status", {"metadata": version, "status": status})

    def of_absent(self, edges: Iterable[str]) -> list[StateObject]:
        """Objects of ours that tell of an edge which is none of these."""
        speaker = Component.SPEAKER.value[0]
        names = ",".join(sorted(edges))
        found = self._of.select(f"{COMPONENT_LABEL}={speaker},{NODE_LABEL} notin ({names})")
        return found or []

    def of_all(self) -> list[StateObject]:
        """Objects of ours, whoever tells them."""
        return self._of.select() or []

    def delete(self, found: StateObject) -> None:
        """Delete an object; one that is gone is fine."""
        self._of.delete(found.metadata.name)

    def _get(self, name: str) -> StateObject | None:
        try:
            return _object(self._api.request("GET", f"{self._of.path}/{name}"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _create(self, state: ConfigState) -> StateObject:
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": state.name, "labels": state.labels()},
        }
        return _object(self._api.request("POST", self._of.path, body=body))

    def _patch(self, path: str, body: dict[str, Any]) -> StateObject:
        data = self._api.request(
            "PATCH", f"{self._of.path}/{path}", body=body, content_type=MERGE_PATCH
        )
        return _object(data)

    def _status(self, state: ConfigState, found: StateObject) -> dict[str, Any]:
        """The status as it should be; the time of a condition moves only when it turns."""
        kind = state.component.value[1]
        holds = str(state.reason is Reason.RECONCILED)
        since = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        for one in found.status.conditions:
            if (one.type, one.status) == (kind, holds):
                since = one.last_transition_time
        condition = {
            "type": kind,
            "status": holds,
            "reason": state.reason.value,
            "message": state.message,
            "lastTransitionTime": since,
        }
        return {
            "result": _RESULTS[state.reason],
            "errorSummary": state.message or None,  # absent while there is none
            "conditions": [condition],
        }


def _object(data: bytes) -> StateObject:
    return msgspec.json.decode(data, type=StateObject)


def _tells(status: _Status, wanted: dict[str, Any]) -> bool:
    return (
        status.result == wanted["result"]
        and status.error_summary == (wanted["errorSummary"] or "")
        and msgspec.to_builtins(status.conditions) == wanted["conditions"]
    )
