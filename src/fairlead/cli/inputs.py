# SPDX-License-Identifier: Apache-2.0
"""What `fairlead plan` works on: manifests, a live cluster, a saved plan, the inventory."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from fairlead.cluster import manifests
from fairlead.cluster.manifests import STDIN, read_manifests
from fairlead.model.errors import FairleadError
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.plan import Plan
from fairlead.model.snapshot import Snapshot
from fairlead.planned import checked_plan
from fairlead.planner.decided import with_decisions
from fairlead.planner.encode import plan_from_json
from fairlead.planner.plan import make_plan
from fairlead.planner.requests import is_ours
from fairlead.snapshot.manifests import Document, DocumentError, snapshot_from_documents

ASSUMED_EDGE = Edge(name="edge1", address=IPv4Address(0))
"""Stands in without --edges, so that virtual servers can be shown; it has no address."""


class UsageError(FairleadError):
    """The command line asks for what can't be done."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison, or what is planned.

    Attributes:
        name: For headings.
        documents: Objects; () where `plan` was saved before.
        live: Whether a cluster was read.
        manifests: Whether manifests were.
    """

    name: str
    documents: tuple[Document | DocumentError, ...] = ()
    saved: Plan | None = None
    live: bool = False

    def over(self, other: "Input") -> "Input":
        """This input laid over another, as `kubectl apply` would do it."""
        if self.saved is not None or other.saved is not None:
            raise UsageError("a saved plan holds no objects: nothing can be laid over it")
        return Input(
            name=f"{other.name} with {self.name}",
            documents=(*other.documents, *self.documents),
            live=other.live or self.live,
        )

    def snapshot(self, inventory: Inventory) -> Snapshot:
        """The objects, typed.

        Raises:
            UsageError: It is a saved plan, which holds the outcome and not the objects.
        """
        if self.saved is not None:
            raise UsageError(f"{self.name} is a saved plan: it holds the outcome, not the reasons")
        return snapshot_from_documents(self.documents, pool_namespace=inventory.pool_namespace)

    def plan(self, inventory: Inventory) -> Plan:
        """The plan that was saved, or the one that is made of the objects."""
        if self.saved is not None:
            return self.saved
        return _planned(self.snapshot(inventory), inventory)


def read_input(paths: Sequence[str], kubeconfig: str | None = None) -> Input:
    """Read manifests or a saved plan, laid over a live cluster where one is named.

    Raises:
        FairleadError: A file or the cluster can't be read; the sentence says why.
    """
    documents = tuple(read_manifests(paths))
    name = " ".join("standard input" if path == STDIN else path for path in paths)
    saved = _saved(documents)
    given = Input(name=name, documents=documents if saved is None else (), saved=saved)
    if kubeconfig is None:
        return given
    live = Input(name=f"cluster of {kubeconfig}", documents=_cluster(kubeconfig), live=True)
    return given.over(live) if paths else live


def at_rest(given: Input, inventory: Inventory, past: Plan) -> Plan:
    """The plan of an input in whose cluster another plan was carried out before."""
    return _planned(with_decisions(given.snapshot(inventory), past), inventory)


def _planned(snapshot: Snapshot, inventory: Inventory) -> Plan:
    """The plan; that of the assumed edge is not held against what edges can have."""
    if ASSUMED_EDGE in inventory.edges:
        return make_plan(snapshot, inventory)
    return checked_plan(snapshot, inventory)


def load_inventory(path: str | None) -> Inventory:
    """The inventory document, or one edge with the defaults of everything.

    Raises:
        FairleadError: It can't be read or used; names the file and the field.
    """
    if path is None:
        return Inventory(edges=(ASSUMED_EDGE,))
    try:
        return manifests.load_inventory(path)
    except FairleadError as error:
        raise UsageError(str(error)) from None


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


def _saved(documents: Sequence[Document | DocumentError]) -> Plan | None:
    """The plan that `--format json` or `yaml` wrote, if that is what was given."""
    (first, *others) = documents or (None,)
    if not isinstance(first, Document) or others or not isinstance(first.content, Mapping):
        return None
    if "kind" in first.content or not {"services", "edges"} <= first.content.keys():
        return None
    try:
        return plan_from_json(msgspec.json.encode(first.content))
    except FairleadError as error:
        raise FairleadError(f"{first.file}: {error}") from None


def _cluster(kubeconfig: str) -> tuple[Document, ...]:
    # Imported here: the client takes half a second that offline use need not pay.
    from fairlead.cluster.client import KubeApi  # noqa: PLC0415
    from fairlead.cluster.listing import list_objects  # noqa: PLC0415

    objects = list_objects(KubeApi(Path(kubeconfig)))
    return tuple(Document("", 0, item) for item in objects)
