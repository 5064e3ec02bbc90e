# SPDX-License-Identifier: Apache-2.0
"""status.json: what the agent tells `fairlead status` and whoever looks after an edge.

Written as a whole beside the old one and moved over it, so that a reader never sees half of it.
"""

from pathlib import Path
from typing import Final

import msgspec

from fairlead.model.errors import FairleadError
from fairlead.model.plan import ObjectError

STATUS_FILE: Final = Path("/run/fairlead/status.json")


class WatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One watch: `connected` also where the kind is not served, for then nothing is missed."""

    connected: bool
    listed: bool
    served: bool
    events: int
    relists: int
    errors: int
    last_error: str


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content. Times are seconds since the epoch.

    Attributes:
        synced: Whether complete lists were applied since the start.
        trouble: Why the edge can't be changed at all, "" when it can.
        vips_on_lan, vips_on_link: Addresses that stand on the LAN interface and on the dummy link.
        failures: Virtual servers that the kernel refuses, and why.
        errors: Objects of the cluster that can't be used.
    """

    version: str
    edge: str
    pid: int
    started: float
    written: float
    synced: bool
    service_sync: str
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
    errors: tuple[ObjectError, ...]
    watches: dict[str, WatchReport]


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
