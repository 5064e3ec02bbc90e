# SPDX-License-Identifier: Apache-2.0
"""The floor: the least that any program must do between a watch event and a weight.

It watches one EndpointSlice (by field selector), counts its ready endpoints on one node with the
same decoder as the agent, and sends one netlink message that was laid out beforehand, its weight
patched in. No planner, no reading of the kernel, no other kinds, no metrics.

floor_watcher.py KUBECONFIG NAMESPACE SLICE NODE VIP REAL_SERVER PORT
"""

import sys
from ipaddress import ip_address
from pathlib import Path

import msgspec

from fairlead.cluster.client import KubeApi
from fairlead.diff.changes import SetDest
from fairlead.edge.ipvs import IpvsTable
from fairlead.model.ipvs import ForwardMethod, IpProtocol, IpvsDest, ServiceKey


class Conditions(msgspec.Struct):
    """Readiness."""

    ready: bool = True


class Endpoint(msgspec.Struct, rename="camel"):
    """Node and readiness."""

    node_name: str = ""
    conditions: Conditions = msgspec.field(default_factory=Conditions)


class Slice(msgspec.Struct):
    """Only the endpoints."""

    endpoints: list[Endpoint]


class Event(msgspec.Struct):
    """A watch event."""

    type: str
    object: Slice


def main() -> None:
    """Watch for ever."""
    kubeconfig, namespace, name, node, vip, real, port = sys.argv[1:]
    key = ServiceKey.of(IpProtocol.TCP, ip_address(vip), int(port))
    address = ip_address(real).packed
    table = IpvsTable()
    decode = msgspec.json.Decoder(Event).decode
    api = KubeApi(Path(kubeconfig))
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    query = {"watch": "1", "fieldSelector": f"metadata.name={name}"}
    stream = api.stream(path, query, read_timeout=3600)
    pending = b""
    last = -1
    while data := stream.read():
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            ends = decode(line).object.endpoints
            weight = sum(1 for e in ends if e.node_name == node and e.conditions.ready)
            if weight != last:
                dest = IpvsDest(address, int(port), weight, ForwardMethod.DIRECT)
                table.apply([SetDest(key, dest)])
                last = weight


if __name__ == "__main__":
    main()
