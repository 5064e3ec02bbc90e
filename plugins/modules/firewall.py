#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Give masqueraded flows the edge's own source address
description:
  - Virtual servers that forward by V(masquerade) need source NAT, so that answers come back through the edge.
  - The rule stands in the nftables table C(inet fairlead) and is replaced in one transaction. Where
    the kernel's nf_tables has no IP families, legacy iptables holds it in a chain of its own.
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
- name: Masquerade what must come back
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
installed:
  description: V(false) on a machine in check mode that has no package yet.
  returned: when the package is not installed
  type: bool
  sample: false
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import (
    LOCK_OPTION,
    edge_plan,
    lines,
    locked,
)


def act(module):
    from fairlead.adapters.nft import reconcile_masquerade
    from fairlead.render import masquerade_targets

    with locked(module):
        done = reconcile_masquerade(masquerade_targets(edge_plan(module)), check=module.check_mode)
    return dict(
        changed=done.changed,
        targets=texts(done.after),
        diff=dict(
            before=lines(texts(done.before)),
            after=lines(texts(done.after)),
            before_header="masqueraded (before)",
            after_header="masqueraded (after)",
        ),
    )


def texts(targets):
    return sorted("%s %s %d" % target for target in targets)


def main():
    run(edge_module(dict(LOCK_OPTION, plan=dict(type="dict", required=True))), act)


if __name__ == "__main__":
    main()
