# SPDX-License-Identifier: Apache-2.0
"""Stories on a real API server with a real agent: status, pool note and Events after each step.

The player in memory goes along and says what all Services should look like; what the cluster holds
must become the same, and no Event may be there that the story does not tell.
"""

from collections.abc import Iterator
from typing import Any

from fairlead.cluster.client import MERGE_PATCH, ApiError
from fairlead.cluster.writes import COMPONENT
from fairlead.model.kube import Service
from fairlead.model.pool import LabelSelector, Pool
from fairlead.planner.usage import pool_usage
from support.agent_edge import AgentEdge
from support.harness import wait_for
from support.story import Gone, Player, Status, Step, Story

POOLS = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools"
NOTE = "metallb.io/ip-allocated-from-pool"
SECONDS = 30.0


class LivePlayer:
    """Plays one story; `clean` removes what it made."""

    def __init__(self, edge: AgentEdge) -> None:
        self._edge, self._api = edge, edge.api
        self._memory = Player()
        self._pools: dict[str, Pool] = {}
        self._uids: dict[str, str] = {}
        self._told: dict[str, set[str]] = {}

    def play(self, story: Story) -> None:
        """Play all steps, comparing after each."""
        for number, step in enumerate(story, start=1):
            self._step(number, step)

    def _step(self, number: int, step: Step) -> None:
        assert self._memory.step(step) == step.expect
        for change in step.changes:
            self._apply(change)
        for name, (_, *said) in step.expect.items():
            self._told.setdefault(name, set()).update(said)
        wanted = self._memory.shown()
        where = f"step {number}"
        wait_for(f"{where}: {wanted}", lambda: self._same(wanted, self._shown()), SECONDS)
        wait_for(f"{where}: {self._told}", self._all_told, SECONDS)
        wait_for(f"{where}: counters of pools", lambda: self._counters(wanted), SECONDS)
        for name in wanted:
            assert self._events(name) == self._told.get(name, set())

    @staticmethod
    def _same(wanted: dict[str, str], found: dict[str, str]) -> bool:
        if wanted != found:
            raise KeyError(found)  # wait_for shows it when time is up
        return True

    def _all_told(self) -> bool:
        for name, texts in self._told.items():
            if name in self._uids and (odd := texts ^ self._events(name)):
                raise KeyError(name, odd)
        return True

    # -- what the cluster holds -------------------------------------------------------------

    def _shown(self) -> dict[str, str]:
        shown = {}
        for name in self._uids:
            found = self._edge.get(_path(name))
            ingress = found["status"].get("loadBalancer", {}).get("ingress") or ()
            modes = {entry["ipMode"] for entry in ingress}
            note = found["metadata"].get("annotations", {}).get(NOTE, "")
            odd = [f"ipMode {mode}" for mode in modes - {"VIP"}]
            shown[name] = " ".join([*(entry["ip"] for entry in ingress), *note.split(), *odd])
        return shown

    def _events(self, name: str) -> set[str]:
        namespace = name.rpartition("/")[0] or "default"
        items = self._edge.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return {
            f"{item['reason']}: {item['message']}"
            for item in items
            if item["involvedObject"].get("uid") == self._uids[name]
            # The API server's own repair of ClusterIPs tells Events, too.
            and item["source"].get("component") == COMPONENT
            and item["reason"] != "nodeAssigned"
        }

    def _counters(self, wanted: dict[str, str]) -> bool:
        for name, pool in self._pools.items():
            rows = [shown.split() for shown in wanted.values() if shown.split()[-1:] == [name]]
            held = {address for row in rows for address in row[:-1]}
            assigned, _ = self._counted(pool)
            if assigned != len(held):
                raise KeyError(name, assigned)
        return True

    def _counted(self, pool: Pool) -> tuple[int, int]:
        """Assigned and available addresses, once the object's status is about all of the pool."""
        status = self._edge.get(f"{POOLS}/{pool.name}")["status"]
        assigned = status["assignedIPv4"] + status["assignedIPv6"]
        available = status["availableIPv4"] + status["availableIPv6"]
        (usage,) = pool_usage([pool], ())
        if assigned + available != usage.total:
            raise KeyError(pool.name, status)
        return assigned, available

    # -- changing it ------------------------------------------------------------------------

    def _apply(self, change: Any) -> None:
        match change:
            case Gone(name=name) if name.startswith("pool/"):
                self._api.request("DELETE", f"{POOLS}/{name.removeprefix('pool/')}")
                del self._pools[name.removeprefix("pool/")]
            case Gone(name=name):
                self._api.request("DELETE", _path(name))
                del self._uids[name]
                self._told.pop(name, None)
            case Status():
                self._write_status(change)
            case Pool():
                self._apply_pool(change)
            case Service():
                self._apply_service(change)

    def _apply_pool(self, pool: Pool) -> None:
        body = {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": {"name": pool.name},
            "spec": _pool_spec(pool),
        }
        self._upsert(POOLS, pool.name, body)
        self._pools[pool.name] = pool
        # Pools and Services come by two watches: a Service that follows must find it.
        wait_for(f"pool {pool.name} is known", lambda: self._counted(pool), SECONDS)

    def _apply_service(self, service: Service) -> None:
        name = str(service.key).removeprefix("default/")
        namespace = service.key.namespace
        body = _service_body(service)
        path = f"/api/v1/namespaces/{namespace}/services"
        found = self._upsert(path, service.key.name, body)
        self._uids[name] = found["metadata"]["uid"]

    def _upsert(self, path: str, name: str, body: dict[str, Any]) -> Any:
        try:
            before = self._edge.get(f"{path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            self._api.request("POST", path, body=_without_nulls(body))
        else:
            body["spec"].pop("ipFamilies", None)  # follows the policy, and may not be shortened
            for key in before["metadata"].get("annotations", {}):
                if key != NOTE:
                    body["metadata"]["annotations"].setdefault(key, None)
            self._api.request("PATCH", f"{path}/{name}", body=body, content_type=MERGE_PATCH)
        return self._edge.get(f"{path}/{name}")

    def _write_status(self, change: Status) -> None:
        ingress = [{"ip": ip, "ipMode": change.mode or None} for ip in change.holds.split()]
        status = {"status": {"loadBalancer": {"ingress": _without_nulls(ingress) or None}}}
        path = f"{_path(change.name)}/status"
        self._api.request("PATCH", path, body=status, content_type=MERGE_PATCH)

    def clean(self) -> None:
        """Remove Services, then pools, and see that the agent knows."""
        for name in list(self._uids):
            self._api.request("DELETE", _path(name))
        self._uids.clear()
        wait_for("nothing is assigned", lambda: self._counters({}), SECONDS)
        for name in list(self._pools):
            self._api.request("DELETE", f"{POOLS}/{name}")
        self._pools.clear()


def _path(name: str) -> str:
    namespace, _, short = name.rpartition("/")
    return f"/api/v1/namespaces/{namespace or 'default'}/services/{short}"


def _service_body(service: Service) -> dict[str, Any]:
    """What `kubectl apply` would send; None takes a field away."""
    annotations: dict[str, str | None] = {
        key: value for key, value in service.annotations.items() if key != NOTE
    }
    balancer = service.type == "LoadBalancer"
    families = ["IPv6" if ":" in ip else "IPv4" for ip in service.cluster_ips]
    policy = service.policy.value if service.type in ("LoadBalancer", "NodePort") else None
    return {
        "metadata": {
            "name": service.key.name,
            "annotations": annotations,
            "labels": dict(service.labels) or None,
        },
        "spec": {
            "type": service.type,
            "selector": dict(service.selector) or None,
            "externalTrafficPolicy": policy,
            "loadBalancerIP": service.load_balancer_ip or None,
            "loadBalancerClass": service.load_balancer_class if balancer else None,
            "ipFamilyPolicy": service.ip_family_policy,
            "ipFamilies": families,
            "ports": [
                {
                    "name": f"{port.protocol.lower()}-{port.port}",
                    "protocol": port.protocol.value,
                    "port": port.port,
                }
                for port in service.ports
            ],
        },
    }


def _pool_spec(pool: Pool) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "addresses": [part.text for part in pool.ranges],
        "autoAssign": pool.auto_assign,
        "avoidBuggyIPs": pool.avoid_buggy_ips,
        "serviceAllocation": None,
    }
    if (chosen := pool.selection) is not None:
        spec["serviceAllocation"] = {
            "priority": chosen.priority,
            "namespaces": list(chosen.namespaces) or None,
            "namespaceSelectors": list(_selectors(chosen.namespace_selectors)) or None,
            "serviceSelectors": list(_selectors(chosen.service_selectors)) or None,
        }
    return spec


def _selectors(selectors: tuple[LabelSelector, ...]) -> Iterator[dict[str, Any]]:
    for selector in selectors:
        yield {"matchLabels": dict(selector.match_labels)}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
