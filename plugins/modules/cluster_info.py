#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Read what a plan needs from the cluster
description:
  - Reads Services, EndpointSlices, Nodes, Namespaces and, where their definition is installed,
    IPAddressPools, and returns them as they would stand in manifests.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes.info
options:
  kubeconfig:
    description:
      - Kubeconfig of an account that may list these kinds.
    type: path
    required: true
  dest:
    description:
      - Write the objects to this file as one JSON list instead of returning them; for big clusters.
    type: path
requirements:
  - fairlead >= 0.1.0 in Ansible's own environment on the controller
seealso:
  - module: fairlead.edge.plan
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Read the cluster
  fairlead.edge.cluster_info:
    kubeconfig: ~/.kube/config
  delegate_to: localhost
  run_once: true
  register: cluster
"""

RETURN = r"""
objects:
  description: The objects, without managed fields.
  returned: when O(dest) is not given
  type: list
  elements: dict
  sample: [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "database"}}]
counts:
  description: Number of objects of each kind; a kind that the API server does not know is missing.
  returned: success
  type: dict
  sample: {"EndpointSlice": 12, "Namespace": 6, "Node": 3, "Service": 11}
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import controller_module, run


def act(module):
    import json
    from pathlib import Path

    from fairlead.cluster.client import KubeApi
    from fairlead.cluster.listing import list_objects

    objects = list_objects(KubeApi(Path(module.params["kubeconfig"])))
    counts = {}
    for item in objects:
        counts[item["kind"]] = counts.get(item["kind"], 0) + 1
    result = dict(changed=False, counts=counts)
    if module.params["dest"]:
        # A scratch file of the caller's, not state: written in check mode as well.
        document = dict(apiVersion="v1", kind="List", items=objects)
        Path(module.params["dest"]).write_text(json.dumps(document))
    else:
        result["objects"] = objects
    return result


def main():
    options = dict(kubeconfig=dict(type="path", required=True), dest=dict(type="path"))
    run(controller_module(options), act)


if __name__ == "__main__":
    main()
