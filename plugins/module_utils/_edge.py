# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for edges do with the package: parse, take the lock, apply, tell."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext


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
    """Whether an address is a VIP of ours: it lies in one of the pools."""
    from fairlead.edge.ownership import OwnedVips
    from fairlead.snapshot.pools import parse_ranges

    pools = module.params.get("pools") or []
    return OwnedVips(parse_ranges(pools, "pools") if pools else ())


def target(module, edge=None, announce=None, passwords=None):
    """What the parts of this edge are computed from; of VRRP the plan says by itself whether it is on."""
    from ipaddress import IPv4Address

    from fairlead.edge.parts import Target
    from fairlead.model.inventory import Edge
    from fairlead.model.names import Announce

    plan = edge_plan(module)
    return Target(
        edge=edge or Edge(name="this", address=IPv4Address(0)),
        announce=frozenset(Announce if announce is None else announce),
        plan=plan,
        virtual_servers=plan.virtual_servers,
        passwords=passwords or {},
        owned=owned(module),
    )


@contextmanager
def parts(module, prune=True):
    """The parts of this edge, while nobody else changes them."""
    from fairlead.edge.links import Links
    from fairlead.edge.parts import BirdPaths, EdgePaths, VrrpPaths, edge_parts

    paths = EdgePaths(
        vrrp=VrrpPaths(owner=agent_ids()), bird=BirdPaths(owner=bird_ids(), mark_owner=agent_ids())
    )
    with locked(module), Links() as links:
        yield edge_parts(links, paths, prune=prune)


def part_result(change, what):
    """Result of a module that makes one part true."""
    return dict(
        changed=change.changed,
        diff=dict(
            before=change.before,
            after=change.after,
            before_header="%s (before)" % what,
            after_header="%s (after)" % what,
        ),
    )


def locked(module):
    """The edge's lock; check mode only reads and takes none."""
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


def bird_ids():
    """Owner of BIRD's file: the agent's user writes it, BIRD's group reads it (secrets are in it)."""
    import grp
    import pwd

    try:
        return pwd.getpwnam("fairlead").pw_uid, grp.getgrnam("bird").gr_gid
    except KeyError:
        return None


def public(document):
    """The inventory document; one that carries passwords is refused: modules show and log their options."""
    from fairlead.model.errors import InventoryError
    from fairlead.snapshot.passwords import passwords_of

    for name in passwords_of(document):
        raise InventoryError(
            "bgp.peers[%s].password" % name,
            "does not belong into this option, which is logged: the filter peer_passwords has it for one that is not",
        )
    return document


def named_edge(module):
    """The inventory document and the edge that the parameter names."""
    from fairlead.model.errors import InventoryError
    from fairlead.snapshot.inventory import inventory_from_dict

    inventory = inventory_from_dict(public(module.params["inventory"]))
    name = module.params["edge"]
    for edge in inventory.edges:
        if edge.name == name:
            return inventory, edge
    raise InventoryError("edges", "there is no edge named %r" % name)
