# SPDX-License-Identifier: Apache-2.0
"""The one table of kinds: what is read of a cluster, what is written to it, and with which rights.

Watches, the list of a playbook, the rules of the edges' account and what a manifest may hold all
follow from it; to read another kind is to add a row. It stands here and not in `fairlead.cluster`,
since manifests are read without a cluster.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from fairlead.snapshot.adverts import bgp_from_wire, community_from_wire, l2_from_wire
from fairlead.snapshot.objects import (
    ModelObject,
    field_error,
    namespace_from_wire,
    node_from_wire,
    service_from_wire,
    slice_from_wire,
)
from fairlead.snapshot.peers import as_v1beta2, peer_from_wire, profile_from_wire
from fairlead.snapshot.pools import pool_from_wire
from fairlead.snapshot.wire import (
    EndpointSliceWire,
    NamespaceWire,
    NodeWire,
    PoolWire,
    ServiceWire,
)
from fairlead.snapshot.wire_adverts import (
    BfdProfileWire,
    BgpAdvertisementWire,
    CommunityWire,
    L2AdvertisementWire,
    PeerWire,
)

METALLB: Final = "metallb.io"
_READ = ("get", "list", "watch")
# Slices that belong to a Service; those of headless ones are never ours and may be many.
_SLICES = "kubernetes.io/service-name,!service.kubernetes.io/headless"


class Place(Enum):
    """Namespaces in which edges look, or have rights."""

    EVERYWHERE = "all namespaces"
    POOLS = "the namespace of the objects of metallb.io"
    PEERS = "the namespace of BGP peers, if their passwords stand in Secrets"
    HOME = "the namespace of account and Lease"


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One kind.

    Attributes:
        plural: Name of the collection, in URLs and in RBAC.
        group: "" is the core group.
        versions: The first is asked of an API server; manifests may hold any of them.
        optional: Whether a cluster may lack the kind, or this account the right to it: that counts
            as an empty list.
        selector: labelSelector of lists and watches.
        watched: Where a watch looks.
        verbs, status_verbs: Rights to its objects, and to their subresource `status`.
        granted: Where these rights hold.
    """

    kind: str
    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    optional: bool = False
    selector: str = ""
    watched: Place = Place.EVERYWHERE
    verbs: tuple[str, ...] = _READ
    status_verbs: tuple[str, ...] = ()
    granted: Place = Place.EVERYWHERE

    @property
    def api_version(self) -> str:
        """What objects read from an API server have as `apiVersion`."""
        return self.api_versions[0]

    @property
    def api_versions(self) -> tuple[str, ...]:
        """Each `apiVersion` under which the kind can be read."""
        prefix = f"{self.group}/" if self.group else ""
        return tuple(f"{prefix}{version}" for version in self.versions)

    @property
    def rbac_name(self) -> str:
        """As RBAC's messages name it: `services`, `ipaddresspools.metallb.io`."""
        return f"{self.plural}.{self.group}".rstrip(".")

    @property
    def rights(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Pairs of a resource as a rule of RBAC names it and the verbs to it."""
        pairs = ((self.plural, self.verbs), (f"{self.plural}/status", self.status_verbs))
        return tuple((name, verbs) for name, verbs in pairs if verbs)

    def path(self, namespace: str = "") -> str:
        """URL path of the collection: in one namespace, or "" in all of them."""
        root = "apis" if self.group else "api"
        inside = f"namespaces/{namespace}/" if namespace else ""
        return f"/{root}/{self.api_version}/{inside}{self.plural}"


class Planned(Resource, frozen=True, kw_only=True):
    """One kind that a plan is made from.

    Attributes:
        wire: Struct of one object.
        parse: Wire struct to model value; raises ObjectFieldError.
    """

    wire: type[Any]
    parse: Callable[[Any], Any]


def _metallb(kind: str, plural: str, wire: type[Any], parse: Any, **columns: Any) -> Planned:
    columns = {"versions": ("v1beta1",), "watched": Place.POOLS, **columns}
    return Planned(
        kind=kind, plural=plural, group=METALLB, optional=True, wire=wire, parse=parse, **columns
    )


def _status_kind(kind: str, plural: str, *verbs: str) -> Resource:
    """A kind of metallb.io in which edges tell what they do; each keeps its own objects true."""
    return Resource(
        kind=kind,
        plural=plural,
        group=METALLB,
        versions=("v1beta1",),
        verbs=verbs,
        status_verbs=("patch",),
        granted=Place.POOLS,
    )


_PLANNED = (
    Planned(
        kind="Namespace",
        plural="namespaces",
        wire=NamespaceWire,
        parse=namespace_from_wire,
    ),
    Planned(kind="Node", plural="nodes", wire=NodeWire, parse=node_from_wire),
    Planned(
        kind="Service",
        plural="services",
        wire=ServiceWire,
        parse=service_from_wire,
        # The record of an allocation, and the note beside it that names the pool.
        status_verbs=("patch",),
    ),
    Planned(
        kind="EndpointSlice",
        plural="endpointslices",
        group="discovery.k8s.io",
        versions=("v1", "v1beta1"),
        wire=EndpointSliceWire,
        parse=slice_from_wire,
        selector=_SLICES,
    ),
    _metallb(
        "IPAddressPool",
        "ipaddresspools",
        PoolWire,
        pool_from_wire,
        watched=Place.EVERYWHERE,  # so that one in the wrong place is named and not missed
        status_verbs=("patch",),  # counters: how many addresses are in use, how many are left
    ),
    _metallb("L2Advertisement", "l2advertisements", L2AdvertisementWire, l2_from_wire),
    _metallb("BGPAdvertisement", "bgpadvertisements", BgpAdvertisementWire, bgp_from_wire),
    _metallb("BGPPeer", "bgppeers", PeerWire, peer_from_wire, versions=("v1beta2", "v1beta1")),
    _metallb("BFDProfile", "bfdprofiles", BfdProfileWire, profile_from_wire),
    _metallb("Community", "communities", CommunityWire, community_from_wire),
)
PLANNED: Final[Mapping[str, Planned]] = {one.kind: one for one in _PLANNED}
"""The kinds that a plan is made from, by name."""

SECRET: Final = Resource(
    kind="Secret",
    plural="secrets",
    optional=True,  # whoever uses no passwords need not grant it
    watched=Place.POOLS,
    granted=Place.PEERS,
)
"""Passwords of BGP sessions. RBAC knows names, not types, and which names peers use is not known
beforehand."""

RESOURCES: Final = (
    *_PLANNED,
    SECRET,
    # A repeated Event raises its count: read, then patch.
    Resource(kind="Event", plural="events", verbs=("create", "get", "patch")),
    Resource(
        kind="Lease",
        plural="leases",
        group="coordination.k8s.io",
        verbs=("create", "get", "update"),
        granted=Place.HOME,
    ),
    _status_kind("ServiceL2Status", "servicel2statuses", "create", "delete", "list"),
    _status_kind("ServiceBGPStatus", "servicebgpstatuses", "create", "delete", "list"),
    # Names are fixed, so each is looked at before it is made.
    _status_kind(
        "ConfigurationState", "configurationstates", "create", "delete", "get", "list", "patch"
    ),
)
"""Every kind that edges touch."""


def parse_object(kind: str, data: Mapping[str, Any]) -> ModelObject:
    """Parse one object of a manifest.

    Args:
        kind: One of `PLANNED`.
        data: The object as YAML or JSON gave it.

    Raises:
        ObjectFieldError: The object can't be used.
    """
    return convert_object(kind, wire_from_dict(kind, data))


def wire_from_dict(kind: str, data: Mapping[str, Any]) -> Any:
    """The wire struct of an object that a YAML parser gave; raises `ObjectFieldError`."""
    if kind == "BGPPeer":
        data = as_v1beta2(data)
    try:
        return msgspec.convert(_without_nulls(data), PLANNED[kind].wire)
    except msgspec.ValidationError as error:
        raise field_error(error) from None


def convert_object(kind: str, wire: Any) -> ModelObject:
    """The model of a decoded wire struct of this kind; raises `ObjectFieldError`."""
    parsed: ModelObject = PLANNED[kind].parse(wire)
    return parsed


def _without_nulls(value: Any) -> Any:
    """Drop nulls of mappings: `conditions: null` means the same as no conditions."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
