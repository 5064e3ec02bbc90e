#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bgp_password_info
short_description: Read the TCP MD5 secrets of BGP sessions from the cluster
description:
  - A plan never carries a password; it says where one is. This module reads those that stand in
    C(BGPPeer) objects and in Secrets of type C(kubernetes.io/basic-auth) that peers name, and no
    others.
  - Use it with C(no_log), since its result is secret.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes.info
options:
  kubeconfig:
    description:
      - Kubeconfig of an account that may read peers and these Secrets.
    type: path
    required: true
  plan:
    description:
      - The plan, as RV(fairlead.edge.plan#module:plan) returns it.
    type: dict
    required: true
requirements:
  - fairlead >= 0.1.0 in Ansible's own environment on the controller
seealso:
  - module: fairlead.edge.bgp
  - module: fairlead.edge.plan
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Read the secrets of BGP sessions
  fairlead.edge.bgp_password_info:
    kubeconfig: ~/.kube/config
    plan: "{{ planned.plan }}"
  delegate_to: localhost
  run_once: true
  no_log: true
  register: secrets
"""

RETURN = r"""
passwords:
  description:
    - Secrets by name of the peer. One that does not exist (yet) is missing; RV(fairlead.edge.bgp#module:errors)
      then tells of the session that is left out.
  returned: success
  type: dict
  sample: {}
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import controller_module, run


def act(module):
    from pathlib import Path

    from fairlead.cluster.client import KubeApi
    from fairlead.cluster.peer_secrets import read_passwords

    edges = module.params["plan"].get("edges")
    if not isinstance(edges, dict):
        module.fail_json(
            msg="plan: has no edges: give the whole plan, as fairlead.edge.plan has it"
        )
    peers = [peer for edge in edges.values() for peer in edge.get("bgp_peers", ())]
    api = KubeApi(Path(module.params["kubeconfig"]))
    return dict(changed=False, passwords=read_passwords(api, peers))


def main():
    options = dict(
        kubeconfig=dict(type="path", required=True),
        plan=dict(type="dict", required=True),
    )
    run(controller_module(options), act)


if __name__ == "__main__":
    main()
