#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bgp
short_description: Give BIRD an edge's BGP sessions and export policy
description:
  - Renders C(/etc/bird/bird.conf) from the inventory document. The file is validated by BIRD itself
    before it is put in place, and loaded without breaking sessions that stay the same.
  - Which VIPs are announced is not in the file; see M(fairlead.edge.addresses).
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
  pools:
    description:
      - Address ranges that may be announced, as RV(fairlead.edge.plan#module:pools) returns them.
    type: list
    elements: str
    required: true
seealso:
  - module: fairlead.edge.addresses
  - module: fairlead.edge.plan
"""

EXAMPLES = r"""
- name: Peer with the routers
  fairlead.edge.bgp:
    inventory: "{{ hostvars | fairlead.edge.edges_document(groups['edges']) }}"
    edge: "{{ inventory_hostname }}"
    pools: "{{ planned.pools }}"
"""

RETURN = r"""
path:
  description: The rendered file.
  returned: when the package is installed
  type: str
  sample: /etc/bird/bird.conf
installed:
  description: V(false) on a machine in check mode that has no package yet.
  returned: when the package is not installed
  type: bool
  sample: false
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import edge_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import (
    LOCK_OPTION,
    bird_ids,
    file_result,
    locked,
    named_edge,
    pool_of,
)


def act(module):
    from fairlead.adapters.bird import apply_bird
    from fairlead.render import render_bird

    inventory, edge = named_edge(module)
    text = render_bird(edge, inventory.bgp, [pool_of(module)])
    with locked(module):
        result = file_result(apply_bird(text, owner=bird_ids(), check=module.check_mode))
    if any(peer.password for peer in inventory.bgp.peers):
        result["diff"] = dict(prepared="The file holds TCP MD5 secrets and is not shown.\n")
    return result


def main():
    options = dict(
        inventory=dict(type="dict", required=True),
        edge=dict(type="str", required=True),
        pools=dict(type="list", elements="str", required=True),
        **LOCK_OPTION,
    )
    run(edge_module(options), act)


if __name__ == "__main__":
    main()
