#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_info
short_description: Tell what an edge holds and does now
description:
  - Reads the kernel and the daemons, never a file that somebody wrote about them; only what the
    agent says about itself comes from its status file.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes.info
options:
  interface:
    description:
      - LAN interface of the edge, where VRRP puts VIPs.
    type: str
    required: true
requirements:
  - fairlead >= 0.1.0 under C(/opt/fairlead/current) (the role P(fairlead.edge.edge_base#role) installs it)
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Look at the edge
  fairlead.edge.edge_info:
    interface: eth0
  register: edge
"""

RETURN = r"""
installed:
  description: Whether the package is installed; nothing else is returned where it is not.
  returned: success
  type: bool
  sample: true
release:
  description: The current release.
  returned: when installed
  type: str
  sample: 0.1.0-82234c5171b1
addresses:
  description: Addresses on the LAN interface, VIPs of VRRP and link-local ones among them.
  returned: when installed
  type: list
  elements: str
  sample: ["192.0.2.11", "192.0.2.160"]
bgp_addresses:
  description: VIPs on the dummy link, which BGP announces.
  returned: when installed
  type: list
  elements: str
  sample: ["192.0.2.160"]
virtual_servers:
  description: The IPVS table as C(ipvsadm -Sn) prints it.
  returned: when installed
  type: list
  elements: str
  sample: ["-A -t 192.0.2.160:80 -s mh -b mh-fallback,mh-port"]
bgp_sessions:
  description: State of each BGP session in BIRD's words.
  returned: when installed
  type: dict
  sample: {"tor1": "Established"}
services:
  description: State of the systemd units; V(unknown) where systemd does not run.
  returned: when installed
  type: dict
  sample: {"bird": "active", "fairlead-agent": "active", "keepalived": "active"}
agent:
  description: What the agent says about itself; empty while it does not run.
  returned: when installed
  type: dict
  sample: {}
"""

import json
import os
import subprocess
from itertools import zip_longest

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run

UNITS = ("bird", "fairlead-agent", "keepalived")


def act(module):
    from fairlead.edge.bird_sessions import sessions
    from fairlead.edge.links import Links
    from fairlead.render.bird import SESSION_PREFIX

    services = unit_states()
    with Links() as links:
        lan = links.addresses(module.params["interface"], link_local=True)
        dummy = links.addresses()
    return dict(
        changed=False,
        installed=True,
        release=os.path.basename(os.readlink("/opt/fairlead/current")),
        addresses=[str(address) for address in lan],
        bgp_addresses=[str(address) for address in dummy],
        virtual_servers=table(),
        bgp_sessions={one.name.removeprefix(SESSION_PREFIX): one.state for one in sessions()},
        services=services,
        agent=agent_status() if services["fairlead-agent"] == "active" else {},
    )


def table():
    from fairlead.edge.ipvs import IpvsTable
    from fairlead.diff.changes import rules

    if not os.path.exists("/proc/net/ip_vs"):
        return []  # asking over netlink would load the module
    with IpvsTable() as ipvs:
        return rules(ipvs.dump())


def unit_states():
    argv = ["systemctl", "is-active", *("%s.service" % unit for unit in UNITS)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return dict(zip_longest(UNITS, done.stdout.split(), fillvalue="unknown"))


def agent_status():
    try:
        with open("/run/fairlead/status.json", encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return {}


def main():
    run(edge_module(dict(interface=dict(type="str", required=True)), reads_only=True), act)


if __name__ == "__main__":
    main()
