#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vrrp
short_description: Make keepalived hold an edge's VRRP instances and VIPs
description:
  - Renders C(/etc/fairlead/keepalived/vrrp.conf) from this edge's slice of the plan. The file is
    validated by keepalived itself before it is put in place, and loaded without a restart.
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
- name: Let keepalived announce the VIPs
  fairlead.edge.vrrp:
    plan: "{{ planned.plan.edges[inventory_hostname] }}"
"""

RETURN = r"""
path:
  description: The rendered file.
  returned: when the package is installed
  type: str
  sample: /etc/fairlead/keepalived/vrrp.conf
installed:
  description: V(false) on a machine in check mode that has no package yet.
  returned: when the package is not installed
  type: bool
  sample: false
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import (
    LOCK_OPTION,
    part_result,
    parts,
    target,
)


def act(module):
    from fairlead.edge.parts.vrrp import VRRP_CONF
    from fairlead.model.errors import ApplyError

    wanted = target(module)
    with parts(module) as edge:
        part = edge.vrrp
        change = part.difference(part.desired(wanted), part.actual(), wanted.owned)
        if part.missing:
            # The agent goes on with those that are there; a person who runs a playbook is to know.
            raise ApplyError(
                "%s: nothing was written, this machine has no interface %s; correct fairlead_edge_interface(s)"
                % (VRRP_CONF, ", ".join(sorted(part.missing)))
            )
        if change.changed:
            part.apply(change, check=module.check_mode)
    return dict(part_result(change, str(VRRP_CONF)), path=str(VRRP_CONF))


def main():
    run(edge_module(dict(LOCK_OPTION, plan=dict(type="dict", required=True))), act)


if __name__ == "__main__":
    main()
