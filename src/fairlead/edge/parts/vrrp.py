# SPDX-License-Identifier: Apache-2.0
"""keepalived's file as a part: VRRP instances and their VIPs.

keepalived reads `/etc/keepalived/keepalived.conf` (the operator's, with one `include`); only the
included file is ours. keepalived never touches IPVS here: it runs with `-P`.
"""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fairlead.edge.config_file import DaemonFile, FileChange, Ids, load_config, read_text
from fairlead.edge.links import LinkPort
from fairlead.edge.parts.part import FileDifference, Owned, Part, Target, interfaces_of
from fairlead.model.errors import ApplyError
from fairlead.model.plan import VrrpInstance
from fairlead.render import render_keepalived

VRRP_CONF = Path("/etc/fairlead/keepalived/vrrp.conf")
PID_FILE = Path("/run/keepalived.pid")
LOADED_MARK = Path("/run/fairlead/vrrp.loaded")
_VALIDATOR = ("keepalived", "-t", "-f")


@dataclass(frozen=True)
class VrrpPaths:
    """Where keepalived's things are, and who may write them.

    Attributes:
        loaded: What it was told to load last.
        owner: User and group of the file; None keeps whoever runs this.
    """

    conf: Path = VRRP_CONF
    pid: Path = PID_FILE
    loaded: Path = LOADED_MARK
    owner: Ids | None = field(default=None)


@dataclass(frozen=True)
class VrrpActual:
    """The file, and the interfaces of this machine that instances ask for and that are there."""

    file: DaemonFile
    missing: frozenset[str]


class VrrpPart(Part[tuple[VrrpInstance, ...], VrrpActual, FileDifference]):
    """VRRP instances on the interfaces that this machine has.

    Attributes:
        missing: Interfaces that instances want and this machine does not have; as of the last
            comparison.
    """

    name = "VRRP instances"

    def __init__(self, links: LinkPort, paths: VrrpPaths | None = None) -> None:
        self._links, self._paths = links, paths or VrrpPaths()
        self._named: tuple[str, ...] = ()
        self.missing: frozenset[str] = frozenset()

    def desired(self, target: Target) -> tuple[VrrpInstance, ...]:
        """Instances of the plan; none where VRRP is off."""
        self._named = tuple(sorted(_interfaces(target.vrrp)))
        return target.vrrp

    def actual(self) -> VrrpActual:
        """The file, and which interfaces are not there: with them keepalived refuses all of it."""
        paths = self._paths
        file = DaemonFile(
            read_text(paths.conf), is_running(paths.pid), read_text(paths.loaded) or ""
        )
        missing = frozenset(name for name in self._named if not self._links.exists(name))
        self.missing = missing
        return VrrpActual(file, missing)

    def difference(
        self, desired: tuple[VrrpInstance, ...], actual: VrrpActual, owned: Owned
    ) -> FileDifference:
        """The file's text, where it is another; no file at all is as good as one without VIPs."""
        del owned
        text = render_keepalived(present_instances(desired, actual.missing))
        before = actual.file.text
        if before is None and not desired:
            return FileDifference(False)
        return FileDifference(actual.file.differs(text), before or "", text, text=text)

    def apply(self, change: FileDifference, *, check: bool = False) -> None:
        """Let keepalived's own parser look at it, write it, tell keepalived."""
        paths = self._paths
        write_vrrp(
            change.text,
            path=paths.conf,
            pid_file=paths.pid,
            loaded_mark=paths.loaded,
            owner=paths.owner,
            check=check,
        )


def write_vrrp(
    text: str,
    *,
    path: Path = VRRP_CONF,
    pid_file: Path = PID_FILE,
    loaded_mark: Path = LOADED_MARK,
    owner: Ids | None = None,
    check: bool = False,
) -> FileChange:
    """Make keepalived run a file.

    Raises:
        ValidationError: keepalived refused the text; the live file is as it was.
        ApplyError: The file could not be written or keepalived could not be signalled.
    """
    return load_config(
        path,
        text,
        lambda: reload_keepalived(pid_file),
        mark=loaded_mark,
        validate=_VALIDATOR,
        owner=owner,
        mark_owner=owner,
        check=check,
    )


def is_running(pid_file: Path = PID_FILE) -> bool:
    """Whether the pid file names a living keepalived."""
    try:
        pid = int(pid_file.read_text())
        return Path(f"/proc/{pid}/comm").read_text().strip() == "keepalived"
    except (OSError, ValueError):
        return False


def reload_keepalived(pid_file: Path = PID_FILE) -> bool:
    """Tell a running keepalived to read its files again; False where none runs.

    A keepalived that starts later reads the new file by itself.
    """
    try:
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() != "keepalived":
            return False
        os.kill(pid, signal.SIGHUP)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    except PermissionError as error:
        raise ApplyError(
            f"keepalived could not be told to reload ({pid_file}): {error}; "
            "the agent needs CAP_KILL for that"
        ) from error
    return True


def present_instances(
    instances: tuple[VrrpInstance, ...], missing: frozenset[str]
) -> tuple[VrrpInstance, ...]:
    """Instances as this machine can run them: on the interfaces that are there.

    One that has none left for its VIPs is left out: as a master it would take them from an edge
    that can hold them.
    """
    found = []
    for one in instances:
        there = tuple(name for name in interfaces_of(one) if name not in missing)
        if one.interface in missing or not there:
            continue
        found.append(msgspec.structs.replace(one, devices=there) if one.devices else one)
    return tuple(found)


def _interfaces(instances: Iterable[VrrpInstance]) -> set[str]:
    return {name for one in instances for name in (one.interface, *one.devices)}
