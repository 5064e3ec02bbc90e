# SPDX-License-Identifier: Apache-2.0
"""An edge as `fairlead status` shows it: what was read, before it becomes text or JSON."""

import msgspec

from fairlead.edge.bird_sessions import Session
from fairlead.edge.status_file import StatusDocument

STALE_SECONDS = 30.0
"""How old an agent's report may be."""


class RealServerStatus(msgspec.Struct, frozen=True):
    """A real server with its connections now."""

    address: str
    port: int
    weight: int
    forwarding: str
    active: int
    inactive: int


class VirtualServerStatus(msgspec.Struct, frozen=True):
    """A virtual server; `address` is None for one by firewall mark, `ranges` are its ports then."""

    address: str | None
    protocol: str
    port: int
    fwmark: int
    ranges: tuple[str, ...]
    scheduler: str
    flags: tuple[str, ...]
    persistence_seconds: int | None
    one_packet: bool
    connections: int
    real_servers: tuple[RealServerStatus, ...]


class VrrpStatus(msgspec.Struct, frozen=True):
    """Role of this edge in one instance: master holds the advertised address."""

    instance: str
    interface: str
    advertised_address: str
    role: str


class EdgeStatus(msgspec.Struct, frozen=True):
    """All that `--json` prints; `problems` empty means healthy."""

    edge: str | None
    problems: tuple[str, ...]
    vrrp: tuple[VrrpStatus, ...]
    bgp: tuple[Session, ...]
    vips: dict[str, tuple[str, ...]]
    virtual_servers: tuple[VirtualServerStatus, ...]
    agent: StatusDocument | None
