# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory document, assembled in one place from the `fairlead_*` variables of the edges."""

from __future__ import annotations

import ipaddress

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: edges_document
short_description: Assemble the inventory document of an edge group
version_added: 0.1.0
author: The Fairlead authors (@fairlead)
description:
  - Collects group-wide settings (C(fairlead_pools), C(fairlead_announce), ...) and per-host settings
    (C(fairlead_edge_address), C(fairlead_edge_interface), ...) into the document that the planner,
    the agents and C(fairlead plan --edges) read.
  - Settings that are not in the inventory are left out; the package has their defaults.
  - Passwords of BGP peers are left out, too, since modules show and log their options. The filter C(peer_passwords) has
    them, for options that are never shown; C(with_passwords) puts both together.
positional: edges
options:
  _input:
    description: C(hostvars).
    type: dict
    required: true
  edges:
    description: Names of the hosts, in the order of VRRP priority.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the document
  ansible.builtin.debug:
    msg: "{{ hostvars | fairlead.edge.edges_document(groups['edges']) }}"
"""

RETURN = r"""
_value:
  description: The inventory document.
  type: dict
"""

# Keys of the document; each is the group variable fairlead_KEY.
GROUP_KEYS = (
    "announce",
    "announce_default",
    "bfd_profiles",
    "bgp",
    "bgp_advertisements",
    "communities",
    "forwarding",
    "group",
    "hold_unready",
    "l2_advertisements",
    "load_balancer_class",
    "nodes_per_service",
    "pool_namespace",
    "pools",
    "scheduler",
    "service_sync",
    "vrrp",
)
# Keys of one edge; each is the host variable fairlead_edge_KEY.
EDGE_KEYS = (
    "address",
    "address6",
    "interface",
    "interfaces",
    "labels",
    "priority",
    "router_id",
)


def _document(hostvars, edges):
    document = {}
    for key in GROUP_KEYS:
        values = {name: hostvars[name].get("fairlead_" + key) for name in edges}
        first = values[edges[0]] if edges else None
        for name, value in values.items():
            if value != first:
                raise AnsibleFilterError(
                    "fairlead_%s differs between %s and %s: it is a setting of the whole edge "
                    "group, put it into group_vars" % (key, edges[0], name)
                )
        if first is not None:
            document[key] = first
    document["edges"] = [_edge(hostvars[name], name) for name in edges]
    return document


def edges_document(hostvars, edges):
    """Return the document for hosts of one edge group, without passwords.

    Raises:
        AnsibleFilterError: Hosts disagree about a group-wide setting, or one has no address.
    """
    from fairlead.snapshot.passwords import without_passwords

    return without_passwords(_document(hostvars, edges))


def peer_passwords(hostvars, edges):
    """Return passwords of the group's BGP peers by name of the peer: they are never in the document."""
    from fairlead.snapshot.passwords import passwords_of

    return passwords_of(_document(hostvars, edges))


def with_passwords(document, passwords):
    """Return the document with the passwords in it, for the one file that holds both."""
    from fairlead.snapshot.passwords import with_passwords as together

    return together(document, passwords)


def _edge(variables, name):
    edge = {"name": name}
    for key in EDGE_KEYS:
        value = variables.get("fairlead_edge_" + key)
        if value is not None:
            edge[key] = value
    if "address" not in edge:
        edge["address"] = _connection_address(variables, name)
    return edge


def _connection_address(variables, name):
    host = variables.get("ansible_host", name)
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise AnsibleFilterError(
            "%s: ansible_host is %r, which is no address: set fairlead_edge_address to the edge's "
            "own address on the LAN" % (name, host)
        ) from None


class FilterModule:
    """Filters of this file."""

    def filters(self):
        """Names and functions."""
        return {
            "edges_document": edges_document,
            "peer_passwords": peer_passwords,
            "with_passwords": with_passwords,
        }
