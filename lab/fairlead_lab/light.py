# SPDX-License-Identifier: Apache-2.0
"""Several hosts as namespaces of one kernel: the data path in three seconds, without guests.

For tests that run inside `fairlead_lab.uml`: edges, clients and real servers on one bridge, each a
namespace with its own IPVS table, sysctls and links. Nothing here needs the lab to be up.

    with Topology(("edge1", "edge2", "client", "rs1", "rs2")) as net:
        net.run("edge1", ["ipvsadm", "-A", "-t", "10.99.0.100:80", "-s", "mh"])
"""

import ipaddress
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from fairlead_lab import netns

BRIDGE = "br0"
LAN4 = ipaddress.IPv4Network("10.99.0.0/24")
LAN6 = ipaddress.IPv6Network("fd00:99::/64")
EDGE_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.vs.sloppy_tcp": "1",
    "net.ipv4.vs.expire_nodest_conn": "1",
}
REAL_SERVER_SYSCTLS = {
    "net.ipv4.conf.all.arp_ignore": "1",
    "net.ipv4.conf.all.arp_announce": "2",
}


@dataclass
class Topology:
    """Hosts on one bridge; numbered from 1 in the given order: 10.99.0.N, fd00:99::N."""

    hosts: tuple[str, ...]
    lan4: ipaddress.IPv4Network = LAN4
    lan6: ipaddress.IPv6Network = LAN6
    prefix: str = "t"
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Make bridge, namespaces, links and addresses."""
        self.close()
        netns.ensure_netns(self.netns("lan"))
        netns.batch(
            self.netns("lan"),
            f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
            f"link set {BRIDGE} up",
        )
        for host in self.hosts:
            self._attach(host)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what was started and remove the namespaces."""
        self.close()

    def close(self) -> None:
        """Remove everything; may be called again."""
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._processes.clear()
        for name in netns.names(f"{self.prefix}-"):
            netns.delete_netns(name)

    def _attach(self, host: str) -> None:
        name, lan = self.netns(host), self.netns("lan")
        netns.ensure_netns(name)
        netns.sysctl(name, {"net.ipv6.conf.default.accept_dad": "0"})
        netns.batch(
            lan,
            f"""
            link add {host} type veth peer name eth0 netns {name}
            link set {host} master {BRIDGE} up
            """,
        )
        netns.batch(
            name,
            f"""
            link set eth0 up
            address add {self.address(host)}/{self.lan4.prefixlen} dev eth0
            address add {self.address6(host)}/{self.lan6.prefixlen} dev eth0 nodad
            """,
        )
        if host.startswith("edge"):
            netns.sysctl(name, EDGE_SYSCTLS)
        elif host.startswith("rs"):
            netns.sysctl(name, REAL_SERVER_SYSCTLS)

    def netns(self, host: str) -> str:
        """Name of a host's namespace."""
        return f"{self.prefix}-{host}"

    def address(self, host: str) -> str:
        """IPv4 address of a host."""
        return str(self.lan4[self.hosts.index(host) + 1])

    def address6(self, host: str) -> str:
        """IPv6 address of a host."""
        return str(self.lan6[self.hosts.index(host) + 1])

    def run(self, host: str, argv: Sequence[str], *, check: bool = True) -> str:
        """Run a command on a host; returns its standard output.

        Raises:
            netns.NetnsError: it failed and `check` is true.
        """
        return netns.run(argv, self.netns(host), check=check).stdout

    def start(
        self, host: str, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process on a host; it ends with the topology."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.netns(host), *argv],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        self._processes.append(process)
        return process

    def socket(
        self, host: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM
    ) -> socket.socket:
        """A socket that lives on a host."""
        return netns.open_socket(self.netns(host), family, kind)

    def add_vip(self, host: str, vip: str) -> None:
        """Put a VIP on a host's `lo`: what a real server of direct routing has."""
        length = 128 if ":" in vip else 32
        netns.batch(self.netns(host), f"address replace {vip}/{length} dev lo")

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        netns.batch(self.netns("lan"), f"link set {host} down")

    def heal(self, host: str) -> None:
        """Put it back in."""
        netns.batch(self.netns("lan"), f"link set {host} up")
