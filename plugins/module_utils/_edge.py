# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for edges do with the package: parse, take the lock, apply, tell."""

from __future__ import annotations


LOCK_OPTION = dict(lock_timeout=dict(type="float", default=30.0))
PLAN_OPTIONS = dict(
    plan=dict(type="dict", required=True),
    pools=dict(type="list", elements="str", required=True),
    **LOCK_OPTION,
)


def edge_plan(module):
    """This edge's slice of the plan as typed values."""
    from fairlead.planner.encode import edge_plan_from_dict

    return edge_plan_from_dict(module.params["plan"])


def owned(module):
    """Whether an address lies in one of the pools."""
    from fairlead.snapshot.pools import parse_ranges

    ranges = parse_ranges(module.params["pools"], "pools")
    return lambda address: any(address in part for part in ranges)


def locked(module):
    """The edge's lock; check mode only reads and takes none."""
    from contextlib import nullcontext

    from fairlead.edge.lock import edge_lock

    if module.check_mode:
        return nullcontext()
    return edge_lock(timeout=module.params["lock_timeout"])


def agent_ids():
    """User and group of the agent, who must be able to write these files as well."""
    import pwd

    try:
        entry = pwd.getpwnam("fairlead")
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def lines(texts):
    """Lines of a diff."""
    return "".join("%s\n" % text for text in texts)


def file_result(change):
    """Result of a module that writes one file."""
    path = str(change.path)
    return dict(
        changed=change.changed,
        path=path,
        diff=dict(
            before=change.before,
            after=change.after,
            before_header="%s (before)" % path,
            after_header="%s (after)" % path,
        ),
    )


def bird_ids():
    """Owner of BIRD's file: the agent's user writes it, BIRD's group reads it (secrets are in it)."""
    import grp
    import pwd

    try:
        return pwd.getpwnam("fairlead").pw_uid, grp.getgrnam("bird").gr_gid
    except KeyError:
        return None


def named_edge(module):
    """The inventory document and the edge that the parameter names."""
    from fairlead.model.errors import InventoryError
    from fairlead.snapshot.inventory import inventory_from_dict

    inventory = inventory_from_dict(module.params["inventory"])
    name = module.params["edge"]
    for edge in inventory.edges:
        if edge.name == name:
            return inventory, edge
    raise InventoryError("edges", "there is no edge named %r" % name)
