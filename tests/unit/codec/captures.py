# SPDX-License-Identifier: Apache-2.0
"""Reads the recorded talk between ipvsadm and a kernel (tests/kernel/capture_ipvsadm.py)."""

import json
from pathlib import Path

CAPTURES = Path(__file__).parent / "captures" / "ipvsadm.json"
REQUEST_FLAG = 1
DATA_AT = 16


def messages(command: str) -> list[bytes]:
    """Every message that was seen during a command, netlink header included."""
    document = json.loads(CAPTURES.read_text())
    found = [one["messages"] for one in document["records"] if one["command"] == command]
    assert len(found) == 1, command
    return [bytes.fromhex(text) for text in found[0]]


def requests(command: str) -> list[bytes]:
    """Bodies (without netlink header) of what ipvsadm asked, but for its opening GET_INFO."""
    bodies = [one[DATA_AT:] for one in messages(command) if one[6] & REQUEST_FLAG]
    return [body for body in bodies if body[0] != 15]


def request(command: str) -> bytes:
    """The one request of a command."""
    (only,) = requests(command)
    return only


def replies(command: str, cmd: int) -> list[bytes]:
    """Whole messages that the kernel answered with one generic netlink command."""
    return [
        one
        for one in messages(command)
        if not one[6] & REQUEST_FLAG and len(one) > DATA_AT and one[DATA_AT] == cmd
    ]
