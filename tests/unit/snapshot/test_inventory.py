# SPDX-License-Identifier: Apache-2.0
"""The inventory document: its defaults, and the field of every mistake."""

import pytest

from fairlead.model.errors import InventoryError
from fairlead.model.names import Announce, Forwarding
from fairlead.snapshot.inventory import inventory_from_dict

EDGE = {"name": "edge1", "address": "10.0.0.11"}
POOL = {"name": "p", "addresses": ["10.0.0.0/24"]}
PEER = {"name": "tor", "address": "10.0.0.1", "asn": 64500}


def test_everything() -> None:
    found = inventory_from_dict(
        {
            "edges": [
                {
                    **EDGE,
                    "address6": "fd00::11",
                    "interface": "ens3",
                    "priority": 7,
                    "router_id": "1.1.1.1",
                    "labels": {"a": "b"},
                }
            ],
            "pools": [
                {
                    **POOL,
                    "auto_assign": False,
                    "avoid_buggy_ips": True,
                    "service_allocation": {
                        "priority": 1,
                        "namespaces": ["x"],
                        "service_selectors": [{"match_labels": {"a": "b"}}],
                    },
                }
            ],
            "announce": ["bgp", "vrrp"],
            "forwarding": "pod",
            "scheduler": "wrr",
            "vrrp": {"vrid": 9, "advertised_address": "10.0.0.9/24"},
            "bgp": {"peers": [{**PEER, "bfd": True, "edges": ["edge1"], "password": "s"}]},
            "service_sync": "live",
            "load_balancer_class": "c",
            "pool_namespace": "lb",
            "nodes_per_service": 3,
            "announce_default": False,
            "hold_unready": True,
        }
    )
    assert found.announce == (Announce.VRRP, Announce.BGP)
    assert found.forwarding is Forwarding.POD
    assert found.pools[0].selection.service_selectors[0].match_labels == {"a": "b"}
    assert found.bgp.peers[0].bfd.multiplier == 3
    assert (found.vrrp.vrid, found.edges[0].priority, found.hold_unready) == (9, 7, True)


def test_a_pools_spec_may_be_pasted() -> None:
    found = inventory_from_dict(
        {
            "pools": [
                {
                    **POOL,
                    "autoAssign": False,
                    "avoidBuggyIPs": True,
                    "serviceAllocation": {"namespaceSelectors": [{"matchLabels": {"a": "b"}}]},
                }
            ]
        }
    )
    assert not found.pools[0].auto_assign
    assert found.pools[0].selection.namespace_selectors[0].match_labels == {"a": "b"}


def test_empty_and_single_way_of_announcing() -> None:
    assert inventory_from_dict({}).announce == (Announce.VRRP,)
    assert inventory_from_dict({"announce": "bgp"}).announce == (Announce.BGP,)


BAD = {
    "unknown-key": ({"edgs": []}, "document"),
    "edge-without-address": ({"edges": [{"name": "e"}]}, "edges[0]"),
    "edge-address": ({"edges": [{**EDGE, "address": "x"}]}, "edges[0].address"),
    "edge-twice": ({"edges": [EDGE, {**EDGE, "address": "10.0.0.12"}]}, "edges[1].name"),
    "edge-address-twice": ({"edges": [EDGE, {**EDGE, "name": "e2"}]}, "edges[1].address"),
    "edge-address6": ({"edges": [{**EDGE, "address6": "10.0.0.1"}]}, "edges[0].address6"),
    "edge-name": ({"edges": [{**EDGE, "name": "a b"}]}, "edges[0].name"),
    "interface": ({"edges": [{**EDGE, "interface": "eth0; rm"}]}, "edges[0].interface"),
    "priority": ({"edges": [{**EDGE, "priority": 255}]}, "edges[0].priority"),
    "reversed-range": (
        {"pools": [POOL, {"name": "q", "addresses": ["10.9.0.9-10.9.0.1"]}]},
        "pools[1].addresses[0]",
    ),
    "overlap": (
        {"pools": [POOL, {"name": "q", "addresses": ["10.0.0.9/32"]}]},
        "pools[1].addresses[0]",
    ),
    "pool-twice": ({"pools": [POOL, {"name": "p", "addresses": ["10.1.0.0/24"]}]}, "pools[1].name"),
    "pool-key": ({"pools": [{**POOL, "auto_asign": False}]}, "pools[0]"),
    "pool-empty": ({"pools": [{"name": "p"}]}, "pools[0].addresses"),
    "pool-selector": (
        {"pools": [{**POOL, "service_allocation": {"namespaces": ["a", "a"]}}]},
        "pools[0].service_allocation.namespaces[1]",
    ),
    "announce": ({"announce": ["arp"]}, "announce[0]"),
    "forwarding": ({"forwarding": "nat"}, "forwarding"),
    "scheduler": ({"scheduler": "maglev"}, "scheduler"),
    "service-sync": ({"service_sync": "playbook"}, "service_sync"),
    "vrid": ({"vrrp": {"vrid": 256}}, "vrrp.vrid"),
    "advertised-address": ({"vrrp": {"advertised_address": "x"}}, "vrrp.advertised_address"),
    "peer-asn": ({"bgp": {"peers": [{**PEER, "asn": 0}]}}, "bgp.peers[0].asn"),
    "peer-hold-time": ({"bgp": {"peers": [{**PEER, "hold_time": 2}]}}, "bgp.peers[0].hold_time"),
    "peer-edge": ({"bgp": {"peers": [{**PEER, "edges": ["e9"]}]}}, "bgp.peers[0].edges[0]"),
    "nodes-per-service": ({"nodes_per_service": 0}, "nodes_per_service"),
}


@pytest.mark.parametrize("row", BAD)
def test_a_mistake_names_its_field(row: str) -> None:
    data, field = BAD[row]
    with pytest.raises(InventoryError) as caught:
        inventory_from_dict(data)
    assert caught.value.field == field
