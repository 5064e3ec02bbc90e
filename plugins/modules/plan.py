#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Compute what every edge should hold
description:
  - The same planner that the agents and C(fairlead plan) run, on objects of the cluster and the
    inventory document. Nothing is changed anywhere.
  - The files of every edge's daemons are rendered, too. An inventory whose edges could not have
    theirs is refused; a BGP session that an edge would leave out is among the C(errors).
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes.info
options:
  inventory:
    description:
      - The inventory document (edges, pools, peers, modes), the one that agents have as C(edges.yaml).
    type: dict
    required: true
  passwords:
    description:
      - TCP MD5 secrets of BGP peers by name of the peer. They must not stand in O(inventory), which is shown and logged.
    type: dict
    default: {}
  objects:
    description:
      - Objects of the cluster, as RV(fairlead.edge.cluster_info#module:objects) returns them.
    type: list
    elements: dict
    default: []
  manifests:
    description:
      - Files and directories of manifests on the controller, read after O(objects).
    type: list
    elements: path
    default: []
  strict:
    description:
      - Fail where an object could not be used; the message names each. Otherwise they are returned
        as C(errors) of RV(plan), and everything else is planned all the same.
    type: bool
    default: false
requirements:
  - fairlead >= 0.1.0 in Ansible's own environment on the controller
seealso:
  - module: fairlead.edge.cluster_info
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Plan
  fairlead.edge.plan:
    inventory: "{{ hostvars | fairlead.edge.edges_document(groups['edges']) }}"
    objects: "{{ cluster.objects }}"
  delegate_to: localhost
  run_once: true
  register: planned
"""

RETURN = r"""
plan:
  description: The plan; its schema is a contract of the package.
  returned: success
  type: dict
  contains:
    services:
      description: The allocator's decision for each Service.
      returned: success
      type: list
      elements: dict
      sample: [{"namespace": "web", "name": "shop", "addresses": ["192.0.2.160"], "pool": "lan", "refusal": null}]
    edges:
      description: Each edge's slice, by its name.
      returned: success
      type: dict
      sample: {"edge1": {"virtual_servers": [], "addresses": [], "vrrp": [], "bgp": []}}
    errors:
      description: Objects that could not be used, and why.
      returned: success
      type: list
      elements: dict
      sample: []
pools:
  description: Address ranges of all pools, of the inventory and of the cluster, without the addresses of edges and of VRRP.
  returned: success
  type: list
  elements: str
  sample: ["192.0.2.160-192.0.2.191"]
refusals:
  description: Services that got no address, each with the reason, for people.
  returned: success
  type: list
  elements: str
  sample: ["web/shop: AllocationFailed: no pool has an address left"]
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import controller_module, run
from ansible_collections.fairlead.edge.plugins.module_utils._edge import public


def act(module):
    from fairlead.cluster.manifests import read_manifests
    from fairlead.planned import checked_plan
    from fairlead.edge.ownership import OwnedVips
    from fairlead.planner.encode import plan_to_dict
    from fairlead.planner.pools import usable_pools
    from fairlead.snapshot.inventory import inventory_from_dict
    from fairlead.snapshot.passwords import with_passwords
    from fairlead.snapshot.manifests import Document, snapshot_from_documents

    inventory = inventory_from_dict(
        with_passwords(public(module.params["inventory"]), module.params["passwords"])
    )
    documents = [
        Document("objects", number, item)
        for number, item in enumerate(module.params["objects"], start=1)
    ]
    documents += read_manifests(module.params["manifests"])
    snapshot = snapshot_from_documents(documents, pool_namespace=inventory.pool_namespace)
    plan = plan_to_dict(checked_plan(snapshot, inventory))
    if module.params["strict"] and plan["errors"]:
        module.fail_json(msg="; ".join(error_text(error) for error in plan["errors"]), plan=plan)
    pools, _clashes = usable_pools(inventory, snapshot.pools)
    owned = OwnedVips.of(inventory, pools)
    return dict(
        changed=False,
        plan=plan,
        pools=owned.range_texts(),
        refusals=[
            "{namespace}/{name}: {refusal[reason]}: {refusal[message]}".format(**service)
            for service in plan["services"]
            if service["refusal"]
        ],
    )


def error_text(error):
    return "{file} document {document}: {kind} {namespace}/{name}: {field}: {message}".format(
        **error
    )


def main():
    options = dict(
        inventory=dict(type="dict", required=True),
        passwords=dict(type="dict", default={}, no_log=True),
        objects=dict(type="list", elements="dict", default=[]),
        manifests=dict(type="list", elements="path", default=[]),
        strict=dict(type="bool", default=False),
    )
    run(controller_module(options), act)


if __name__ == "__main__":
    main()
