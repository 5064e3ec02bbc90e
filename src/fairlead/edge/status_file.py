# SPDX-License-Identifier: Apache-2.0
"""status.json: what the agent tells `fairlead status` and whoever looks after an edge.

Written as a whole beside the old one and moved over it, so that a reader never sees half of it.
"""

from pathlib import Path
from typing import Final

import msgspec

from fairlead.model.errors import FairleadError
from fairlead.model.plan import ObjectError
from fairlead.planner.usage import PoolUsage

STATUS_FILE: Final = Path("/run/fairlead/status.json")


class WatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One watch: `connected` also where the kind is not served, for then nothing is missed."""

    connected: bool
    listed: bool
    served: bool
    refused: bool
    events: int
    relists: int
    errors: int
    last_error: str


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One BGP session.

    Attributes:
        peer: Name of the peer.
        address: `address:port`, or the interface where the neighbour is not named.
        state: BIRD's word, e.g. Established.
        exported, updates: Prefixes that the peer has from here; announcements sent.
        bfd: State of its BFD session, None without BFD.
        error: Why it is down, where BIRD says so.
    """

    peer: str
    address: str
    state: str
    up: bool
    exported: int = 0
    updates: int = 0
    bfd: str | None = None
    error: str = ""


class VrrpReport(msgspec.Struct, frozen=True, kw_only=True):
    """One VRRP instance that this edge runs; holding the advertised address is being master."""

    instance: str
    interface: str
    advertised_address: str


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content. Times are seconds since the epoch.

    Attributes:
        release: Directory of the release that runs.
        synced: Whether complete lists were applied since the start.
        trouble: Why the edge can't be changed at all, "" when it can.
        vips_on_lan, vips_on_link: Addresses that stand on the LAN interface and on the dummy link.
        missing_interfaces: Interfaces that VRRP instances want and this machine does not have.
        vrrp: VRRP instances of this edge.
        bird: Whether BIRD answers; None where BGP is not used.
        sessions: BGP sessions of this edge.
        out_of_step: Why this edge may not hold what the cluster says; nothing is "in step".
        kubeconfig_error: Why the kubeconfig on disk can't be used, while the last good one is.
        parts: Parts of this edge that can't be made true, by name, and why.
        failures: Virtual servers that the kernel refuses, and why.
        pools: How full the pools are.
        errors: Objects of the cluster that can't be used.
    """

    version: str
    release: str
    edge: str
    pid: int
    started: float
    written: float
    synced: bool
    leader: bool
    lease_holder: str
    resyncs: int
    last_sync: float
    trouble: str
    announce_error: str
    keepalived: bool | None
    vips_on_lan: tuple[str, ...]
    vips_on_link: tuple[str, ...]
    virtual_servers: int
    real_servers: int
    write_errors: int
    write_error: str
    failures: dict[str, str]
    pools: tuple[PoolUsage, ...]
    errors: tuple[ObjectError, ...]
    watches: dict[str, WatchReport]
    missing_interfaces: tuple[str, ...] = ()
    vrrp: tuple[VrrpReport, ...] = ()
    bird: bool | None = None
    sessions: tuple[SessionReport, ...] = ()
    parts: dict[str, str] = {}
    out_of_step: tuple[str, ...] = ()
    kubeconfig_error: str = ""


def write_status_file(path: Path, document: StatusDocument) -> None:
    """Replace the file.

    Raises:
        OSError: It could not be written.
    """
    candidate = path.with_name(f".{path.name}.new")
    candidate.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    candidate.chmod(0o644)
    candidate.replace(path)


def read_status_file(path: Path = STATUS_FILE) -> StatusDocument | None:
    """Return what the agent wrote last, None where it never ran.

    Raises:
        FairleadError: The file can't be read or is of another version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=StatusDocument)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise FairleadError(f"{path}: {error}; is the agent of another version?") from error
