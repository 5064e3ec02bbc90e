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
    edge_plan,
    lines,
    locked,
    owned,
)


def act(module):
    from fairlead.edge.ipvs import IpvsTable, reconcile_ipvs
    from fairlead.diff.ipvs import desired_from, is_ours, service_key
    from fairlead.diff.slow_start import left_rising

    servers = edge_plan(module).virtual_servers
    desired = desired_from(servers)
    ours = owned(module)
    with locked(module), IpvsTable() as table:
        for key in map(service_key, (one for one in servers if one.slow_start_seconds)):
            desired[key] = left_rising(desired[key], table.dump_service(key))
        extra = [key for key in table.service_keys() if key not in desired and is_ours(key, ours)]
        keep = [] if module.params["prune"] else extra
        done = reconcile_ipvs(
            table,
            desired,
            ours if module.params["prune"] else None,
            check=module.check_mode,
        )
    done.raise_for_failures()
    return dict(
        changed=done.changed,
        changes=[str(change) for change in done.changes],
        prunable=sorted(str(key) for key in keep),
        diff=dict(
            before=lines(done.before),
            after=lines(done.after),
            before_header="IPVS (before)",
            after_header="IPVS (after)",
        ),
    )


def main():
    run(edge_module(dict(PLAN_OPTIONS, prune=dict(type="bool", default=True))), act)


if __name__ == "__main__":
    main()
