#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the files of src/fairlead that an event passes: how far a reader has to walk.

A readiness flip, from the watch's line to the change in the IPVS table; a new Service, from its
line over decision and status to keepalived's file. Everything is real but the API server, the
kernel's table and keepalived's parser. Exit status 1 where a way is longer than its limit.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "src"), str(TOP / "tests"), str(TOP)]

from fairlead.agent.announcer import without_ipvs  # noqa: E402
from fairlead.agent.messages import LeadershipChanged  # noqa: E402
from fairlead.agent.publisher import Publisher  # noqa: E402
from fairlead.cluster.feed import targets  # noqa: E402
from fairlead.cluster.watch import Listed, Watcher  # noqa: E402
from fairlead.cluster.writes import EventRecorder  # noqa: E402
from fairlead.edge.links import FakeLinks  # noqa: E402
from fairlead.edge.parts import BirdPaths, EdgePaths, VrrpPaths, edge_parts, vrrp  # noqa: E402
from fairlead.edge.parts.walk import walk  # noqa: E402
from unit.agent.test_loop import NODES, Edge, Namespace, endpoints  # noqa: E402

GOALS = {"readiness flip": 15, "new Service": 30}
LIMITS = {"readiness flip": 15, "new Service": 52}
"""What is not to be exceeded; a way that became shorter takes its limit along, down to the goal."""


class Trace:
    """Files of the package in the order in which calls enter them."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @contextmanager
    def on(self) -> Any:
        """Note calls during the body."""
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        _, found, name = frame.f_code.co_filename.partition("/src/fairlead/")
        if event == "call" and found and (not self.calls or self.calls[-1] != name):
            self.calls.append(name)

    @property
    def files(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(self.calls))


def watcher(kind: str, queue: SimpleQueue[Any]) -> Callable[[dict[str, Any]], None]:
    """What takes a line of the watch of a kind."""
    (target,) = [one for one in targets("metallb-system") if one.kind == kind]
    watch = Watcher(object(), target, queue)  # type: ignore[arg-type] # never asked

    def take(thing: dict[str, Any]) -> None:
        line = json.dumps({"type": "MODIFIED", "object": thing}).encode()
        watch._line(line, time.monotonic_ns())  # noqa: SLF001 - one line without a connection

    return take


def endpoint_slice(*ready: bool) -> dict[str, Any]:
    """A slice of `web`, a pod on each node."""
    pods = [
        {
            "addresses": [f"10.244.0.{number}"],
            "nodeName": f"node{number}",
            "conditions": {"ready": one, "serving": one, "terminating": False},
        }
        for number, one in enumerate(ready, start=1)
    ]
    return {
        "metadata": {
            "name": "web-abc",
            "namespace": "shop",
            "resourceVersion": "5",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": pods,
    }


def service(version: str, *addresses: str) -> dict[str, Any]:
    """The Service `web`, with the addresses in its status."""
    note = {"metallb.io/ip-allocated-from-pool": "lan"} if addresses else {}
    return {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "u",
            "resourceVersion": version,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": note,
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.0.5"],
            "ipFamilies": ["IPv4"],
            "externalTrafficPolicy": "Local",
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in addresses]}},
    }


def flip() -> Trace:
    """A pod becomes ready, on an edge that has seen flips before."""
    edge, trace = Edge(), Trace()
    edge.list_all()
    take = watcher("EndpointSlice", edge.queue)
    for ready in (True, False):
        take(endpoint_slice(True, ready))
        edge.loop.turn(0)
    with trace.on():
        take(endpoint_slice(True, True))
        edge.loop.turn(0)
    assert edge.weights() == {"192.0.2.101": 1, "192.0.2.102": 1}
    return trace


class Answering:
    """An API server that takes every write."""

    def request(self, *_args: object, **_fields: object) -> bytes:
        """Say yes."""
        return b"{}"


def new_service(folder: Path) -> Trace:
    """A Service comes, is given an address, and stands in keepalived's file."""
    edge, trace = Edge(), Trace()
    edge.turn(
        Listed("Service", (), (), 0),
        Listed("EndpointSlice", (endpoints({"node1": 2}),), (), 0),
        Listed("Node", NODES, (), 0),
        Listed("Namespace", (Namespace("shop"),), (), 0),
        Listed("IPAddressPool", (), (), 0),
    )
    edge.turn(LeadershipChanged(leading=True))
    publisher = Publisher(
        Answering(),  # type: ignore[arg-type] # what it is asked here
        EventRecorder(Answering(), "edge1"),  # type: ignore[arg-type]
        leading=lambda: True,
        conflict=lambda _key: None,
    )
    paths = EdgePaths(
        vrrp=VrrpPaths(folder / "vrrp.conf", folder / "pid", folder / "loaded"),
        bird=BirdPaths(folder / "bird.conf", folder / "bird.ctl", folder / "bird.loaded"),
    )
    parts = without_ipvs(edge_parts(EthLinks(exists=False), paths))
    known = walk(parts, edge.log[-1].target).desired
    take = watcher("Service", edge.queue)
    with trace.on():
        take(service("5"))
        edge.loop.turn(0)
        publisher.offer(edge.decisions[-1:])
        publisher._pass()  # noqa: SLF001 - without its thread
        take(service("6", "192.0.2.10"))
        edge.loop.turn(0)
        outcome = walk(parts, edge.log[-1].target, known=known)
    assert not outcome.failed, outcome.failed
    assert "192.0.2.10/32" in (folder / "vrrp.conf").read_text()
    return trace


class EthLinks(FakeLinks):
    """Links of a machine that has every interface."""

    def exists(self, name: str = "") -> bool:
        """Whether it is there."""
        return bool(name)


def main() -> int:
    """Print both ways."""
    vrrp._VALIDATOR = ("true",)  # type: ignore[assignment] # noqa: SLF001
    longer = False
    with tempfile.TemporaryDirectory() as folder:
        ways = {"readiness flip": flip(), "new Service": new_service(Path(folder))}
    for name, trace in ways.items():
        count = len(trace.files)
        longer |= count > LIMITS[name]
        print(
            f"{name}: {count} files (at most {LIMITS[name]}, goal {GOALS[name]}), "
            f"{len(trace.calls) - 1} changes of file"
        )
        print("    " + " ".join(trace.files))
    return int(longer)


if __name__ == "__main__":
    sys.exit(main())
