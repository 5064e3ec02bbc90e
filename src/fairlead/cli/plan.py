# SPDX-License-Identifier: Apache-2.0
"""`fairlead plan`: what manifests and an inventory would become, without a cluster."""

import sys
from ipaddress import IPv4Address

import click
import yaml

from fairlead.adapters.manifests import read_inventory, read_manifests
from fairlead.cli.tables import print_plan
from fairlead.model.errors import FairleadError
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.plan import ObjectError, Plan
from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import plan_to_dict, plan_to_json
from fairlead.planner.plan import make_plan
from fairlead.planner.requests import is_ours
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import snapshot_from_documents

UNUSABLE = 2
ASSUMED_EDGE = Edge(name="edge1", address=IPv4Address(0))
"""Stands in without --edges, so that virtual servers can be shown; it has no address."""

HELP = """Show what manifests would become: addresses, virtual servers, announcements.

Reads Services, EndpointSlices, Nodes, Namespaces and metallb.io IPAddressPools from YAML or JSON;
other kinds are passed over. Nothing is contacted and nothing is changed. A Service's `status` is
its present allocation and is kept where the pools allow it.

\b
Examples:
  fairlead plan --manifests ./manifests
  fairlead plan --manifests service.yaml --manifests pools.yaml --edges edges.yaml
  kubectl get services,endpointslices,nodes,namespaces,ipaddresspools -A -o yaml \\
    | fairlead plan --manifests - --edges edges.yaml --format json

Exit status: 0 with a plan, Services that get no address included; 2 if an object could not be used
(named on standard error with file, document and field) or the command line is wrong; 1 if a file
can't be read.
"""


@click.command(help=HELP)
@click.option(
    "--manifests",
    "paths",
    multiple=True,
    required=True,
    metavar="PATH",
    help="File, folder (recursively *.yaml, *.yml, *.json) or - for standard input; repeatable.",
)
@click.argument("more", nargs=-1, metavar="[PATH]...")
@click.option(
    "--edges",
    metavar="FILE",
    help="Inventory document: edges, pools, peers, modes. Without it one edge is assumed.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print the plan.",
)
def plan(paths: tuple[str, ...], more: tuple[str, ...], edges: str | None, style: str) -> None:
    """See HELP; `more` lets `--manifests a.yaml b.yaml` work as people write it."""
    inventory = load_inventory(edges)
    snapshot = snapshot_from_documents(
        read_manifests([*paths, *more]), pool_namespace=inventory.pool_namespace
    )
    made = make_plan(snapshot, inventory)
    for note in notes(snapshot, inventory, with_edges=edges is not None):
        click.echo(f"fairlead: note: {note}", err=True)
    show(made, style)
    for error in made.errors:
        click.echo(f"fairlead: {error_text(error)}", err=True)
    if made.errors:
        sys.exit(UNUSABLE)


def load_inventory(path: str | None) -> Inventory:
    """The inventory document, or one edge with the defaults of everything."""
    if path is None:
        return Inventory(edges=(ASSUMED_EDGE,))
    try:
        return inventory_from_dict(read_inventory(path))
    except FairleadError as error:
        click.echo(f"fairlead: {path}: {error}", err=True)
        sys.exit(UNUSABLE)


def notes(snapshot: Snapshot, inventory: Inventory, *, with_edges: bool) -> list[str]:
    """What the plan can't show with this input, one sentence each."""
    said = []
    if not any(is_ours(service, inventory) for service in snapshot.services):
        said.append("no Service of type LoadBalancer (of our class) in the input")
    if not with_edges:
        said.append("no --edges: one edge with the default settings (dsr, VRRP) is assumed")
    if not snapshot.slices_known:
        said.append("no EndpointSlices in the input: real servers are empty, nothing is announced")
    elif not snapshot.nodes_known:
        said.append("no Nodes in the input: only forwarding mode pod has real servers")
    return said


def show(made: Plan, style: str) -> None:
    """Print a plan on standard output."""
    if style == "json":
        click.echo(plan_to_json(made, indent=2))
    elif style == "yaml":
        click.echo(yaml.safe_dump(plan_to_dict(made), sort_keys=False, width=100), nl=False)
    else:
        print_plan(made)


def error_text(error: ObjectError) -> str:
    """One line: where, what, why."""
    place = f"{error.file}, document {error.document}" if error.file else "cluster"
    key = f"{error.namespace}/{error.name}" if error.namespace else error.name
    thing = " ".join(part for part in (error.kind, key) if part)
    parts = [place, thing, error.field, error.message]
    return ": ".join(part for part in parts if part)
