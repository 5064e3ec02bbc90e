# SPDX-License-Identifier: Apache-2.0
"""IPVS as the kernel sees it: services (virtual servers), destinations (real servers), counters.

These are values only. Bytes on the wire belong to `fairlead.edge.ipvs`, comparing to
`fairlead.diff.ipvs`. Numbers are those of the kernel's `include/uapi/linux/ip_vs.h`.

Addresses are packed bytes in network order, 4 of IPv4 or 16 of IPv6, not `ipaddress` objects: a
table of 100,000 real servers is hashed and compared at every full pass, and `ipaddress` hashes in
Python. `ip` properties give the readable form. msgspec structs build in 0.15 us (frozen slots
dataclasses: 1 us) and are left out of garbage collection.
"""

from collections.abc import Mapping
from enum import IntEnum, IntFlag, StrEnum
from ipaddress import ip_address

import msgspec

from fairlead.model.names import IPAddress


class AddressFamily(IntEnum):
    """Address families by their Linux numbers."""

    INET = 2
    INET6 = 10

    @classmethod
    def of(cls, address: IPAddress) -> "AddressFamily":
        """Family of an address."""
        return cls.INET if address.version == 4 else cls.INET6


class IpProtocol(IntEnum):
    """Transport protocols by their IANA numbers; NONE stands in the key of a fwmark service."""

    NONE = 0
    TCP = 6
    UDP = 17
    SCTP = 132


class ServiceFlag(IntFlag):
    """IP_VS_SVC_F_*; the meaning of SCHED1..3 is the scheduler's own (mh: fallback, port).

    `HASHED` is the kernel's and never appears in our values.
    """

    PERSISTENT = 0x01
    HASHED = 0x02
    ONE_PACKET = 0x04
    SCHED1 = 0x08
    SCHED2 = 0x10
    SCHED3 = 0x20


class ForwardMethod(IntEnum):
    """IP_VS_CONN_F_FWD_MASK: how a packet reaches the real server."""

    MASQUERADE = 0
    LOCAL = 1
    TUNNEL = 2
    DIRECT = 3
    BYPASS = 4


class TunnelType(IntEnum):
    """IP_VS_CONN_F_TUNNEL_TYPE_*."""

    IPIP = 0
    GUE = 1
    GRE = 2


class TunnelFlag(IntFlag):
    """IP_VS_TUNNEL_ENCAP_FLAG_*: checksums of the outer header (gue, gre)."""

    NOCSUM = 0
    CSUM = 1
    REMCSUM = 2


class SchedulerFlagName(StrEnum):
    """Scheduler flags of `mh` and `sh`, as a plan names them."""

    FALLBACK = "fallback"
    PORT = "port"


NO_SCHEDULER = "none"
"""Scheduler name of a service that schedules nothing yet (kernel >= 4.2): used to build one."""


class ServiceKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Identity of a virtual server: family, protocol, address and port, or family and fwmark.

    Attributes:
        address: Packed, b"" for a fwmark service.
        port: 0 for every port (persistent services) and for fwmark services.
    """

    family: int
    protocol: int
    address: bytes
    port: int
    fwmark: int = 0

    @classmethod
    def of(cls, protocol: IpProtocol, address: IPAddress, port: int) -> "ServiceKey":
        """Key of a virtual server on an address."""
        return cls(int(AddressFamily.of(address)), int(protocol), address.packed, port)

    @classmethod
    def of_fwmark(cls, family: AddressFamily, fwmark: int) -> "ServiceKey":
        """Key of a virtual server on a firewall mark."""
        return cls(int(family), 0, b"", 0, fwmark)

    @property
    def ip(self) -> IPAddress | None:
        """The address, None for a fwmark service."""
        return ip_address(self.address) if self.address else None

    def __str__(self) -> str:
        """As ipvsadm writes it: `-t 192.0.2.1:80`, `-u [2001:db8::1]:53`, `-f 7`."""
        if not self.address:
            return f"-f {self.fwmark}" + (" -6" if self.family == AddressFamily.INET6 else "")
        option = {6: "-t", 17: "-u", 132: "--sctp-service"}.get(self.protocol, f"-{self.protocol}")
        return f"{option} {endpoint_text(self.address, self.port)}"


class IpvsService(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A virtual server without its real servers.

    Attributes:
        flags: `ServiceFlag` bits, without HASHED.
        timeout: Persistence timeout in seconds, 0 without persistence.
        prefix: Length of the client prefix that persistence groups by; 32 or 128 for one client.
        engine: Persistence engine, e.g. "sip", "" without.
    """

    key: ServiceKey
    scheduler: str
    flags: int = 0
    timeout: int = 0
    prefix: int = 32
    engine: str = ""


class IpvsDest(msgspec.Struct, frozen=True, gc=False):
    """A real server of a virtual server; its family may differ from the service's (tunnel).

    Attributes:
        address: Packed; its length tells the family.
        method: A `ForwardMethod` number.
        upper, lower: Connection thresholds, 0 for none: above `upper` no new connection is
            scheduled until their number falls below `lower`.
        tunnel_type, tunnel_port, tunnel_flags: Only with method TUNNEL; the port is gue's.
    """

    address: bytes
    port: int
    weight: int = 1
    method: int = 0
    upper: int = 0
    lower: int = 0
    tunnel_type: int = 0
    tunnel_port: int = 0
    tunnel_flags: int = 0

    @property
    def ip(self) -> IPAddress:
        """The address as an object."""
        return ip_address(self.address)

    @property
    def family(self) -> AddressFamily:
        """Family of the address."""
        return AddressFamily.INET if len(self.address) == 4 else AddressFamily.INET6

    def __str__(self) -> str:
        return endpoint_text(self.address, self.port)


class IpvsEntry(msgspec.Struct, frozen=True, gc=False):
    """A virtual server with its real servers in order of insertion, oldest first.

    The kernel lists the newest first; the codec turns that round, so that desired and actual read
    alike. The order is part of the value: `mh` resolves collisions by it.
    """

    service: IpvsService
    dests: tuple[IpvsDest, ...] = ()


IpvsEntries = Mapping[ServiceKey, IpvsEntry]
"""A table, or the part of one that somebody wants."""


class Counters(msgspec.Struct, frozen=True, gc=False):
    """64-bit totals and the estimator's rates per second; bytes are bytes, `bps` too."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cps: int = 0
    pps_in: int = 0
    pps_out: int = 0
    bps_in: int = 0
    bps_out: int = 0


class DestStatus(msgspec.Struct, frozen=True, gc=False):
    """A real server with what it carries: connections now, and totals."""

    dest: IpvsDest
    active: int
    inactive: int
    persistent: int
    counters: Counters


class ServiceStatus(msgspec.Struct, frozen=True):
    """A virtual server with its totals and its real servers, oldest first."""

    service: IpvsService
    counters: Counters
    dests: tuple[DestStatus, ...] = ()


class IpvsInfo(msgspec.Struct, frozen=True):
    """Version of IPVS in the kernel, and the size of its connection table."""

    version: tuple[int, int, int]
    connection_table_size: int


def endpoint_text(address: bytes, port: int) -> str:
    """`192.0.2.1:80` or `[2001:db8::1]:80` from a packed address."""
    text = str(ip_address(address))
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"
