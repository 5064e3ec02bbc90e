# SPDX-License-Identifier: Apache-2.0
"""Nodes as real servers: their addresses, their order, and which may take traffic."""

from collections.abc import Iterable
from hashlib import shake_128
from struct import Struct
from zlib import crc32

from fairlead.model.kube import Node
from fairlead.model.names import Family, IPAddress, ObjectKey

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
DELETION_TAINTS = frozenset(
    {
        "ToBeDeletedByClusterAutoscaler",
        "DeletionCandidateOfClusterAutoscaler",
        "karpenter.sh/disrupted",
        "node.cloudprovider.kubernetes.io/shutdown",
        "node.kubernetes.io/out-of-service",
    }
)
"""Taints of a node that is about to go or already gone (KEP-3458 and its users)."""

_BUCKETS = 64
_SCORES = Struct(f"<{_BUCKETS}I")

Target = tuple[str, IPAddress]
"""A node's name and the address at which edges reach it."""


def admits_local(node: Node) -> bool:
    """Whether a node may serve its own endpoints (policy Local).

    Not by its Ready condition: where a node is NotReady its endpoints are unready already, and the
    cloud providers' controllers do likewise (KEP-3458). A cordon changes nothing.
    """
    return not local_obstacle(node)


def admits_cluster(node: Node) -> bool:
    """Whether a node may serve any endpoint (policy Cluster)."""
    return not cluster_obstacle(node)


def local_obstacle(node: Node) -> str:
    """Why a node may not serve even its own endpoints, "" if it may."""
    if EXCLUDE_LABEL in node.labels:
        return f"it carries the label {EXCLUDE_LABEL}"
    if node.network_unavailable:
        return "its condition NetworkUnavailable is true"
    taint = next((taint.key for taint in node.taints if taint.key in DELETION_TAINTS), "")
    return f"it carries the taint {taint}" if taint else ""


def cluster_obstacle(node: Node) -> str:
    """Why a node may not serve any endpoint (policy Cluster), "" if it may."""
    return local_obstacle(node) if node.ready else "it is NotReady"


class NodeIndex:
    """Nodes of the cluster, arranged for the questions that shaping asks. Immutable once built."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._local: dict[Family, dict[str, IPAddress]] = {family: {} for family in Family}
        self._rank: dict[Family, dict[str, int]] = {}
        self._cluster: dict[Family, tuple[Target, ...]] = {}
        self._members: dict[Family, dict[str, IPAddress]] = {}
        self._buckets: dict[Family, list[list[tuple[int, Target]]]] = {}
        for family in Family:
            self._index(family, sorted(nodes, key=lambda node: node.name))

    def _index(self, family: Family, nodes: list[Node]) -> None:
        version = 4 if family is Family.IPV4 else 6
        found: list[tuple[int, Node, IPAddress]] = []
        for node in nodes:
            address = next((a for a in node.addresses if a.version == version), None)
            if address is not None:
                found.append((int(address), node, address))
        found.sort(key=lambda row: (row[0], row[1].name))
        self._rank[family] = {node.name: rank for rank, (_, node, _) in enumerate(found)}
        self._local[family] = {n.name: address for _, n, address in found if admits_local(n)}
        eligible = tuple((node.name, a) for _, node, a in found if admits_cluster(node))
        self._cluster[family] = eligible
        self._members[family] = dict(eligible)
        buckets: list[list[tuple[int, Target]]] = [[] for _ in range(_BUCKETS)]
        for target in eligible:
            score = crc32(target[0].encode())
            buckets[score % _BUCKETS].append((score, target))
        self._buckets[family] = buckets

    def reach(self, name: str) -> tuple[tuple[IPAddress, ...], tuple[IPAddress, ...]]:
        """Addresses at which a node may serve: its own endpoints, and any endpoint."""
        local = [self._local[family].get(name) for family in Family]
        cluster = [self._members[family].get(name) for family in Family]
        return tuple(filter(None, local)), tuple(filter(None, cluster))

    def local(self, names: Iterable[str], family: Family) -> list[Target]:
        """Those of the named nodes that may serve their own endpoints, by address."""
        addresses, rank = self._local[family], self._rank[family]
        known = [name for name in names if name in addresses]
        known.sort(key=rank.__getitem__)
        return [(name, addresses[name]) for name in known]

    def cluster(self, service: ObjectKey, family: Family, limit: int) -> list[Target]:
        """At most `limit` nodes for a Service of policy Cluster, by address.

        Rendezvous hashing in two steps, because 10,000 Services x 1,000 nodes are too many hashes:
        each Service ranks 64 buckets of nodes, and the nodes within the last bucket it reaches.
        The rank of a node depends on nothing but the two names, so every edge chooses the same,
        and one node's coming or going changes one entry.
        """
        eligible = self._cluster[family]
        if len(eligible) <= limit:
            return list(eligible)
        seed = str(service).encode()
        scores = _SCORES.unpack(shake_128(seed).digest(_SCORES.size))
        chosen: list[Target] = []
        for bucket in sorted(range(_BUCKETS), key=scores.__getitem__):
            members = self._buckets[family][bucket]
            room = limit - len(chosen)
            if len(members) > room:
                salt = scores[bucket] | 1
                ranked = sorted(members, key=lambda row: (row[0] * salt & 0xFFFFFFFF, row[1][0]))
                chosen += [target for _, target in ranked[:room]]
                break
            chosen += [target for _, target in members]
        rank = self._rank[family]
        chosen.sort(key=lambda target: rank[target[0]])
        return chosen
