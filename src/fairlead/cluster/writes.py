# SPDX-License-Identifier: Apache-2.0
"""Writes to the cluster: Service status with its pool note, and Events about any object.

Status and annotation go in one PATCH of `services/status` that carries the resourceVersion on
which the decision was made: a Service that changed meanwhile answers 409, and its watch event
brings the next decision. Nothing is ever written to a spec.
"""

import datetime as dt
import hashlib
from collections import OrderedDict
from typing import Any

import msgspec

from fairlead.cluster.client import MERGE_PATCH, ApiError, KubeApi
from fairlead.cluster.nesting import decoded
from fairlead.model.names import ObjectKey
from fairlead.model.plan import PlanEvent

POOL_ANNOTATION = "metallb.io/ip-allocated-from-pool"
COMPONENT = "fairlead"
_REMEMBERED = 4096


class IngressStatus(msgspec.Struct, frozen=True):
    """What `status.loadBalancer.ingress` should hold, and the pool note beside it.

    Attributes:
        ingress: (address, ipMode) pairs in order; empty clears the status.
        pool: Value of the annotation `metallb.io/ip-allocated-from-pool`; None removes it.
    """

    ingress: tuple[tuple[str, str], ...]
    pool: str | None


class ObjectRef(msgspec.Struct, frozen=True):
    """The version of an object that a write is about."""

    key: ObjectKey
    uid: str
    resource_version: str
    kind: str = "Service"
    api_version: str = "v1"


class ServiceRef(ObjectRef, frozen=True):
    """The version of a Service that a write is about."""


def write_status(api: KubeApi, service: ServiceRef, status: IngressStatus) -> None:
    """Write status and pool note of one Service.

    Raises:
        ApiError: 409 when the Service changed since, 404 when it is gone, others as answered.
        ApiUnavailableError: No answer.
    """
    load_balancer: dict[str, Any] = {"ingress": None}
    if status.ingress:
        load_balancer["ingress"] = [{"ip": ip, "ipMode": mode} for ip, mode in status.ingress]
    namespace, name = service.key
    api.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/services/{name}/status",
        body={
            "metadata": {
                "resourceVersion": service.resource_version,
                "annotations": {POOL_ANNOTATION: status.pool},
            },
            "status": {"loadBalancer": load_balancer},
        },
        content_type=MERGE_PATCH,
    )


class EventRecorder:
    """Writes core/v1 Events; the same Event again raises its count instead of adding a row.

    The name of an Event is a hash of what it says, so a repeat finds the first one without any
    memory of ours, also after a restart.
    """

    def __init__(self, api: KubeApi, instance: str) -> None:
        self._api, self._instance = api, instance
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def record(self, about: ObjectRef, event: PlanEvent, *, namespace: str | None = None) -> None:
        """Write one Event about an object; `namespace` writes it there instead (a mirror).

        The API server wants an Event in the namespace of its object, so the mirror's object carries
        that namespace and the real one stands in `related`.

        Raises:
            ApiError, ApiUnavailableError: It could not be written.
        """
        where = namespace or about.key.namespace
        name = self._name(about, event)
        path = f"/api/v1/namespaces/{where}/events"
        count = self._counts.get((where, name), 0)
        if count and self._raise_count(f"{path}/{name}", count + 1):
            self._remember(where, name, count + 1)
            return
        try:
            self._api.request("POST", path, body=self._body(about, event, where, name))
            count = 1
        except ApiError as error:
            if error.status != 409:
                raise
            count = self._stored_count(f"{path}/{name}") + 1
            self._raise_count(f"{path}/{name}", count)
        self._remember(where, name, count)

    def record_once(self, about: ObjectRef, event: PlanEvent, version: str) -> None:
        """Write an Event about a version of an object, once whichever edge and process says it.

        Raises:
            ApiError, ApiUnavailableError: It could not be written.
        """
        where = about.key.namespace
        said = repr((about.uid, version, event.type, event.reason, event.message))
        name = _event_name(about, said)
        try:
            self._api.request(
                "POST",
                f"/api/v1/namespaces/{where}/events",
                body=self._body(about, event, where, name),
            )
        except ApiError as error:
            if error.status != 409:  # told already
                raise

    def _name(self, about: ObjectRef, event: PlanEvent) -> str:
        said = repr((about.uid, event.type, event.reason, event.message, self._instance))
        return _event_name(about, said)

    def _body(self, about: ObjectRef, event: PlanEvent, where: str, name: str) -> dict[str, Any]:
        now = _now()
        real = {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.key.namespace,
            "name": about.key.name,
            "uid": about.uid,
        }
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": where, "name": name},
            "involvedObject": {**real, "namespace": where},
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:1024],  # the API server refuses more
            "source": {"component": COMPONENT, "host": self._instance},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        if where != about.key.namespace:
            body["related"] = real
            del body["involvedObject"]["uid"]
        return body

    def _raise_count(self, path: str, count: int) -> bool:
        """PATCH the count; False when the Event expired (one hour by default)."""
        try:
            self._api.request(
                "PATCH",
                path,
                body={"count": count, "lastTimestamp": _now()},
                content_type=MERGE_PATCH,
            )
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _stored_count(self, path: str) -> int:
        try:
            return decoded(_COUNTED.decode, self._api.request("GET", path)).count or 1
        except ApiError as error:
            if error.status in (403, 404):  # no right to read, or just expired: the text matters
                return 1
            raise

    def _remember(self, where: str, name: str, count: int) -> None:
        self._counts[(where, name)] = count
        self._counts.move_to_end((where, name))
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)


class _Counted(msgspec.Struct):
    count: int | None = None


_COUNTED = msgspec.json.Decoder(_Counted)


def _event_name(about: ObjectRef, said: str) -> str:
    return f"{about.key.name}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _now() -> str:
    return dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
