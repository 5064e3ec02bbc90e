# SPDX-License-Identifier: Apache-2.0
"""Text of the daemons' configuration files, computed from typed values.

Python transforms, Jinja prints: every function here takes model values, builds a sorted view of
plain strings and numbers, and hands it to one template. The result is a pure function of the input:
no dates, no names read from the operating system. Text that a file's grammar could misread is
refused here, not escaped in a template.
"""

from fairlead.render.bird import BirdFile, render_bird, session_name
from fairlead.render.keepalived import render_keepalived
from fairlead.render.nft import (
    MasqueradeTarget,
    masquerade_layout,
    render_iptables,
)

__all__ = [
    "BirdFile",
    "MasqueradeTarget",
    "masquerade_layout",
    "render_bird",
    "render_iptables",
    "render_keepalived",
    "session_name",
]
