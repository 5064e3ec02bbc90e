# SPDX-License-Identifier: Apache-2.0
"""The cluster of the readiness benchmark: objects at a real API server, only growing."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from fairlead.adapters.kube_client import MERGE_PATCH, KubeApi

NAMESPACE = "default"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
FIRST_VIP = ip_address("10.200.0.1")
FIRST_NODE = ip_address("10.201.0.1")
FIRST_POD = ip_address("11.0.0.0")
VIPS = "10.200.0.0/16"
PORT = 80
WRITERS = 4


@dataclass(frozen=True, order=True)
class Size:
    """So many Services of so many endpoints; the first node has two of them, the others one."""

    services: int
    endpoints: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """From "1000x100".

        Raises:
            ValueError: Anything else.
        """
        services, endpoints = map(int, text.split("x"))
        return cls(services, endpoints)

    @property
    def nodes(self) -> int:
        """Nodes that have an endpoint of each Service: its real servers."""
        return self.endpoints - 1

    def __str__(self) -> str:
        return f"{self.services:,} x {self.endpoints}"


def node_address(number: int) -> str:
    """InternalIP of a node."""
    return str(FIRST_NODE + number)


class Cluster:
    """Objects at the API server. Sizes come with a growing number of Services."""

    def __init__(self, api: KubeApi) -> None:
        self.api = api
        self._nodes = self._services = 0

    def fill(self, size: Size) -> None:
        """Make what is missing of one size, and every Service's slice anew.

        Raises:
            ValueError: There are more Services already.
        """
        if size.services < self._services:
            raise ValueError(f"{size}: there are {self._services} Services already; grow only")
        _each(self._node, range(self._nodes, size.nodes))
        self._nodes = max(self._nodes, size.nodes)
        _each(lambda number: self._replace_slice(number, size.endpoints), range(self._services))
        _each(
            lambda number: self._service(number, size.endpoints),
            range(self._services, size.services),
        )
        self._services = size.services

    def flip(self, *, ready: bool) -> None:
        """Set the readiness of one endpoint of the first Service's first node."""
        path = f"{SLICES}/s0"
        patch = [{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready}]
        self.api.request("PATCH", path, body=patch, content_type="application/json-patch+json")

    def _node(self, number: int) -> None:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number:03}"}}
        self.api.request("POST", "/api/v1/nodes", body=body)
        status = {
            "addresses": [{"type": "InternalIP", "address": node_address(number)}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        path = f"/api/v1/nodes/n{number:03}/status"
        self.api.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)

    def _service(self, number: int, endpoints: int) -> None:
        spec = {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            # 10,000 Services would need 20,000 node ports: more than a cluster has.
            "allocateLoadBalancerNodePorts": False,
            "ports": [{"port": PORT, "targetPort": 8080}],
        }
        meta = {
            "name": f"s{number}",
            "annotations": {"metallb.io/ip-allocated-from-pool": "bench"},
        }
        self.api.request("POST", SERVICES, body={"metadata": meta, "spec": spec})
        ingress = [{"ip": str(FIRST_VIP + number), "ipMode": "VIP"}]
        self.api.request(
            "PATCH",
            f"{SERVICES}/s{number}/status",
            body={"status": {"loadBalancer": {"ingress": ingress}}},
            content_type=MERGE_PATCH,
        )
        self.api.request("POST", SLICES, body=slice_of(number, endpoints))

    def _replace_slice(self, number: int, endpoints: int) -> None:
        self.api.request("PUT", f"{SLICES}/s{number}", body=slice_of(number, endpoints))


def slice_of(number: int, endpoints: int) -> dict[str, Any]:
    """A Service's slice as its controller would write it."""
    pods = [
        {
            "addresses": [str(FIRST_POD + number * 128 + pod)],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"n{max(0, pod - 1):03}",
            "targetRef": {
                "kind": "Pod",
                "namespace": NAMESPACE,
                "name": f"s{number}-6c4b9d7f8-{pod:05}",
                "uid": f"6f1c0e5a-0000-4000-8000-{number:06}{pod:06}",
            },
        }
        for pod in range(endpoints)
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"s{number}",
            "labels": {"kubernetes.io/service-name": f"s{number}"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": pods,
    }


def _each(action: Callable[[int], None], numbers: Iterable[int]) -> None:
    """Do it for every number, a few at a time: each waits for the API server's disk."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(action, numbers):
            pass
