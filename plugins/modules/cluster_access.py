#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_access
short_description: Give edges an account in the cluster, and its kubeconfig
description:
  - Makes a namespace, a ServiceAccount, exactly the rights that the agents use, and a token, and
    returns a kubeconfig for the edges. Nothing of it runs in the cluster.
  - Installs definitions of the kinds of C(metallb.io) where there are none, so that a cluster which
    never had MetalLB takes its manifests. Definitions that somebody else installed stay untouched.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes
options:
  kubeconfig:
    description:
      - Kubeconfig of an account that may make these objects.
    type: path
    required: true
  namespace:
    description:
      - Namespace of account, token and Lease.
    type: str
    default: fairlead-system
  peer_namespace:
    description:
      - Namespace of BGP peers whose passwords stand in Secrets, which the edges may then read.
      - Nothing is made where it is empty or does not exist.
    type: str
  pool_namespace:
    description:
      - Namespace of the objects of C(metallb.io); made if it is missing.
      - Removed only if it was made here and holds nothing of anybody else's, of any kind.
    type: str
    default: metallb-system
  crds:
    description:
      - Whether to install (and later renew) our definitions of C(metallb.io), and a policy that refuses
        addresses in a Service that can't be meant. Nothing is done where somebody else's definitions are.
      - V(false) leaves what is there as it is.
    type: bool
    default: true
  group:
    description:
      - Name of the edge group. Several may serve one cluster, each with a load balancer class of its own; the name is part of
        names and labels of everything that is made for it.
    type: str
    default: default
  server:
    description:
      - URL of the API server as edges reach it; without it, the one in O(kubeconfig).
    type: str
  state:
    description:
      - V(absent) removes everything, the namespace last. Of our definitions those stay that have
        objects which people wrote, because a definition takes its objects with it. Of the objects that
        tell who announces what, those that edges wrote go.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - fairlead >= 0.1.0 in Ansible's own environment on the controller
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Give the edges access
  fairlead.edge.cluster_access:
    kubeconfig: ~/.kube/config
  delegate_to: localhost
  run_once: true
  no_log: true  # the result holds a token
  register: access
"""

RETURN = r"""
kubeconfig:
  description: Kubeconfig for the edges; it holds a token. Empty in check mode while there is none yet.
  returned: when O(state=present)
  type: str
  sample: ""
changes:
  description: Objects that were (or in check mode would be) made, changed or removed.
  returned: success
  type: list
  elements: str
  sample: ["ClusterRole fairlead-edge"]
crds:
  description:
    - Whose definitions of C(metallb.io) the cluster has after the run (in check mode, before it).
    - C(ours), C(foreign) (some are not ours, and all stay untouched) or C(absent).
  returned: success
  type: str
  sample: ours
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import controller_module, run


def install(api, account, params, check, spaces):
    from fairlead.cluster.access import ensure_access
    from fairlead.cluster.definitions import ensure_crds

    done = ensure_access(api, account, check=check, **spaces)
    return done + ensure_crds(api, check=check) if params["crds"] else done


def uninstall(api, account, params, check, spaces):
    from fairlead.cluster.access import LABELS, other_groups, remove_access
    from fairlead.cluster.definitions import remove_crds, remove_status_objects
    from fairlead.cluster.namespace import remove_if_unused

    pools = params["pool_namespace"]
    done = remove_status_objects(api, pools, group=params["group"], check=check)
    # Definitions are everybody's: they go with the last group.
    if params["crds"] and not other_groups(api, account):
        done += remove_crds(api, check=check)
    done += remove_access(api, account, check=check, **spaces)
    return done + remove_if_unused(api, pools, LABELS, check=check)


def act(module):
    from pathlib import Path

    import yaml
    from fairlead.cluster.access import EdgeAccount, edge_kubeconfig
    from fairlead.cluster.definitions import crd_state
    from fairlead.cluster.client import KubeApi

    params = module.params
    admin = Path(params["kubeconfig"])
    api = KubeApi(admin)
    account = EdgeAccount(params["namespace"], params["group"])
    present = params["state"] == "present"
    spaces = dict(
        pool_namespace=params["pool_namespace"],
        peers=params["peer_namespace"] or "",
    )
    done = (install if present else uninstall)(api, account, params, module.check_mode, spaces)
    objects = [change for change in done if change.changed]
    result = dict(
        changed=bool(objects),
        crds=crd_state(api).value,
        changes=[change.name for change in objects],
        diff=dict(
            before=yaml.safe_dump({change.name: dict(change.before) for change in objects}),
            after=yaml.safe_dump({change.name: dict(change.after) for change in objects}),
        ),
    )
    if present:
        pending = module.check_mode and any(change.name.startswith("Secret") for change in objects)
        result["kubeconfig"] = (
            "" if pending else edge_kubeconfig(api, account, admin, params["server"])
        )
    return result


def main():
    options = dict(
        kubeconfig=dict(type="path", required=True),
        namespace=dict(type="str", default="fairlead-system"),
        peer_namespace=dict(type="str"),
        pool_namespace=dict(type="str", default="metallb-system"),
        crds=dict(type="bool", default=True),
        group=dict(type="str", default="default"),
        server=dict(type="str"),
        state=dict(type="str", choices=["present", "absent"], default="present"),
    )
    run(controller_module(options), act)


if __name__ == "__main__":
    main()
