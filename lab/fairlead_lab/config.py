# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of one lab, all computed from its name and index.

No input or output here but `LabConfig.from_env`. Two labs run side by side when both name and index
differ: the name keeps namespaces, processes and files apart, the index keeps addresses apart in the
root namespace, which has a leg in each lab.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

STATE_ROOT = Path("/run/fairlead-lab")
SHM = Path("/dev/shm")
"""Memory and disks of the guests: they end with the lab, and nobody waits for a platter."""
NODE_COUNT = 3
_NAME = re.compile(r"[a-z][a-z0-9]{0,8}\Z")
_NUMBERS = {"router": 1, "inside": 2, "vrrp": 9, "cp": 10, "client": 200, "root": 254}
_RELEASE = re.compile(r"[a-z]*\Z")


class ConfigError(Exception):
    """A name, index or environment variable that no lab can have."""


@dataclass(frozen=True)
class LabConfig:
    """One lab. Addresses are text without prefix length."""

    name: str = "fl"
    index: int = 0
    edge_count: int = 2
    guest_release: str = ""
    """Debian release of the guests ("trixie"); empty means the machine's own."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigError(
                f"lab name {self.name!r}: lower-case letters and digits, a letter first, at most 9 "
                "(interface names end at 15 characters)"
            )
        if not 0 <= self.index <= 255:
            raise ConfigError(f"lab index {self.index}: must be 0-255 (third octet of the LAN)")
        if not 1 <= self.edge_count <= 8:
            raise ConfigError(f"{self.edge_count} edges: must be 1-8")
        if not _RELEASE.match(self.guest_release):
            raise ConfigError(f"guest release {self.guest_release!r}: a Debian codename")

    @classmethod
    def from_env(cls) -> "LabConfig":
        """Read FAIRLEAD_LAB, FAIRLEAD_LAB_INDEX, FAIRLEAD_LAB_EDGES, FAIRLEAD_LAB_RELEASE.

        Raises:
            ConfigError: a value that no lab can have.
        """
        return cls(
            name=os.environ.get("FAIRLEAD_LAB") or "fl",
            index=_number("FAIRLEAD_LAB_INDEX", 0),
            edge_count=_number("FAIRLEAD_LAB_EDGES", 2),
            guest_release=os.environ.get("FAIRLEAD_LAB_RELEASE", ""),
        )

    # -- files ---------------------------------------------------------------------------------

    @property
    def state_dir(self) -> Path:
        """Everything that a running lab writes, but the cache."""
        return STATE_ROOT / self.name

    @property
    def cache_dir(self) -> Path:
        """What is dear to build, shared by all labs, keyed by what it is built from."""
        return cache_dir()

    @property
    def admin_kubeconfig(self) -> Path:
        """The cluster administrator's kubeconfig."""
        return self.state_dir / "admin.kubeconfig"

    @property
    def ssh_key(self) -> Path:
        """Private key that opens the guests as root."""
        return self.state_dir / "ssh" / "id_ed25519"

    @property
    def disk_dir(self) -> Path:
        """The guests' disks."""
        return SHM / f"fairlead-lab-{self.name}"

    @property
    def log_dir(self) -> Path:
        """One log per process."""
        return self.state_dir / "logs"

    # -- names ---------------------------------------------------------------------------------

    def netns(self, host: str) -> str:
        """Name of a host's network namespace: "fl-router"."""
        return f"{self.name}-{host}"

    @property
    def root_link(self) -> str:
        """The one link that the lab has in the root namespace."""
        return f"{self.name}-root"

    @property
    def edges(self) -> tuple[str, ...]:
        """Names of the edge guests."""
        return tuple(f"edge{number}" for number in range(1, self.edge_count + 1))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the cluster's nodes."""
        return tuple(f"node{number}" for number in range(1, NODE_COUNT + 1))

    # -- addresses -----------------------------------------------------------------------------

    @property
    def lan4(self) -> str:
        """The LAN's IPv4 network."""
        return f"10.222.{self.index}.0/24"

    @property
    def lan6(self) -> str:
        """The LAN's IPv6 network."""
        return f"fd00:222:{self.index:x}::/64"

    def number(self, host: str) -> int:
        """A host's number on the LAN (its last octet).

        Raises:
            ConfigError: no such host on the LAN.
        """
        if host in _NUMBERS:
            return _NUMBERS[host]
        if host in self.edges:
            return 10 + int(host.removeprefix("edge"))
        if host in self.nodes:
            return 100 + int(host.removeprefix("node"))
        raise ConfigError(f"no host {host!r} on the lab's LAN")

    def address(self, host: str) -> str:
        """A LAN host's IPv4 address."""
        return str(ipaddress.IPv4Network(self.lan4)[self.number(host)])

    def address6(self, host: str) -> str:
        """A LAN host's IPv6 address: the same number as the IPv4 one (101 is ::65)."""
        return str(ipaddress.IPv6Network(self.lan6)[self.number(host)])

    def edge_address(self, edge: str) -> str:
        """IPv4 address of an edge by name."""
        return self.address(edge)

    def node_address(self, node: str) -> str:
        """IPv4 address of a node by name."""
        return self.address(node)

    def node_address6(self, node: str) -> str:
        """IPv6 address of a node by name."""
        return self.address6(node)

    def pod_range(self, node: str) -> str:
        """IPv4 network of a node's pods."""
        return f"10.244.{self.number(node) - 100}.0/24"

    def pod_range6(self, node: str) -> str:
        """IPv6 network of a node's pods."""
        return f"fd00:244:{self.number(node) - 100:x}::/64"

    @property
    def router_address(self) -> str:
        """The upstream router on the LAN."""
        return self.address("router")

    @property
    def control_plane_address(self) -> str:
        """API server (port 6443) and the guests' Debian packages (port 3142)."""
        return self.address("cp")

    @property
    def vrrp_address(self) -> str:
        """The stable address that VRRP advertises."""
        return self.address("vrrp")

    @property
    def client_address(self) -> str:
        """The client on the LAN."""
        return self.address("client")

    @property
    def root_address(self) -> str:
        """The root namespace's leg."""
        return self.address("root")

    @property
    def rclient_address(self) -> str:
        """The client behind the router (198.51.100.0/24)."""
        return "198.51.100.10"

    @property
    def rclient_address6(self) -> str:
        """IPv6 address of the client behind the router."""
        return "fd00:198:51:100::a"

    @property
    def lan_pool(self) -> tuple[str, str]:
        """Networks of the VIPs on the LAN, v4 and v6 (numbers 160-191)."""
        return f"10.222.{self.index}.160/27", f"fd00:222:{self.index:x}::a0/123"

    @property
    def routed_pool(self) -> str:
        """Network of the VIPs that exist by BGP only."""
        return "203.0.113.0/24"


def cache_dir() -> Path:
    """Folder of what is dear to build: FAIRLEAD_CACHE or ~/.cache/fairlead."""
    chosen = os.environ.get("FAIRLEAD_CACHE")
    return Path(chosen).absolute() if chosen else Path.home() / ".cache" / "fairlead"


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{variable}={text!r}: must be a number")
    return int(text)
