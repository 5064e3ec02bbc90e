# SPDX-License-Identifier: Apache-2.0
"""The network namespace of a pod: made, found again after a restart, and removed.

A pod hangs on its node by a veth pair, without a bridge: its addresses are /32 and /128, the node
has a route for each, and the pod's gateway is a link-local address on the node's end (as Calico
does it). So every packet of a pod passes the node's own forwarding, where kube-proxy's rules are,
also between two pods of one node.

What exists is written to one small file per pod before anything is made. A kubelet that starts
reads the files, keeps the pods that the API server still knows and removes the rest.
"""

import contextlib
import hashlib
import ipaddress
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

GATEWAY_V4 = "169.254.1.1"
GATEWAY_V6 = "fe80::1"
FIRST_HOST, LAST_HOST = 2, 250


class SandboxError(Exception):
    """A namespace or link could not be made; the message has the tool's words."""


@dataclass(frozen=True)
class Sandbox:
    """A pod's place in the network."""

    uid: str
    pod: str
    """NAMESPACE/NAME"""
    netns: str
    link: str
    """The veth's end on the node."""
    host: int
    """Number of the addresses within the node's ranges."""
    ipv4: str
    ipv6: str

    @property
    def process(self) -> str:
        """The name that the pod's process is recorded under."""
        return self.netns


class SandboxStore:
    """All sandboxes of one node; every method may be called again after a failure."""

    def __init__(self, folder: Path, lab: str, ipv4_range: str, ipv6_range: str) -> None:
        self._folder = folder
        self._lab = lab
        self._ipv4 = ipaddress.IPv4Network(ipv4_range)
        self._ipv6 = ipaddress.IPv6Network(ipv6_range)
        self._last = FIRST_HOST - 1
        folder.mkdir(parents=True, exist_ok=True)
        self._known = {sandbox.uid: sandbox for sandbox in self._load()}

    def _load(self) -> list[Sandbox]:
        found = []
        for file in sorted(self._folder.glob("*.json")):
            try:
                found.append(Sandbox(**json.loads(file.read_text())))
            except (ValueError, TypeError):  # cut short by a crash: nothing was made yet
                file.unlink(missing_ok=True)
        return found

    def known(self) -> list[Sandbox]:
        """Every sandbox on record."""
        return list(self._known.values())

    def reserve(self, uid: str, pod: str) -> Sandbox:
        """The pod's sandbox, with addresses taken for it when it is new.

        Raises:
            SandboxError: the node's range is used up.
        """
        if uid in self._known:
            return self._known[uid]
        tag = hashlib.sha256(uid.encode()).hexdigest()[:10]
        host = self._free_host()
        sandbox = Sandbox(
            uid=uid,
            pod=pod,
            netns=f"{self._lab}-pod-{tag}",
            link=f"pod{tag}",
            host=host,
            ipv4=str(self._ipv4[host]),
            ipv6=str(self._ipv6[host]),
        )
        (self._folder / f"{uid}.json").write_text(json.dumps(asdict(sandbox)))
        self._known[uid] = sandbox
        return sandbox

    def _free_host(self) -> int:
        """The next number after the last one given: an address comes back as late as possible."""
        used = {sandbox.host for sandbox in self._known.values()}
        count = LAST_HOST - FIRST_HOST + 1
        for step in range(1, count + 1):
            host = FIRST_HOST + (self._last - FIRST_HOST + step) % count
            if host not in used:
                self._last = host
                return host
        raise SandboxError(f"all {count} addresses of {self._ipv4} are taken")

    def create(self, sandbox: Sandbox) -> None:
        """Make the namespace and its link; runs in the node's namespace. Blocking.

        Raises:
            SandboxError: a step failed; `remove` cleans up.
        """
        if Path("/run/netns", sandbox.netns).exists():
            self._remove_network(sandbox)
        _run(["ip", "netns", "add", sandbox.netns])
        _batch(
            [],
            f"""
            link add {sandbox.link} type veth peer name eth0 netns {sandbox.netns}
            link set {sandbox.link} addrgenmode none
            addr add {GATEWAY_V4}/32 dev {sandbox.link}
            addr add {GATEWAY_V6}/64 dev {sandbox.link} nodad
            link set {sandbox.link} up
            route replace {sandbox.ipv4}/32 dev {sandbox.link}
            route replace {sandbox.ipv6}/128 dev {sandbox.link}
            """,
        )
        _batch(
            ["-n", sandbox.netns],
            f"""
            link set lo up
            link set eth0 addrgenmode none
            addr add {sandbox.ipv4}/32 dev eth0
            addr add {sandbox.ipv6}/128 dev eth0 nodad
            link set eth0 up
            route add {GATEWAY_V4}/32 dev eth0
            route add default via {GATEWAY_V4} dev eth0 src {sandbox.ipv4}
            route add default via {GATEWAY_V6} dev eth0 src {sandbox.ipv6}
            """,
        )

    def remove(self, sandbox: Sandbox) -> None:
        """Remove the namespace, its link and its record. Blocking."""
        self._remove_network(sandbox)
        (self._folder / f"{sandbox.uid}.json").unlink(missing_ok=True)
        self._known.pop(sandbox.uid, None)

    @staticmethod
    def _remove_network(sandbox: Sandbox) -> None:
        with contextlib.suppress(SandboxError):  # both may be gone already
            _run(["ip", "link", "del", sandbox.link])
        if Path("/run/netns", sandbox.netns).exists():
            _run(["ip", "netns", "del", sandbox.netns])


def _run(argv: list[str], text: str | None = None) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, input=text)
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _batch(options: list[str], lines: str) -> None:
    """Several steps by one `ip` process: a pod starts on them."""
    text = "\n".join(line.strip() for line in lines.strip().splitlines())
    _run(["ip", *options, "-batch", "-"], text)
