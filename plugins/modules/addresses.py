#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: addresses
short_description: Put the VIPs that BGP announces on an edge's dummy link
description:
  - VIPs stand as V(/32) or V(/128) on the link C(fairlead0); the BGP daemon announces what stands there.
  - A VIP without a ready endpoint is taken off, which withdraws its route.
  - Addresses outside of O(pools) are never removed.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes
  - fairlead.edge.edge
  - fairlead.edge.edge.plan
options: {}
seealso:
  - module: fairlead.edge.bgp
  - module: fairlead.edge.plan
"""

EXAMPLES = r"""
- name: Put VIPs on the dummy link
  fairlead.edge.addresses:
    plan: "{{ planned.plan.edges[inventory_hostname] }}"
    pools: "{{ planned.pools }}"
"""

RETURN = r"""
changes:
  description: Addresses put on (C(+)) and taken off (C(-)).
  returned: when the package is installed
  type: list
  elements: str
  sample: ["+192.0.2.160/32"]
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
    with parts(module) as edge:
        change = edge.vip_link.make_true(target(module), check=module.check_mode)
    return dict(part_result(change, "fairlead0"), changes=list(change.changes))


def main():
    run(edge_module(PLAN_OPTIONS), act)


if __name__ == "__main__":
    main()
