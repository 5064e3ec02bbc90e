# SPDX-License-Identifier: Apache-2.0
"""A node's heartbeats: its Lease, and the Ready condition of its Node object.

Timings are the real kubelet's (lease of 40 s, renewed every 10 s; condition written again when
the cluster has changed its mind, and every five minutes). The Node object itself belongs to
`fairlead_lab.nodes`: a test that deletes it wants it to stay deleted.
"""

import logging
import threading
import time
from typing import Any

from fairlead_lab.kubelet_api import MERGE, STRATEGIC, Api, ApiError
from fairlead_lab.kubelet_status import timestamp

log = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
LEASE_SECONDS = 40
STATUS_SECONDS = 300.0
RETRY_SECONDS = 0.5
NOT_FOUND = 404
HEALTHY = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID"),
    "Ready": ("True", "KubeletReady"),
}
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "240", "ephemeral-storage": "256Gi"}
"""Generous: the lab's containers ask for whatever their manifests say and use next to nothing."""


class Heartbeat:
    """Keeps one node alive in the eyes of the cluster."""

    def __init__(self, api: Api, node: str, addresses: list[str]) -> None:
        self._api = api
        self._node = node
        self._addresses = addresses
        self._status_due = 0.0
        self._lease_path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"

    def run(self, stop: threading.Event) -> None:
        """Beat until told to stop; blocking."""
        while not stop.is_set():
            pause = RENEW_SECONDS
            try:
                self._write_status()
                self._renew()
            except ApiError as error:
                log.warning("heartbeat of %s: %s", self._node, error)
                pause = RETRY_SECONDS
            stop.wait(pause)

    def _write_status(self) -> None:
        path = f"/api/v1/nodes/{self._node}"
        now = time.monotonic()
        found = self._api.request("GET", path).get("status", {}).get("conditions", [])
        known = {condition["type"]: condition for condition in found}
        if now < self._status_due and known.get("Ready", {}).get("status") == "True":
            return
        status = self._status(known)
        self._api.request("PATCH", f"{path}/status", {"status": status}, kind=STRATEGIC)
        self._status_due = now + STATUS_SECONDS

    def _status(self, known: dict[str, dict[str, str]]) -> dict[str, Any]:
        addresses = [{"type": "InternalIP", "address": address} for address in self._addresses]
        return {
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            # Without the directive this list is merged by type, and both families have one type.
            "addresses": [
                *addresses,
                {"type": "Hostname", "address": self._node},
                {"$patch": "replace"},
            ],
            "nodeInfo": {
                "kubeletVersion": "fairlead-lab",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "containerRuntimeVersion": "fairlead-lab://1",
            },
            "conditions": [
                _condition(known.get(kind, {}), kind, status, reason)
                for kind, (status, reason) in HEALTHY.items()
            ],
        }

    def _renew(self) -> None:
        spec = {
            "holderIdentity": self._node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": timestamp(micro=True),
        }
        try:
            self._api.request("PATCH", self._lease_path, {"spec": spec}, kind=MERGE)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            lease = {"metadata": {"name": self._node}, "spec": spec}
            self._api.request("POST", self._lease_path.rpartition("/")[0], lease)


def _condition(before: dict[str, str], kind: str, status: str, reason: str) -> dict[str, str]:
    now = timestamp()
    changed = before.get("status") != status
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "the lab's kubelet is posting its status",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now if changed else before["lastTransitionTime"],
    }
