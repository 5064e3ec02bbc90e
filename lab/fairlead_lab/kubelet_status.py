# SPDX-License-Identifier: Apache-2.0
"""What the kubelet says about a pod, as values: no request and no process is started here."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlead_lab.kubelet_api import Pod

READY_ANNOTATION = "lab.fairlead.io/ready"
"""On a Pod: "true" or "false" takes the place of all its readiness probes."""


def timestamp(moment: dt.datetime | None = None, *, micro: bool = False) -> str:
    """A time as metav1.Time (seconds) or metav1.MicroTime; now when none is given."""
    moment = moment or dt.datetime.now(dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def override(pod: Pod) -> bool | None:
    """What the annotation says, None when the probes decide."""
    return {"true": True, "false": False}.get(pod.metadata.annotations.get(READY_ANNOTATION, ""))


def readiness(pod: Pod, probed: Mapping[str, bool], *, running: bool) -> dict[str, bool]:
    """Readiness of each container.

    Args:
        pod: the pod with its annotations.
        probed: last outcome by container; a container without an entry there and with a probe
            is not ready yet.
        running: whether the pod's process lives.
    """
    forced = override(pod)
    return {
        container.name: running
        and (
            forced
            if forced is not None
            else container.readiness_probe is None or probed.get(container.name, False)
        )
        for container in pod.spec.containers
    }


def conditions(pod: Pod, ready: Mapping[str, bool]) -> dict[str, bool]:
    """The conditions that the kubelet owns; readiness gates are met by somebody else's."""
    others = {condition.type: condition.status == "True" for condition in pod.status.conditions}
    gates = all(others.get(gate.condition_type, False) for gate in pod.spec.readiness_gates)
    containers = all(ready.values())
    return {
        "PodReadyToStartContainers": True,
        "Initialized": True,
        "ContainersReady": containers,
        "Ready": containers and gates,
    }


def contradicted(pod: Pod, status: Mapping[str, Any]) -> bool:
    """Whether the API server holds other conditions than those that were written.

    The node controller sets Ready to false on the pods of a node that it lost; only the kubelet
    sets it right again (kubernetes/pkg/kubelet/status/status_manager.go, `needsReconcile`).
    """
    held = {condition.type: condition.status for condition in pod.status.conditions}
    return any(held.get(one["type"]) != one["status"] for one in status["conditions"])


@dataclass
class StatusWriter:
    """Builds the status of one pod and remembers since when each condition holds."""

    addresses: tuple[str, ...]
    host_addresses: tuple[str, ...]
    started: str = field(default_factory=timestamp)
    _since: dict[str, tuple[bool, str]] = field(default_factory=dict)

    def build(
        self, pod: Pod, ready: Mapping[str, bool], *, running: bool, restarts: int
    ) -> dict[str, Any]:
        """The status as a strategic merge patch would have it."""
        return {
            "phase": "Running",
            "startTime": self.started,
            "hostIP": self.host_addresses[0],
            "hostIPs": [{"ip": address} for address in self.host_addresses],
            "podIP": self.addresses[0],
            "podIPs": [{"ip": address} for address in self.addresses],
            "conditions": [
                self._condition(name, holds) for name, holds in conditions(pod, ready).items()
            ],
            "containerStatuses": [
                {
                    "name": container.name,
                    "image": container.image,
                    "imageID": "",
                    "containerID": f"lab://{pod.metadata.uid}/{container.name}",
                    "ready": ready[container.name],
                    "started": running,
                    "restartCount": restarts,
                    "state": {"running": {"startedAt": self.started}}
                    if running
                    else {"waiting": {"reason": "CrashLoopBackOff"}},
                }
                for container in pod.spec.containers
            ],
        }

    def _condition(self, name: str, holds: bool) -> dict[str, Any]:
        before = self._since.get(name)
        if before is None or before[0] != holds:
            self._since[name] = (holds, timestamp())
        condition: dict[str, Any] = {
            "type": name,
            "status": "True" if holds else "False",
            "lastTransitionTime": self._since[name][1],
            "reason": None,
            "message": None,
        }
        if not holds:
            condition["reason"] = "ContainersNotReady"
            condition["message"] = "a container is not ready"
        return condition
