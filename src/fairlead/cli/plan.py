# SPDX-License-Identifier: Apache-2.0
"""`fairlead plan`: what a cluster and an inventory become, why, and what a change would do."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec

from fairlead.cli.inputs import Input, UsageError, at_rest, load_inventory, notes, read_input
from fairlead.cli.text import clean
from fairlead.cluster.manifests import STDIN
from fairlead.model.errors import FairleadError
from fairlead.model.inventory import Inventory
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError, Plan
from fairlead.planner.encode import plan_to_dict

DIFFERENT = 1
UNREADABLE = 1
UNUSABLE = 2

HELP = """Show what a cluster would become on the edges: addresses, virtual servers, announcements.

Reads Services, EndpointSlices, Nodes, Namespaces and metallb.io objects from manifests (YAML or
JSON, several documents, `kind: List`, folders) or, with --kubeconfig, from a live cluster. Other
kinds are passed over. Nothing is changed anywhere. A Service's `status` is its present allocation
and is kept where the pools allow it.

\b
What manifests would become:
  fairlead plan --manifests ./manifests --edges edges.yaml
  kubectl get services,endpointslices,nodes,namespaces,ipaddresspools -A -o yaml \\
    | fairlead plan --manifests - --edges edges.yaml --format json
What the cluster would become, with its right to list and nothing else:
  fairlead plan --kubeconfig ~/.kube/config --edges edges.yaml
Why a Service has this address, these real servers, this announcement, or why not:
  fairlead plan --manifests ./manifests --explain shop/web
What a change of pools would do, applied to what is there:
  fairlead plan --kubeconfig ~/.kube/config --edges edges.yaml --what-if new-pools.yaml
  fairlead plan --manifests ./manifests --edges edges.yaml --diff-edges new-edges.yaml
What is different between two whole inputs (or saved plans):
  fairlead plan --manifests plan-of-yesterday.json --diff ./manifests --edges edges.yaml

\b
Exit status:
  0  a plan or an explanation, Services that get no address included;
     with --diff, --what-if or --diff-edges: no difference
  1  a file or the cluster can't be read;
     with --diff, --what-if or --diff-edges: there is a difference
  2  an object could not be used (named on standard error with file, document and field; everything
     else is planned all the same), or the command line is wrong;
     with --diff, --what-if or --diff-edges: also a file or a cluster that can't be read
"""


@click.command(help=HELP)
@click.option(
    "--manifests",
    "paths",
    multiple=True,
    metavar="PATH",
    help="File, folder (recursively *.yaml, *.yml, *.json) or - for standard input; repeatable. "
    "A file that --format json or yaml wrote is taken as that plan.",
)
@click.argument("more", nargs=-1, metavar="[PATH]...")
@click.option(
    "--kubeconfig",
    metavar="FILE",
    help="Read the cluster of this kubeconfig; --manifests are laid over it, as applied.",
)
@click.option(
    "--edges",
    metavar="FILE",
    help="Inventory document: edges, pools, peers, modes. Without it one edge is assumed.",
)
@click.option("--explain", "about", metavar="NAMESPACE/NAME", help="Tell about one Service, why.")
@click.option(
    "--diff",
    "others",
    multiple=True,
    metavar="OTHER",
    help="Compare with OTHER (as --manifests) instead of the input; repeatable.",
)
@click.option(
    "--what-if",
    "changes",
    multiple=True,
    metavar="PATH",
    help="Compare with the input after these manifests were applied; repeatable.",
)
@click.option(
    "--diff-edges", metavar="FILE", help="Compare with this inventory document instead of --edges."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Text for people, or data.",
)
@click.option("--all", "everything", is_flag=True, help="Text: list everything, sum up nothing.")
def plan(paths: tuple[str, ...], more: tuple[str, ...], **options: Any) -> None:
    """See HELP; `more` lets `--manifests a.yaml b.yaml` work as people write it."""
    asked = _Asked(paths=(*paths, *more), loose=bool(more), **options)
    try:
        status = asked.run()
    except UsageError as error:
        _complain(error)
        status = UNUSABLE
    except FairleadError as error:
        _complain(error)
        status = UNUSABLE if asked.compares else UNREADABLE
    sys.exit(status)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, checked and carried out; `loose`: some paths had no option before them."""

    paths: tuple[str, ...]
    loose: bool
    kubeconfig: str | None
    edges: str | None
    about: str | None
    others: tuple[str, ...]
    changes: tuple[str, ...]
    diff_edges: str | None
    style: str
    everything: bool

    @property
    def compares(self) -> bool:
        """Whether two plans are to be compared."""
        return bool(self.others or self.changes or self.diff_edges)

    def run(self) -> int:
        """Do what is asked; returns the exit status."""
        self._check()
        inventory = load_inventory(self.edges)
        given = read_input(self.paths, self.kubeconfig)
        if self.compares:
            return self._compare(given, inventory)
        if self.about is not None:
            return self._explain(given, inventory, _service_key(self.about))
        return self._show(given, inventory)

    def _check(self) -> None:
        if not self.paths and self.kubeconfig is None:
            raise UsageError(
                "nothing to plan: name --manifests PATH (- for standard input) or --kubeconfig FILE"
            )
        named = [*self.paths, *self.others, *self.changes, self.edges, self.diff_edges]
        if named.count(STDIN) > 1:
            raise UsageError("standard input (-) can be read only once")
        if self.loose and (self.others or self.changes):
            raise UsageError(
                "a PATH without an option could belong to either side: repeat --manifests, --diff "
                "or --what-if before each"
            )
        if self.about is not None and self.compares:
            raise UsageError("--explain tells about one plan: leave out --diff and its like")
        if self.others and self.changes:
            raise UsageError("--diff names the whole other input, --what-if a part: choose one")

    def _show(self, given: Input, inventory: Inventory) -> int:
        if given.saved is None:
            snapshot = given.snapshot(inventory)
            _note(notes(snapshot, inventory, with_edges=self.edges is not None))
        made = given.plan(inventory)
        if self.style == "table":
            from fairlead.cli.tables import plan_text  # noqa: PLC0415  # only text needs it

            click.echo(plan_text(made, everything=self.everything))
        else:
            _print_data(plan_to_dict(made), self.style)
        return _say_errors(made)

    def _explain(self, given: Input, inventory: Inventory, key: ObjectKey) -> int:
        # Imported here, as all that a plain plan can do without: it must start fast.
        from fairlead.planner.explain import UnknownServiceError, explain  # noqa: PLC0415

        snapshot = given.snapshot(inventory)
        _note(notes(snapshot, inventory, with_edges=self.edges is not None))
        try:
            story, made = explain(snapshot, inventory, key)
        except UnknownServiceError as unknown:
            broken = [error for error in snapshot.errors if _is_about(error, key)]
            if not broken:
                raise UsageError(str(unknown)) from None
            return _say_errors(Plan(errors=tuple(broken)))
        if self.style == "table":
            from fairlead.cli.explain_text import explanation_text  # noqa: PLC0415

            click.echo(explanation_text(story))
        else:
            _print_data(story, self.style)
        return _say_errors(made)

    def _compare(self, given: Input, inventory: Inventory) -> int:
        from fairlead.cli.diff_text import diff_text  # noqa: PLC0415
        from fairlead.diff.plans import compare_plans  # noqa: PLC0415

        other, names = self._other(given)
        changed = load_inventory(self.diff_edges) if self.diff_edges else inventory
        before = given.plan(inventory)
        if self.others:
            after = other.plan(changed)
        else:  # a change is judged at rest: the input's own plan is in force when it comes
            before, after = at_rest(given, inventory, before), at_rest(other, changed, before)
        diff = compare_plans(before, after)
        if self.style != "table":
            _print_data(diff, self.style)
        elif not diff.same:
            click.echo(diff_text(diff, names, everything=self.everything))
        broken = [_say_errors(one) for one in (before, after)]
        return max(*broken, 0 if diff.same else DIFFERENT)

    def _other(self, given: Input) -> tuple[Input, tuple[str, str]]:
        """The other side of a comparison, and the names of both."""
        other = given
        if self.others:
            other = read_input(self.others)
        elif self.changes:
            other = read_input(self.changes).over(given)
        edges = self.edges or "the assumed edge"
        if self.diff_edges:
            return other, (f"{given.name}, {edges}", f"{other.name}, {self.diff_edges}")
        return other, (given.name, other.name)


def _service_key(text: str) -> ObjectKey:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise UsageError(f"--explain {text}: name the Service as NAMESPACE/NAME, e.g. default/web")
    return ObjectKey(namespace, name)


def _is_about(error: ObjectError, key: ObjectKey) -> bool:
    return error.kind == "Service" and (error.namespace or "default", error.name) == key


def _print_data(data: object, style: str) -> None:
    encoded = msgspec.json.encode(data)
    if style == "json":
        click.echo(msgspec.json.format(encoded, indent=2))
        return
    import yaml  # noqa: PLC0415  # read already for manifests, not for a cluster

    data = msgspec.json.decode(encoded)  # lists and mappings, whatever it was before
    click.echo(yaml.safe_dump(data, sort_keys=False, width=100), nl=False)


def _note(texts: Iterable[str]) -> None:
    for text in texts:
        click.echo(f"fairlead: note: {text}", err=True)


def _complain(error: FairleadError) -> None:
    click.echo(f"fairlead: {clean(str(error))}", err=True)


def _say_errors(made: Plan) -> int:
    """Name the objects that could not be used; returns the exit status for them."""
    for error in made.errors:
        click.echo(f"fairlead: {clean(error_text(error))}", err=True)
    return UNUSABLE if made.errors else 0


def error_text(error: ObjectError) -> str:
    """One line: where, what, why."""
    place = f"{error.file}, document {error.document}" if error.file else "cluster"
    key = f"{error.namespace}/{error.name}" if error.namespace else error.name
    thing = " ".join(part for part in (error.kind, key) if part)
    parts: Sequence[str] = (place, thing, error.field, error.message)
    return ": ".join(part for part in parts if part)
