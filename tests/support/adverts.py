# SPDX-License-Identifier: Apache-2.0
"""Short words for advertisements, peers and edges, so that a table has one row per rule."""

from ipaddress import ip_address
from typing import Any

import msgspec

from fairlead.model.inventory import BgpSettings, Edge, Inventory, VrrpSettings
from fairlead.model.names import Announce
from fairlead.model.snapshot import Snapshot
from fairlead.planner.plan import make_plan
from fairlead.snapshot.inventory_adverts import peer_entries
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from support.build import eps, node, pool, svc

EDGES = (
    Edge(name="edge1", address=ip_address("10.9.0.11"), labels={"rack": "a"}),
    Edge(name="edge2", address=ip_address("10.9.0.12"), labels={"rack": "b"}, interfaces=("eth1",)),
)
NODES = (node("n1", "192.0.2.101", "fd00:2::1"), node("n2", "192.0.2.102", "fd00:2::2"))
POOLS = (
    pool("p", "10.0.0.0/28", labels={"zone": "blue"}),
    pool("q", "10.0.1.0/28"),
    pool("six", "fd00::/120"),
)
RACK_A = {"matchLabels": {"rack": "a"}}
WEB = {"matchLabels": {"tier": "web"}}

APIS = {"BGPPeer": "metallb.io/v1beta2"}


def document(kind: str, name: str = "x", *, api: str = "", **spec: Any) -> dict[str, Any]:
    """An object of metallb.io as a manifest."""
    return {
        "apiVersion": api or APIS.get(kind, "metallb.io/v1beta1"),
        "kind": kind,
        "metadata": {"name": name, "creationTimestamp": spec.pop("created", "2026-01-01")},
        "spec": spec,
    }


def l2(name: str = "l2", **spec: Any) -> dict[str, Any]:
    """An L2Advertisement."""
    return document("L2Advertisement", name, **spec)


def bgp(name: str = "bgp", **spec: Any) -> dict[str, Any]:
    """A BGPAdvertisement."""
    return document("BGPAdvertisement", name, **spec)


def peer(name: str, **spec: Any) -> dict[str, Any]:
    """A BGPPeer."""
    return document("BGPPeer", name, **{"myASN": 64512, "peerASN": 64500, **spec})


def config(*peers: dict[str, Any], **changes: Any) -> Inventory:
    """Two edges that announce both ways; two routers, one per family, unless others are given."""
    given = peers or (
        {"name": "tor", "address": "10.9.0.1", "asn": 64500},
        {"name": "spine", "address": "fd00:9::1", "asn": 64500},
    )
    base = Inventory(
        edges=EDGES,
        announce=(Announce.VRRP, Announce.BGP),
        bgp=BgpSettings(peers=peer_entries(given, ["edge1", "edge2"], 64512, "metallb-system")),
        vrrp=VrrpSettings(advertised_address="10.9.0.9/24"),
    )
    return msgspec.structs.replace(base, **changes)


def cluster(*objects: dict[str, Any], services=(), silent=()) -> Snapshot:
    """A cluster with these objects; Services have an endpoint except the silent ones."""
    read = snapshot_from_documents(Document("f.yaml", n + 1, o) for n, o in enumerate(objects))
    slices = [
        eps(str(one.key).removeprefix("default/"), "10.244.0.1@n1")
        for one in services
        if one.key.name not in silent
    ]
    return msgspec.structs.replace(
        read,
        services=tuple(services),
        slices=tuple(slices),
        slices_known=True,
        nodes=NODES,
        nodes_known=True,
        pools=(*POOLS, *read.pools),
    )


def one_service(**fields: Any):
    """The Service that most rows are about: holds 10.0.0.1 of pool `p`."""
    return svc("web", holds="10.0.0.1", note="p", **fields)


def planned(*objects: dict[str, Any], inventory: Inventory | None = None, **fields: Any):
    """The plan of that one Service among these objects."""
    services = fields.pop("services", None) or (one_service(**fields),)
    silent = fields.pop("silent", ())
    return make_plan(cluster(*objects, services=services, silent=silent), inventory or config())


def ways(plan, address: str = "10.0.0.1") -> dict[str, str]:
    """By which way each edge may announce an address: `{"edge1": "vrrp+bgp"}`."""
    return {
        name: "+".join(
            way.value
            for vip in edge.addresses
            if str(vip.address) == address
            for way in vip.announce
        )
        for name, edge in plan.edges.items()
    }


def routes(plan, edge: str = "edge1") -> list[str]:
    """Prefixes of an edge: `10.0.0.1/32 > tor [65000:1] 200`."""
    return [
        " ".join(
            filter(
                None,
                (
                    f"{r.prefix} > {','.join(r.peers)}",
                    f"[{' '.join(r.communities)}]" if r.communities else "",
                    str(r.local_pref) if r.local_pref is not None else "",
                ),
            )
        )
        for r in plan.edges[edge].bgp
    ]


def errors(plan) -> list[str]:
    """Objects that are left out: `Kind/name field`."""
    return [f"{e.kind}/{e.name} {e.field}" for e in plan.errors]
