# SPDX-License-Identifier: Apache-2.0
"""`fairlead plan --kubeconfig`: the same plan from a cluster as from its manifests."""

import json
from pathlib import Path

import pytest

from fairlead.snapshot.resources import PLANNED
from unit.cli.test_plan import run
from unit.cluster.scripted_api import ScriptedApi, listing, reply, serving

SERVICE = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.7",
        "clusterIPs": ["10.96.0.7"],
        "ports": [{"port": 80, "protocol": "TCP"}],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.4"}]}},
}
POOL = {
    "metadata": {"name": "lan", "namespace": "metallb-system"},
    "spec": {"addresses": ["10.0.0.1-10.0.0.9"]},
}
FORBIDDEN = {"kind": "Status", "reason": "Forbidden", "message": "not for you", "code": 403}

server = pytest.fixture(serving)


def script(server: ScriptedApi, **found: list) -> None:
    for kind, one in PLANNED.items():
        server.on("GET", one.path(), reply(listing(1, *found.get(kind, ()))))


def test_a_cluster_is_planned_as_it_stands(server: ScriptedApi, tmp_path: Path) -> None:
    script(server, Service=[SERVICE], IPAddressPool=[POOL])
    config = str(server.kubeconfig(tmp_path))
    done = run("--kubeconfig", config, "--format", "json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["services"][0]["addresses"] == ["10.0.0.4"]
    assert {verb for verb, *_ in server.requests} == {"GET"}, "only reads"


def test_what_if_on_a_cluster(server: ScriptedApi, tmp_path: Path) -> None:
    script(server, Service=[SERVICE], IPAddressPool=[POOL])
    change = tmp_path / "pool.json"
    change.write_text(
        json.dumps(
            {
                "kind": "IPAddressPool",
                "apiVersion": "metallb.io/v1beta1",
                **POOL,
                "spec": {"addresses": ["10.0.0.6-10.0.0.9"]},
            }
        )
    )
    config = str(server.kubeconfig(tmp_path))
    done = run("--kubeconfig", config, "--what-if", str(change))
    assert done.exit_code == 1, done.stderr
    assert f"--- cluster of {config}" in done.stdout
    assert "~ default/web: 10.0.0.4 -> 10.0.0.6 (pool lan)" in done.stdout


def test_an_unusable_object_of_a_cluster_is_named(server: ScriptedApi, tmp_path: Path) -> None:
    bad = {**POOL, "spec": {"addresses": ["10.0.0.9-10.0.0.1"]}}
    script(server, Service=[SERVICE], IPAddressPool=[bad])
    done = run("--kubeconfig", str(server.kubeconfig(tmp_path)))
    assert done.exit_code == 2
    assert "cluster: IPAddressPool metallb-system/lan: spec.addresses[0]" in done.stderr


@pytest.mark.parametrize(("more", "status"), [([], 1), (["--diff", "-"], 2)])
def test_a_missing_right_is_one_sentence(
    server: ScriptedApi, tmp_path: Path, more: list[str], status: int
) -> None:
    for path in [one.path() for one in PLANNED.values()]:
        server.on("GET", path, reply(FORBIDDEN, 403))
    done = run("--kubeconfig", str(server.kubeconfig(tmp_path)), *more)
    assert done.exit_code == status
    assert "this account may not list namespaces, nodes, services" in done.stderr


def test_no_cluster_and_no_kubeconfig_are_sentences(server: ScriptedApi, tmp_path: Path) -> None:
    config = server.kubeconfig(tmp_path)
    server.stop()
    done = run("--kubeconfig", str(config))
    assert (done.exit_code, "API server: GET /api/v1/namespaces" in done.stderr) == (1, True)
    done = run("--kubeconfig", str(tmp_path / "none"))
    assert (done.exit_code, "kubeconfig" in done.stderr) == (1, True)
