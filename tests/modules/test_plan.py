# SPDX-License-Identifier: Apache-2.0
"""`plan`: the package's planner as a task."""

import json

import pytest
import yaml

from fairlead.planner.encode import edge_plan_from_dict
from support.modules import REPOSITORY, fail_module, run_module

EXAMPLES = REPOSITORY / "examples"
INVENTORY = yaml.safe_load((EXAMPLES / "edges.yaml").read_text())
MANIFESTS = [str(EXAMPLES / "cluster")]
BROKEN = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "broken", "namespace": "web"},
    "spec": {"type": "LoadBalancer", "ports": [{"port": 99999}]},
}
GREEDY = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "greedy", "namespace": "web"},
    "spec": {
        "type": "LoadBalancer",
        "loadBalancerIP": "198.51.100.1",
        "ports": [{"port": 80, "protocol": "TCP"}],
    },
}


def test_is_what_the_command_prints():
    result = run_module("plan", {"inventory": INVENTORY, "manifests": MANIFESTS})
    twin = json.loads((REPOSITORY / "tests/golden/plan/example.json").read_text())
    assert result["plan"]["edges"] == twin["edges"]
    assert not result["changed"]
    assert result["pools"] == sorted(
        [
            "192.168.1.240-192.168.1.250",
            "192.168.2.0-192.168.2.15",
            "192.168.3.1-192.168.3.2",
            "203.0.113.0-203.0.113.7",
            "fd00:1::240-fd00:1::250",
        ]
    )


def test_objects_and_manifests_give_the_same_plan():
    objects = [
        document
        for path in sorted((EXAMPLES / "cluster").iterdir())
        for document in yaml.safe_load_all(path.read_text())
    ]
    by_objects = run_module("plan", {"inventory": INVENTORY, "objects": objects})
    by_manifests = run_module("plan", {"inventory": INVENTORY, "manifests": MANIFESTS})
    assert by_objects["plan"] == by_manifests["plan"]


def test_every_slice_is_what_the_modules_for_edges_take():
    result = run_module("plan", {"inventory": INVENTORY, "manifests": MANIFESTS}, check=True)
    for part in result["plan"]["edges"].values():
        assert edge_plan_from_dict(part).virtual_servers


def test_refusals_are_sentences():
    result = run_module("plan", {"inventory": INVENTORY, "objects": [GREEDY]})
    (refusal,) = result["refusals"]
    assert refusal.startswith("web/greedy: AllocationFailed: ")
    assert "198.51.100.1" in refusal


def test_a_broken_object_is_told_and_the_rest_is_planned():
    params = {"inventory": INVENTORY, "manifests": MANIFESTS, "objects": [BROKEN]}
    plan = run_module("plan", params)["plan"]
    (error,) = plan["errors"]
    assert (error["file"], error["document"], error["name"]) == ("objects", 1, "broken")
    assert error["field"] == "spec.ports[0].port"
    assert any(service["name"] == "postgresql-external" for service in plan["services"])
    said = fail_module("plan", {**params, "strict": True})
    assert said.startswith("objects document 1: Service web/broken: spec.ports[0].port: ")


@pytest.mark.parametrize(
    ("inventory", "said"),
    [
        ({"edges": [{"name": "e", "address": "x"}]}, "edges[0].address: 'x' is not an IP address"),
        ({"edges": [], "pols": []}, "unknown field `pols`"),
        ({"pools": [{"name": "p", "addresses": ["10.0.0.0/99"]}]}, "pools[0].addresses[0]: "),
        ({"service_sync": "playbook"}, "service_sync: 'playbook' is not offered: "),
        (
            # As Ansible hands over communities: [64512:10].
            {"bgp_advertisements": [{"name": "all", "communities": [64512 * 60 + 10]}]},
            "bgp_advertisements[0].communities[0]: Expected `str`, got `int`: put quotes around it",
        ),
        ({"scheduler": "best"}, "scheduler: 'best' is not one of mh, "),
    ],
)
def test_bad_input_names_the_field(inventory, said):
    message = fail_module("plan", {"inventory": inventory})
    assert message.startswith("inventory: ")
    assert said in message


def test_missing_manifests_are_named():
    missing = {"inventory": INVENTORY, "manifests": ["/nonexistent/manifests"]}
    assert fail_module("plan", missing) == "/nonexistent/manifests: no such file or folder"
