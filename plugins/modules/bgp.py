#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bgp
short_description: Give BIRD an edge's BGP sessions and export policy
description:
  - Renders C(/etc/fairlead/bird/fairlead.conf) from this edge's slice of the plan, the same text as
    the agent does. The file is validated by BIRD itself before it is put in place, and loaded
    without breaking sessions that stay the same.
  - Which VIPs are announced is not in the file, except where an advertisement selects Services or
    aggregates; see M(fairlead.edge.addresses).
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes
  - fairlead.edge.edge
options:
  inventory:
    description:
      - The inventory document (edges, pools, peers), the one that the agent has as C(edges.yaml).
    type: dict
    required: true
  edge:
    description:
      - Name of this edge in the inventory document.
    type: str
    required: true
  plan:
    description:
      - This edge's slice of the plan, as RV(fairlead.edge.plan#module:plan) has it under C(edges).
    type: dict
    required: true
  inventory_passwords:
    description:
      - TCP MD5 secrets of peers of the inventory, by name of the peer. They must not stand in O(inventory), which is shown
        and logged.
    type: dict
    default: {}
  passwords:
    description:
      - TCP MD5 secrets of peers that the cluster defines, by name of the peer, as
        RV(fairlead.edge.bgp_password_info#module:passwords) returns them.
    type: dict
    default: {}
seealso:
  - module: fairlead.edge.addresses
  - module: fairlead.edge.bgp_password_info
  - module: fairlead.edge.plan
"""

EXAMPLES = r"""
- name: Peer with the routers
  fairlead.edge.bgp:
    inventory: "{{ hostvars | fairlead.edge.edges_document(groups['edges']) }}"
    edge: "{{ inventory_hostname }}"
    plan: "{{ planned.plan.edges[inventory_hostname] }}"
"""

RETURN = r"""
path:
  description: The rendered file.
  returned: when the package is installed
  type: str
  sample: /etc/fairlead/bird/fairlead.conf
errors:
  description: What of the sessions BIRD can't do or could not be given, for people.
  returned: when the package is installed
  type: list
  elements: str
  sample: []
installed:
  description: V(false) on a machine in check mode that has no package yet.
  returned: when the package is not installed
  type: bool
  sample: false
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import (
    LOCK_OPTION,
    named_edge,
    part_result,
    parts,
    target,
)


def act(module):
    from fairlead.edge.bird import BIRD_CONF

    inventory, edge = named_edge(module)
    wanted = target(module, edge, inventory.announce, passwords(module))
    with parts(module) as of_edge:
        change = of_edge.bird.make_true(wanted, check=module.check_mode)
        errors = [
            "%s %s/%s: %s: %s" % (one.kind, one.namespace, one.name, one.field, one.message)
            for one in of_edge.bird.errors
        ]
    for error in errors:
        module.warn(error)
    return dict(part_result(change, str(BIRD_CONF)), path=str(BIRD_CONF), errors=errors)


def passwords(module):
    """Secrets by name of the peer: of the inventory's own peers, and of those of the cluster."""
    own = module.params["inventory_passwords"]
    marks = {
        peer["name"]: peer.get("password") for peer in module.params["plan"].get("bgp_peers", ())
    }
    found = {name: own[name] for name in own if marks.get(name) == "inventory"}
    return dict(found, **module.params["passwords"])


def main():
    options = dict(
        inventory=dict(type="dict", required=True),
        edge=dict(type="str", required=True),
        plan=dict(type="dict", required=True),
        inventory_passwords=dict(type="dict", default={}, no_log=True),
        passwords=dict(type="dict", default={}, no_log=True),
        **LOCK_OPTION,
    )
    run(edge_module(options), act)


if __name__ == "__main__":
    main()
