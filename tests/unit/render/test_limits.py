# SPDX-License-Identifier: Apache-2.0
"""Values at a limit: what the inventory lets through, the daemons' own parsers take, too.

`unit/cli/test_front_doors.py` has the same limits from their other side.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.model.snapshot import Snapshot
from fairlead.planned import checked_plan
from fairlead.render import render_bird, render_keepalived
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import Document, snapshot_from_documents

LONG = "f" * 15  # the longest name of an interface
EDGES = [
    {"name": "edge1", "address": "192.0.2.11", "address6": "2001:db8::11", "interface": LONG},
    {"name": "edge2", "address": "192.0.2.12", "address6": "2001:db8::12", "interface": LONG},
]
VRRP = {"advertised_address": "192.0.2.9/24"}
PEER = {"name": "tor", "address": "192.0.2.1", "asn": 64500}
ONE_EDGE = {
    "kind": "L2Advertisement",
    "apiVersion": "metallb.io/v1beta1",
    "metadata": {"name": "one", "namespace": "metallb-system"},
    "spec": {"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "edge1"}}]},
}
SERVICE = {
    "kind": "Service",
    "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
}


def rendered(change: dict[str, Any], snapshot: Snapshot | None = None) -> tuple[str, str]:
    """Both files of the first edge, as a front door lets them through without an error."""
    pools = [{"name": "p", "addresses": ["203.0.113.0/24"]}]
    announce = ["vrrp", "bgp"]
    document = {"edges": EDGES, "vrrp": VRRP, "announce": announce, "pools": pools, **change}
    inventory = inventory_from_dict(document)
    plan = checked_plan(snapshot or Snapshot(), inventory)
    assert not plan.errors
    own = plan.edges["edge1"]
    return render_keepalived(own.vrrp), render_bird(inventory.edges[0], own).text


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A network namespace that has the interface: keepalived asks for it."""
    name = f"fairlead-limits-{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "add", LONG, "type", "veth", "peer", "name", "other")
        yield name
    finally:
        _run("ip", "netns", "del", name)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "vrrp",
    [
        {"instance": "f" * 39},
        {"instance": "_A9.:-"},
        {"advert_interval": 0.01},
        {"advert_interval": 0.29},  # 28.999999999999996 hundredths in binary
        {"advert_interval": 40.95},
        {"vrid": 255},
        {"advertised_address": "192.0.2.9/32"},
    ],
)
def test_keepalived_takes_what_passes(vrrp: dict[str, Any], namespace: str, tmp_path: Path) -> None:
    objects = [Document("m", number, one) for number, one in enumerate((ONE_EDGE, SERVICE), 1)]
    text, _ = rendered({"vrrp": {**VRRP, **vrrp}}, snapshot_from_documents(objects))
    assert text.count("vrrp_instance") == 2  # the inventory's, and one whose name is derived
    (tmp_path / "vrrp.conf").write_text(text)
    _run("ip", "netns", "exec", namespace, "keepalived", "-t", "-f", str(tmp_path / "vrrp.conf"))


@pytest.mark.parametrize(
    "peer",
    [
        {"name": ".".join(["x" * 60] * 4)},
        {"password": "x" * 80},
        {"hold_time": 65535, "keepalive_time": 3},
        {"connect_time": 65535, "port": 65535},
        {"asn": 4294967295, "my_asn": 4294967295},
        {"vrf": "v" * 15, "router_id": "255.255.255.255"},
        {"bfd": {"interval": 60, "multiplier": 255}},
        {"dual_stack": True, "source_address": "192.0.2.99"},
        {"address": None, "interface": "i" * 15},
    ],
)
def test_bird_takes_what_passes(peer: dict[str, Any], tmp_path: Path) -> None:
    adverts = [
        {"name": "all", "local_pref": 4294967295, "communities": ["65535:65535", "0:0"]},
        {
            "name": "large",
            "local_pref": 4294967295,
            "communities": ["large:4294967295:4294967295:4294967295"],
        },
    ]
    change = {"bgp": {"peers": [{**PEER, **peer}]}, "bgp_advertisements": adverts}
    (tmp_path / "bird.conf").write_text(rendered(change)[1])
    _run("bird", "-p", "-c", str(tmp_path / "bird.conf"))


def test_bird_takes_the_file_of_an_edge_that_asks_for_more(tmp_path: Path) -> None:
    peer = {**PEER, "address": None, "interface": "eth1", "ebgp_multihop": True}
    inventory = inventory_from_dict(
        {"edges": EDGES[:1], "announce": ["bgp"], "bgp": {"peers": [peer]}}
    )
    plan = checked_plan(Snapshot(), inventory)
    assert [error.field for error in plan.errors] == ["bgp.peers[tor].ebgp_multihop"]
    (tmp_path / "bird.conf").write_text(render_bird(inventory.edges[0], plan.edges["edge1"]).text)
    _run("bird", "-p", "-c", str(tmp_path / "bird.conf"))
