#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs
short_description: Make the IPVS table of an edge what the plan says
description:
  - Reads virtual servers and real servers from the kernel, compares them with this edge's slice of
    the plan and sends the differences, in the order in which no packet is lost.
  - Virtual servers on addresses outside of O(pools) are never touched. Of those on firewall marks, which are ranges of
    ports, only V(0x0fa00000) to V(0x0fafffff) are Fairlead's.
  - Weights that the agent is raising (annotation C(fairlead.io/slow-start)) are left to it.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes
  - fairlead.edge.edge
  - fairlead.edge.edge.plan
options:
  prune:
    description:
      - Remove virtual servers of O(pools), and those on marks of ours, that the plan does not have.
      - With V(false) they stay and are told in RV(prunable), so that announcements can be withdrawn
        before the virtual servers go.
    type: bool
    default: true
seealso:
  - module: fairlead.edge.plan
  - module: fairlead.edge.addresses
"""

EXAMPLES = r"""
- name: Fill the IPVS table
  fairlead.edge.ipvs:
    plan: "{{ planned.plan.edges[inventory_hostname] }}"
    pools: "{{ planned.pools }}"
"""

RETURN = r"""
changes:
  description: What was (or in check mode would be) done, each as the C(ipvsadm) command for it.
  returned: when the package is installed
  type: list
  elements: str
  sample: ["ipvsadm -e -t 192.0.2.160:80 -r 192.0.2.101:80 -g -w 2  # was -g -w 1"]
prunable:
  description: Virtual servers of the pools that the plan does not have and that were kept.
  returned: when the package is installed
  type: list
  elements: str
  sample: ["-t 192.0.2.161:443"]
installed:
  description: V(false) on a machine in check mode that has no package yet.
  returned: when the package is not installed
  type: bool
  sample: false
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import (
    PLAN_OPTIONS,
    part_result,
    parts,
    target,
)


def act(module):
    prune = module.params["prune"]
    with parts(module, prune=prune) as edge:
        change = edge.ipvs.make_true(target(module), check=module.check_mode)
    return dict(
        part_result(change, "IPVS"),
        changes=list(change.changes),
        prunable=[] if prune else sorted(str(key) for key in change.prunable),
    )


def main():
    run(edge_module(dict(PLAN_OPTIONS, prune=dict(type="bool", default=True))), act)


if __name__ == "__main__":
    main()
