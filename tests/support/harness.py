# SPDX-License-Identifier: Apache-2.0
"""What lab tests say and ask: kubectl, requests from lab hosts, the edges' kernels.

Requests are made with sockets opened inside a host's network namespace, so a test's own process
is the client: no process per request, and held connections are plain socket objects.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from fairlead_lab import kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.netns import open_socket

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = REPOSITORY / "tests/lab/manifests"
T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T], timeout: float = 20.0, every: float = 0.1) -> T:
    """Poll until `probe` returns something true; its last answer is in the failure."""
    deadline = time.monotonic() + timeout
    answer: object = None
    while time.monotonic() < deadline:
        try:
            answer = probe()
        except (OSError, subprocess.CalledProcessError, KeyError, IndexError) as error:
            answer = error
        else:
            if answer:
                return answer
        time.sleep(every)
    raise AssertionError(f"{what}: not within {timeout} s; last answer: {answer!r}")


@dataclass(frozen=True)
class Answer:
    """One answer of a responder: which pod, on which node, and the client as the pod saw it."""

    pod: str
    node: str
    client: str
    port: int
    protocol: str


def _answer(raw: bytes) -> Answer:
    body = json.loads(raw)
    return Answer(
        body["pod"].rpartition("/")[2],
        body["node"],
        body["client"],
        int(body["port"]),
        body["protocol"],
    )


class Held:
    """A TCP connection kept open; `ask()` sends one line and returns the answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def ask(self, timeout: float = 3.0) -> Answer:
        """Send one line and wait for the answer; OSError if the connection is broken."""
        self.sock.settimeout(timeout)
        self.sock.sendall(b"ping\n")
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed by the other side")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return _answer(line)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


class Lab:
    """A running lab with provisioned edges."""

    def __init__(self, cfg: LabConfig) -> None:
        self.cfg = cfg
        self.edges = ("edge1", "edge2")

    # -- the cluster ---------------------------------------------------------------------------

    @cached_property
    def _kubectl(self) -> list[str]:
        """The program itself: `lab kubectl` would cost three times the CPU time."""
        program = kubebuild.ensure(self.cfg).path("kubectl")
        return [str(program), f"--kubeconfig={self.cfg.admin_kubeconfig}"]

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator; returns its standard output."""
        done = subprocess.run(
            [*self._kubectl, *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {shlex.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def manifest(self, name: str) -> str:
        """Text of a manifest of this folder, with the lab's addresses filled in."""
        return (MANIFESTS / f"{name}.yaml").read_text().replace("@INDEX@", str(self.cfg.index))

    def apply(self, text: str) -> None:
        """`kubectl apply` of a text."""
        self.kubectl("apply", "-f", "-", stdin=text)

    def delete(self, text: str) -> None:
        """`kubectl delete` of a text; what is gone already is fine."""
        self.kubectl("delete", "--ignore-not-found", "--wait=true", "-f", "-", stdin=text)

    def get(self, kind: str, name: str, namespace: str = "shapes") -> dict:
        """One object."""
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))

    def items(self, kind: str, *args: str) -> list[dict]:
        """Objects of a kind."""
        return json.loads(self.kubectl("get", kind, *args, "-o", "json"))["items"]

    def vip(self, service: str, namespace: str = "shapes", timeout: float = 20.0) -> str:
        """The Service's address, once it has one."""

        def first() -> str:
            status = self.get("service", service, namespace)["status"]["loadBalancer"]
            return status.get("ingress", [{}])[0].get("ip", "")

        return wait_for(f"address of {namespace}/{service}", first, timeout)

    def events(self, service: str, namespace: str = "shapes") -> list[dict]:
        """Events on a Service, oldest first."""
        found = self.items(
            "events", "-n", namespace, "--field-selector", f"involvedObject.name={service}"
        )
        return sorted(found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")

    def pods(self, app: str, namespace: str = "shapes") -> dict[str, str]:
        """Pods of an app that are not on their way out: name -> node."""
        return {
            pod["metadata"]["name"]: pod["spec"].get("nodeName", "")
            for pod in self.items("pods", "-n", namespace, "-l", f"app={app}")
            if not pod["metadata"].get("deletionTimestamp")
        }

    def ready_pods(self, app: str, count: int, namespace: str = "shapes") -> dict[str, str]:
        """Wait until exactly `count` pods of an app are Ready; name -> node."""

        def ready() -> dict[str, str]:
            found = {
                pod["metadata"]["name"]: pod["spec"]["nodeName"]
                for pod in self.items("pods", "-n", namespace, "-l", f"app={app}")
                if not pod["metadata"].get("deletionTimestamp")
                and any(
                    c["type"] == "Ready" and c["status"] == "True"
                    for c in pod["status"].get("conditions", [])
                )
            }
            return found if len(found) == count else {}

        return wait_for(f"{count} ready pods of {app}", ready, 30)

    def set_ready(self, pod: str, state: str, namespace: str = "shapes") -> None:
        """Override a pod's readiness: `ready`, `unready` or `auto`."""
        self.tool("pod", f"{namespace}/{pod}", state)

    # -- the lab -------------------------------------------------------------------------------

    def tool(self, *args: str, timeout: float = 180) -> str:
        """Run a verb of the lab's command."""
        done = subprocess.run(
            [str(REPOSITORY / "lab/lab"), *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={
                **os.environ,
                "FAIRLEAD_LAB": self.cfg.name,
                "FAIRLEAD_LAB_INDEX": str(self.cfg.index),
            },
        )
        if done.returncode:
            raise AssertionError(f"lab {shlex.join(args)}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def netns(self, host: str) -> str:
        """Name of a lab host's network namespace."""
        return f"{self.cfg.name}-{host}"

    # -- requests ------------------------------------------------------------------------------

    def connect(
        self, vip: str, port: int, host: str = "client", timeout: float = 3.0, source: str = ""
    ) -> Held:
        """Open a TCP connection from a lab host."""
        sock = open_socket(
            self.netns(host), socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_STREAM
        )
        sock.settimeout(timeout)
        try:
            if source:
                sock.bind((source, 0))
            sock.connect((vip, port))
        except OSError:
            sock.close()
            raise
        return Held(sock)

    def tcp(
        self, vip: str, port: int, host: str = "client", timeout: float = 3.0, source: str = ""
    ) -> Answer:
        """One TCP request on a connection of its own."""
        held = self.connect(vip, port, host, timeout, source)
        try:
            return held.ask(timeout)
        finally:
            held.close()

    def udp(self, vip: str, port: int, host: str = "client", timeout: float = 3.0) -> Answer:
        """One UDP request from a fresh port."""
        with open_socket(
            self.netns(host), socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM
        ) as sock:
            sock.settimeout(timeout)
            sock.connect((vip, port))
            sock.send(b"ping\n")
            return _answer(sock.recv(65536))

    def request(
        self, protocol: str, vip: str, port: int, host: str = "client", timeout: float = 3.0
    ) -> Answer:
        """One request of either protocol."""
        ask = self.tcp if protocol == "TCP" else self.udp
        return ask(vip, port, host, timeout)

    def answers(self, protocol: str, vip: str, port: int, host: str = "client") -> Answer:
        """Wait for the first answer, then return it."""
        return wait_for(
            f"an answer from {vip}:{port}/{protocol}",
            lambda: self.request(protocol, vip, port, host, timeout=1.0),
        )

    def spread(
        self, protocol: str, vip: str, port: int, count: int = 60, host: str = "client"
    ) -> dict[str, int]:
        """`count` requests, each of which must be answered: pod -> answers."""
        seen: dict[str, int] = {}
        for _ in range(count):
            pod = self.request(protocol, vip, port, host).pod
            seen[pod] = seen.get(pod, 0) + 1
        return seen

    # -- the edges -----------------------------------------------------------------------------

    def ssh(self, edge: str, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a command on an edge."""
        done = subprocess.run(
            [
                "ssh",
                "-i",
                str(self.cfg.ssh_key),
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
                "-o",
                "ConnectTimeout=5",
                f"root@{self.cfg.edge_address(edge)}",
                command,
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{edge}: {command}: {done.stdout}{done.stderr}")
        return done.stdout

    def ipvs(self, edge: str) -> dict[str, dict[str, int]]:
        """The edge's IPVS table: "TCP 10.0.0.1:80" -> {"10.0.0.101:80": weight}."""
        table: dict[str, dict[str, int]] = {}
        current: dict[str, int] = {}
        for line in self.ssh(edge, "ipvsadm -Ln").splitlines():
            if found := re.match(r"(TCP|UDP|SCTP|FWM)\s+(\S+)", line):
                current = table.setdefault(f"{found[1]} {found[2]}", {})
            elif found := re.match(r"\s+->\s+(\S+:\d+)\s+\S+\s+(\d+)", line):
                current[found[1]] = int(found[2])
        return table

    def addresses(self, edge: str) -> set[str]:
        """Every address that stands on an edge."""
        shown = json.loads(self.ssh(edge, "ip -j address show"))
        return {entry["local"] for link in shown for entry in link["addr_info"]}

    def holders(self, vip: str) -> list[str]:
        """Edges on which a VIP stands."""
        return [edge for edge in self.edges if vip in self.addresses(edge)]

    def master(self) -> str:
        """The edge that holds the advertised VRRP address."""
        stable = self.cfg.vrrp_address

        def only() -> str:
            found = self.holders(stable)
            return found[0] if len(found) == 1 else ""

        return wait_for("one VRRP master", only)

    def backup(self) -> str:
        """The edge that is not the VRRP master."""
        master = self.master()
        return next(edge for edge in self.edges if edge != master)
