# SPDX-License-Identifier: Apache-2.0
"""The table of kinds, and what follows from it."""

from fairlead.cluster.feed import secret_target, targets
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from fairlead.snapshot.resources import METALLB, PLANNED, RESOURCES


def test_watches_look_where_the_table_says() -> None:
    found = {one.kind: one for one in targets("lb")}
    assert {kind: one.path for kind, one in found.items()} == {
        "Namespace": "/api/v1/namespaces",
        "Node": "/api/v1/nodes",
        "Service": "/api/v1/services",
        "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
        "IPAddressPool": "/apis/metallb.io/v1beta1/ipaddresspools",
        "L2Advertisement": "/apis/metallb.io/v1beta1/namespaces/lb/l2advertisements",
        "BGPAdvertisement": "/apis/metallb.io/v1beta1/namespaces/lb/bgpadvertisements",
        "BGPPeer": "/apis/metallb.io/v1beta2/namespaces/lb/bgppeers",
        "BFDProfile": "/apis/metallb.io/v1beta1/namespaces/lb/bfdprofiles",
        "Community": "/apis/metallb.io/v1beta1/namespaces/lb/communities",
    }
    optional = {kind for kind, one in found.items() if one.optional}
    assert optional == {kind for kind, one in PLANNED.items() if one.group == METALLB}
    assert "!service.kubernetes.io/headless" in found["EndpointSlice"].selector
    secrets = secret_target("lb")
    assert (secrets.path, secrets.optional) == ("/api/v1/namespaces/lb/secrets", True)


def test_manifests_may_hold_each_version_of_the_table_and_no_other_group() -> None:
    def read(version: str) -> int:
        peer = {"apiVersion": version, "kind": "BGPPeer", "metadata": {"name": "tor"}, "spec": {}}
        snapshot = snapshot_from_documents([Document("f", 1, peer)])
        return len(snapshot.bgp_peers) + len(snapshot.errors)

    assert [read(version) for version in PLANNED["BGPPeer"].api_versions] == [1, 1]
    assert read("example.com/v1beta2") == 0


def test_each_kind_stands_once() -> None:
    kinds = [one.kind for one in RESOURCES]
    assert len(kinds) == len(set(kinds))
    assert PLANNED["Service"].rbac_name == "services"
    assert PLANNED["IPAddressPool"].rbac_name == "ipaddresspools.metallb.io"
