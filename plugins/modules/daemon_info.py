#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: daemon_info
short_description: Tell which daemons run something older than what stands on disk
description:
  - Compares when a daemon read its files with when they were written, and the release that the agent runs with the current one.
  - A run that was interrupted between a file and its restart is completed by the next one that asks.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes.info
options:
  unit:
    description:
      - The daemon's unit.
    type: str
    choices: [bird, fairlead-agent, keepalived]
    required: true
requirements:
  - fairlead >= 0.1.0 under C(/opt/fairlead/current) (the role P(fairlead.edge.edge_base#role) installs it)
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Look whether the agent runs what stands on disk
  fairlead.edge.daemon_info:
    unit: fairlead-agent
  register: agent
"""

RETURN = r"""
installed:
  description: Whether the package is installed; nothing else is returned where it is not.
  returned: success
  type: bool
  sample: true
outdated:
  description: Why the daemon must be restarted or reloaded, V("") where it need not, or does not run.
  returned: when installed
  type: str
  sample: /etc/fairlead/edges.yaml is newer than what it runs
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run

UNITS = ("bird", "fairlead-agent", "keepalived")


def act(module):
    from fairlead.edge.daemons import outdated

    return dict(changed=False, installed=True, outdated=outdated(module.params["unit"]))


def main():
    options = dict(unit=dict(type="str", choices=list(UNITS), required=True))
    run(edge_module(options, reads_only=True), act)


if __name__ == "__main__":
    main()
