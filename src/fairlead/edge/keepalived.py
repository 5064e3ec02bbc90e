# SPDX-License-Identifier: Apache-2.0
"""keepalived's VRRP file on this edge: write, validate, reload.

keepalived reads `/etc/keepalived/keepalived.conf` (the operator's, with one `include`); only the
included file is ours. keepalived never touches IPVS here: it runs with `-P`.
"""

import os
import signal
from hashlib import sha256
from pathlib import Path

from fairlead.edge.config_file import FileChange, write_config
from fairlead.model.errors import ApplyError
from fairlead.model.plan import VrrpInstance
from fairlead.render import render_keepalived

VRRP_CONF = Path("/etc/fairlead/keepalived/vrrp.conf")
PID_FILE = Path("/run/keepalived.pid")
LOADED_MARK = Path("/run/fairlead/vrrp.loaded")
_VALIDATOR = ("keepalived", "-t", "-f")


def apply_vrrp(
    instances: tuple[VrrpInstance, ...],
    *,
    path: Path = VRRP_CONF,
    pid_file: Path = PID_FILE,
    loaded_mark: Path = LOADED_MARK,
    owner: tuple[int, int] | None = None,
    check: bool = False,
) -> FileChange:
    """Make keepalived hold these instances; see `write_vrrp`."""
    return write_vrrp(
        render_keepalived(instances),
        path=path,
        pid_file=pid_file,
        loaded_mark=loaded_mark,
        owner=owner,
        check=check,
    )


def write_vrrp(
    text: str,
    *,
    path: Path = VRRP_CONF,
    pid_file: Path = PID_FILE,
    loaded_mark: Path = LOADED_MARK,
    owner: tuple[int, int] | None = None,
    check: bool = False,
) -> FileChange:
    """Make keepalived run a file.

    The mark remembers which text keepalived was told to load, so that a crash between the write
    and the signal is repaired by the next call.

    Raises:
        ValidationError: keepalived refused the text; the live file is as it was.
        ApplyError: The file could not be written or keepalived could not be signalled.
    """
    change = write_config(path, text, validate=_VALIDATOR, owner=owner, check=check)
    if check:
        return change
    digest = sha256(text.encode()).hexdigest()
    if (change.changed or _loaded(loaded_mark) != digest) and reload_keepalived(pid_file):
        write_config(loaded_mark, digest, mode=0o644, owner=owner)
    return change


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


def _loaded(mark: Path) -> str:
    try:
        return mark.read_text()
    except FileNotFoundError:
        return ""
