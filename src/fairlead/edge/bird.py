# SPDX-License-Identifier: Apache-2.0
"""BIRD's configuration on this edge: write, validate, `configure`.

BIRD reads `/etc/bird/bird.conf` (the role's, with one `include`); only the included file is ours.
Peers, pools and advertisements change it. VIPs come and go on the dummy link, which BIRD watches.
"""

import re
from pathlib import Path

from fairlead.edge.bird_control import CONTROL_SOCKET, Line, ask
from fairlead.edge.config_file import FileChange, Ids, load_config, refusal
from fairlead.model.errors import ApplyError

BIRD_CONF = Path("/etc/fairlead/bird/fairlead.conf")
LOADED_MARK = Path("/run/fairlead/bird.loaded")
_VALIDATOR = ("bird", "-p", "-c")
_TAKEN = frozenset({3, 4, 5})  # reconfigured; in progress; queued behind one in progress
_PASSWORD = re.compile(r"(?m)^(\s*password\b).*$")


def apply_bird(
    text: str,
    *,
    path: Path = BIRD_CONF,
    control: Path = CONTROL_SOCKET,
    loaded_mark: Path = LOADED_MARK,
    owner: Ids | None = None,
    mark_owner: Ids | None = None,
    check: bool = False,
) -> FileChange:
    """Make BIRD run a configuration.

    Args:
        text: The whole file.
        path: The live file.
        control: BIRD's control socket.
        loaded_mark: Remembers what BIRD was told.
        owner: User and group of the file; None keeps whoever runs this.
        mark_owner: The same for the mark.
        check: Report only.

    Returns:
        The change, with secrets masked in both texts.

    Raises:
        ValidationError: BIRD refused the text; the live file is as it was.
        ApplyError: The file could not be written or BIRD did not take it.
    """
    change = load_config(
        path,
        text,
        lambda: control.is_socket() and configure(control),
        mark=loaded_mark,
        validate=_VALIDATOR,
        owner=owner,
        mark_owner=mark_owner,
        check=check,
    )
    return FileChange(change.path, change.changed, masked(change.before), masked(change.after))


def bird_refusal(text: str) -> str:
    """What BIRD's parser has against a text, "" for nothing, or where BIRD is not installed."""
    return refusal(text, _VALIDATOR, BIRD_CONF)


def masked(text: str) -> str:
    """A configuration that may be shown: without its TCP MD5 secrets."""
    return _PASSWORD.sub(r"\1 (hidden);", text)


def configure(control: Path = CONTROL_SOCKET) -> bool:
    """Let a running BIRD read its file; unchanged sessions stay up. True, or an error.

    Raises:
        ApplyError: BIRD answered anything but success.
    """
    answer = ask("configure", control)
    if not any(line.code in _TAKEN for line in answer):
        raise ApplyError(f"BIRD did not take its new configuration: {_said(answer)}")
    return True


def _said(answer: list[Line]) -> str:
    return "; ".join(line.text.strip() for line in answer)
