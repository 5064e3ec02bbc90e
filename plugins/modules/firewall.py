#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Source NAT, marks of port ranges, and who is let into restricted Services
description:
  - A Service with C(loadBalancerSourceRanges) lets in only those networks. Other packets are dropped before IPVS sees them.
  - Virtual servers that forward by V(masquerade) need source NAT, so that answers come back through the edge.
  - Packets for a port range (annotation C(fairlead.io/port-range)) get the mark by which IPVS knows the range.
  - The rules stand in the nftables table C(inet fairlead) and change in one transaction. Where
    the kernel's nf_tables has no IP families, legacy iptables holds them in chains of their own.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes
  - fairlead.edge.edge
options:
  plan:
    description:
      - This edge's slice of the plan, as RV(fairlead.edge.plan#module:plan) has it under C(edges).
    type: dict
    required: true
seealso:
  - module: fairlead.edge.plan
"""

EXAMPLES = r"""
- name: Make the packet filter what the plan says
  fairlead.edge.firewall:
    plan: "{{ planned.plan.edges[inventory_hostname] }}"
"""

RETURN = r"""
targets:
  description: Virtual servers whose flows leave with the edge's own address.
  returned: when the package is installed
  type: list
  elements: str
  sample: ["192.0.2.160 TCP 80"]
restricted:
  description: Virtual servers that let in only some, each with the networks that it lets in.
  returned: when the package is installed
  type: list
  elements: str
  sample: ["192.0.2.160 TCP 80 from 198.51.100.0/24"]
marked:
  description: Port ranges with the marks of their packets.
  returned: when the package is installed
  type: list
  elements: str
  sample: ["192.0.2.160 UDP 10000-20000 as 0x0fa00001"]
installed:
  description: V(false) on a machine in check mode that has no package yet.
  returned: when the package is not installed
  type: bool
  sample: false
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import (
    LOCK_OPTION,
    parts,
    target,
)


def act(module):
    wanted = target(module)
    with parts(module) as edge:
        walked = (edge.source_nat, edge.source_filter, edge.port_marks)
        changes = [part.make_true(wanted, check=module.check_mode) for part in walked]
    nat, filters, marks = (change.rules for change in changes)
    return dict(
        changed=any(change.changed for change in changes),
        targets=sorted("%s %s %d" % one for one in nat),
        restricted=sorted(map(filter_text, filters)),
        marked=sorted(map(str, marks)),
        diff=dict(
            before="".join(change.before for change in changes),
            after="".join(change.after for change in changes),
            before_header="packet filter (before)",
            after_header="packet filter (after)",
        ),
    )


def filter_text(one):
    return "%s from %s" % (one.place, ", ".join(map(str, one.sources)) or "nobody")


def main():
    run(edge_module(dict(LOCK_OPTION, plan=dict(type="dict", required=True))), act)


if __name__ == "__main__":
    main()
