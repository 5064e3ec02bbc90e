# SPDX-License-Identifier: Apache-2.0
"""The cluster of the readiness benchmark: a real API server's objects, only growing.

An API server takes 20 ms of CPU to make a Service with its slice: minutes for 10,000. So objects
are written into etcd beside it, as JSON, which it reads like its own encoding, and reach it by its
watch. What is measured, the readiness of an endpoint, is changed by PATCH at the API server alone.
"""

import base64
import http.client
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol

import msgspec

from fairlead.cluster.client import KubeApi

NAMESPACE = "default"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
KNOWN_SECONDS = 60.0
FIRST_VIP = ip_address("10.200.0.1")
FIRST_NODE = ip_address("10.201.0.1")
FIRST_POD = ip_address("11.0.0.0")
FIRST_CLUSTER_IP = ip_address("10.96.64.0")
VIPS = "10.200.0.0/16"
PORT = 80
ETCD = ("127.0.0.1", 2379)
MOST_KEYS, MOST_BYTES = 100, 1 << 20
"""Of one transaction; etcd takes 128 keys and 1.5 MB."""

Keyed = tuple[str, dict[str, Any]]
"""An object and its key in etcd."""


class Store(Protocol):
    """Where objects are written."""

    def put(self, objects: Iterable[Keyed]) -> None:
        """Write them all."""
        ...


class Etcd:
    """etcd by its JSON gateway; the caller is in the control plane's network namespace."""

    def put(self, objects: Iterable[Keyed]) -> None:
        """Write them all, some in each transaction.

        Raises:
            OSError: etcd refused, or can't be reached.
        """
        connection = http.client.HTTPConnection(*ETCD, timeout=30)
        try:
            for puts in batches(objects):
                connection.request("POST", "/v3/kv/txn", msgspec.json.encode({"success": puts}))
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200:
                    raise OSError(f"etcd: HTTP {response.status}: {answer[:200]!r}")
        finally:
            connection.close()


def batches(objects: Iterable[Keyed]) -> Iterator[list[dict[str, Any]]]:
    """Puts in portions that etcd takes as one transaction."""
    puts: list[dict[str, Any]] = []
    size = 0
    for key, value in objects:
        data = msgspec.json.encode(value)
        if puts and (len(puts) == MOST_KEYS or size + len(data) > MOST_BYTES):
            yield puts
            puts, size = [], 0
        puts.append({"requestPut": {"key": _text(key.encode()), "value": _text(data)}})
        size += len(data)
    if puts:
        yield puts


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


class _Listed(msgspec.Struct):
    """A list of which only the length counts."""

    items: list[msgspec.Raw]


class Cluster:
    """Objects of sizes that come with a growing number of Services."""

    def __init__(self, api: KubeApi, store: Store) -> None:
        self._api, self._store = api, store
        self._nodes = self._services = 0

    def fill(self, size: Size) -> None:
        """Make what is missing of one size, and every Service's slice anew.

        Raises:
            ValueError: There are more Services already.
            TimeoutError: The API server does not learn of them.
        """
        if size.services < self._services:
            raise ValueError(f"{size}: there are {self._services} Services already; grow only")
        self._store.put(node(number) for number in range(self._nodes, size.nodes))
        new = range(self._services, size.services)
        # Addresses first: the API server repairs a Service whose address nobody seems to have.
        self._store.put(cluster_address(number) for number in new)
        self._known(ADDRESSES, size.services)
        self._store.put(service(number) for number in new)
        self._store.put(endpoint_slice(n, size.endpoints) for n in range(size.services))
        self._known(SERVICES, size.services)
        self._known(SLICES, size.services)
        self._nodes, self._services = max(self._nodes, size.nodes), size.services

    def _known(self, path: str, count: int) -> None:
        """Wait until the API server's own watch has brought it that many objects."""
        until = time.monotonic() + KNOWN_SECONDS
        while time.monotonic() < until:
            listed = self._api.request("GET", path, query={"resourceVersion": "0"})
            if len(msgspec.json.decode(listed, type=_Listed).items) >= count:
                return
            time.sleep(0.5)
        raise TimeoutError(f"the API server does not list {count} objects at {path}")

    def flip(self, *, ready: bool) -> None:
        """Set the readiness of one endpoint of the first Service's first node."""
        path = f"{SLICES}/s0"
        patch = [{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready}]
        self._api.request("PATCH", path, body=patch, content_type="application/json-patch+json")


def node(number: int) -> Keyed:
    """A ready node."""
    name = f"n{number:03}"
    status = {
        "addresses": [{"type": "InternalIP", "address": node_address(number)}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return f"/registry/minions/{name}", _object("v1", "Node", _meta(name, 1, number), status=status)


def cluster_address(number: int) -> Keyed:
    """The object that says which Service has an address of the cluster."""
    address = str(FIRST_CLUSTER_IP + number)
    labels = {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    parent = {"group": "", "resource": "services", "namespace": NAMESPACE, "name": f"s{number}"}
    meta = _meta(address, 2, number, labels=labels)
    value = _object("networking.k8s.io/v1", "IPAddress", meta, spec={"parentRef": parent})
    return f"/registry/ipaddresses/{address}", value


def service(number: int) -> Keyed:
    """A Service that has its VIP."""
    name, address = f"s{number}", str(FIRST_CLUSTER_IP + number)
    spec = {
        "type": "LoadBalancer",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "externalTrafficPolicy": "Local",
        "allocateLoadBalancerNodePorts": False,
        "sessionAffinity": "None",
        "ports": [{"port": PORT, "targetPort": 8080, "protocol": "TCP"}],
    }
    status = {"loadBalancer": {"ingress": [{"ip": str(FIRST_VIP + number), "ipMode": "VIP"}]}}
    meta = _meta(name, 3, number, namespace=NAMESPACE,
                 annotations={"metallb.io/ip-allocated-from-pool": "bench"})  # fmt: skip
    value = _object("v1", "Service", meta, spec=spec, status=status)
    return f"/registry/services/specs/{NAMESPACE}/{name}", value


def endpoint_slice(number: int, endpoints: int) -> Keyed:
    """A Service's slice as its controller would write it."""
    name = f"s{number}"
    pods = [
        {
            "addresses": [str(FIRST_POD + number * 128 + pod)],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"n{max(0, pod - 1):03}",
            "targetRef": {
                "kind": "Pod",
                "namespace": NAMESPACE,
                "name": f"{name}-6c4b9d7f8-{pod:05}",
                "uid": f"6f1c0e5a-0000-4000-8000-{number:06}{pod:06}",
            },
        }
        for pod in range(endpoints)
    ]
    meta = _meta(name, 4, number, namespace=NAMESPACE,
                 labels={"kubernetes.io/service-name": name})  # fmt: skip
    value = _object("discovery.k8s.io/v1", "EndpointSlice", meta, addressType="IPv4",
                    ports=[{"name": "", "port": 8080, "protocol": "TCP"}],
                    endpoints=pods)  # fmt: skip
    return f"/registry/endpointslices/{NAMESPACE}/{name}", value


def _object(version: str, kind: str, meta: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": meta, **rest}


def _meta(name: str, kind: int, number: int, **rest: Any) -> dict[str, Any]:
    """Created now: an old address whose Service is not there yet would be cleared away."""
    uid = f"6f1c0e5a-0000-4000-800{kind}-{number:012}"
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"name": name, "uid": uid, "creationTimestamp": created, **rest}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
