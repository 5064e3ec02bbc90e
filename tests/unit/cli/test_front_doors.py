# SPDX-License-Identifier: Apache-2.0
"""What an edge can't have is refused by whoever reads the inventory first, in the same words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairlead.agent.config import load_config
from fairlead.agent.daemon import Agent
from fairlead.cli.main import cli
from fairlead.cli.status import _inventory
from fairlead.model.errors import FairleadError

EDGES = [
    {"name": "edge1", "address": "192.0.2.11", "labels": {"a": "b"}},
    {"name": "edge2", "address": "192.0.2.12"},
]
GOOD: dict[str, Any] = {
    "edges": EDGES,
    "pools": [{"name": "lan", "addresses": ["192.0.2.160-192.0.2.191"]}],
    "vrrp": {"advertised_address": "192.0.2.9/24"},
}
EDGES6 = [
    {"name": "edge1", "address": "2001:db8::11"},
    {"name": "edge2", "address": "2001:db8::12"},
]
PEER6 = {"name": "tor", "address": "2001:db8::1", "asn": 64500}
# Both edges lack an IPv6 address; the first peer is fine, its secret is in the cluster.
PEERS = """
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: one, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, passwordSecret: {name: tor}}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: two, namespace: metallb-system}
spec:
  {myASN: 64512, peerASN: 64500, peerAddress: "2001:db8::1", nodeSelectors: [{matchLabels: {a: b}}]}
"""


def vrrp(**changes: object) -> dict[str, Any]:
    """The VRRP settings with some of them changed."""
    return {"vrrp": {**GOOD["vrrp"], **changes}}


def written(folder: Path, inventory: dict[str, Any] | str) -> Path:
    """The document as a file; text as it is."""
    edges = folder / "edges.yaml"
    edges.write_text(inventory if isinstance(inventory, str) else json.dumps(inventory))
    return edges


def by_plan(folder: Path, inventory: dict[str, Any] | str) -> str:
    """What `fairlead plan` says, "" where it plans."""
    edges, manifests = written(folder, inventory), folder / "manifests"
    manifests.mkdir(exist_ok=True)
    done = CliRunner().invoke(cli, ["plan", "--edges", str(edges), "--manifests", str(manifests)])
    assert "Traceback" not in done.output
    return done.stderr if done.exit_code else ""


def by_agent(folder: Path, inventory: dict[str, Any] | str) -> str:
    """What the agent says at its start, "" where nothing is missing but the way to the cluster."""
    edges, config = written(folder, inventory), folder / "agent.yaml"
    kubeconfig = folder / "absent"
    config.write_text(f"edge: edge1\ninventory: {edges}\nkubeconfig: {kubeconfig}\n")
    with pytest.raises(FairleadError) as caught:
        Agent(load_config(config))
    said = str(caught.value)
    return "" if str(kubeconfig) in said else said


def by_status(folder: Path, inventory: dict[str, Any] | str) -> str:
    """What `fairlead status` says about the document, "" where nothing."""
    problems: list[str] = []
    _inventory(written(folder, inventory), problems)
    return "; ".join(problems)


DOORS = [by_plan, by_agent, by_status]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "service_sync": (
        {"service_sync": "playbook"},
        "service_sync: 'playbook' is not offered: nothing would write addresses or follow",
    ),
    "instance-with-a-blank": (vrrp(instance="my lan"), "vrrp.instance: 'my lan' must be 1 to 39 "),
    "instance-too-long": (vrrp(instance="x" * 40), "vrrp.instance: "),
    "interval": (vrrp(advert_interval=0.015), "vrrp.advert_interval: 0.015 must be a multiple"),
    "no-advertised-address": (
        vrrp(advertised_address=""),
        "vrrp.advertised_address: edge edge1: is missing",
    ),
    "interface": (
        {"edges": [{**EDGES[0], "interface": "br+lan"}, EDGES[1]]},
        "edges[0].interface: 'br+lan' is not an interface name",
    ),
    "interfaces": (
        {"edges": [{**EDGES[0], "interfaces": ["eth1:1"]}, EDGES[1]]},
        "edges[0].interfaces[0]: 'eth1:1' is not an interface name",
    ),
    "two-families": (
        {"edges": [EDGES[0], {"name": "edge2", "address": "2001:db8::12"}]},
        "edges[].address: edge edge1: 2001:db8::12 is not of the family of 192.0.2.11",
    ),
    "other-family-advertised": (
        {"edges": EDGES6},
        "vrrp.advertised_address: edge edge1: 192.0.2.9/24 is not of the family",
    ),
    "no-router-id": (
        {"edges": EDGES6, "announce": ["bgp"], "bgp": {"peers": [PEER6]}},
        "edges[edge1].router_id: edge edge1: BGP needs one, written as an IPv4 address",
    ),
    "router-id": (
        {"edges": [{**EDGES[0], "router_id": "2001:db8::1"}, EDGES[1]]},
        "edges[0].router_id: '2001:db8::1' is not an IPv4 address",
    ),
    "router-id-zero": (
        {"edges": [{**EDGES[0], "router_id": "0.0.0.0"}, EDGES[1]]},
        "edges[0].router_id: '0.0.0.0' is not an IPv4 address other than 0.0.0.0",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_edges_can_have_passes(door: Callable[..., str], tmp_path: Path) -> None:
    assert door(tmp_path, {**GOOD, "service_sync": "live"}) == ""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("row", BAD)
def test_what_edges_can_t_have_is_refused(
    door: Callable[..., str], row: str, tmp_path: Path
) -> None:
    change, said = BAD[row]
    assert said in door(tmp_path, {**GOOD, **change})


SESSIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no-address-of-the-family": ({}, "bgp.peers[tor].address: edge edge1 has no IPv6 address"),
    "bfd-echo": (
        {"address": "192.0.2.1", "bfd_profile": "e"},
        "bgp.peers[tor].bfd: echoMode: BIRD has no BFD echo",
    ),
}


@pytest.mark.parametrize("row", SESSIONS)
def test_a_session_that_an_edge_can_t_have_is_an_error_of_the_plan(
    row: str, tmp_path: Path
) -> None:
    change, said = SESSIONS[row]
    inventory = {
        **GOOD,
        "announce": ["bgp"],
        "bgp": {"peers": [{**PEER6, **change}]},
        "bfd_profiles": [{"name": "e", "echo_mode": True}],
    }
    assert said in by_plan(tmp_path, inventory)
    assert by_agent(tmp_path, inventory) == ""  # one session does not hold up the edge


def test_an_object_s_session_is_told_with_its_place_and_a_secret_is_no_error(
    tmp_path: Path,
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/peers.yaml").write_text(PEERS)
    said = by_plan(tmp_path, {**GOOD, "announce": ["bgp"]})
    assert said.count("BGPPeer") == 1
    assert f"{tmp_path}/manifests/peers.yaml, document 2: BGPPeer" in said
    assert "spec.peerAddress: edge edge1 has no IPv6 address" in said


DIALECT = """
edges: [{name: edge1, address: 192.0.2.11}]
announce: bgp
bgp: {peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}
bgp_advertisements: [{name: all, communities: [64512:10]}]
"""


@pytest.mark.parametrize("door", DOORS)
def test_all_speak_one_dialect_of_yaml(door: Callable[..., str], tmp_path: Path) -> None:
    assert door(tmp_path, DIALECT) == ""  # no number to the base of 60


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("text", "said"),
    [("edges: [", "edges.yaml: not YAML"), ("- edges", "edges.yaml must hold one mapping")],
)
def test_a_document_that_is_none_is_named_once(
    door: Callable[..., str], text: str, said: str, tmp_path: Path
) -> None:
    assert door(tmp_path, text).count(said) == 1
