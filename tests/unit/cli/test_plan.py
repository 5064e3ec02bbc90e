# SPDX-License-Identifier: Apache-2.0
"""`fairlead plan` and the group: formats, exit statuses, notes, what is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fairlead import __version__
from fairlead.cli.main import cli

SERVICE = """
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
"""
POOL = """
kind: IPAddressPool
apiVersion: metallb.io/v1beta1
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [10.0.0.1-10.0.0.9]}
---
"""
BROKEN = "{kind: Service, metadata: {name: bad}, spec: {ports: [{port: 0}]}}\n"


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments], input=stdin)


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    (tmp_path / "m.yaml").write_text(POOL + SERVICE)
    return str(tmp_path)


def test_json_yaml_and_table_say_the_same(manifests: str) -> None:
    as_json = run("--manifests", manifests, "--format", "json")
    as_yaml = run("--manifests", manifests, "--format", "yaml")
    table = run("--manifests", manifests)
    assert {as_json.exit_code, as_yaml.exit_code, table.exit_code} == {0}
    plan = json.loads(as_json.stdout)
    assert plan == yaml.safe_load(as_yaml.stdout)
    assert plan["services"][0]["addresses"] == ["10.0.0.1"]
    assert plan["edges"]["edge1"]["virtual_servers"][0]["port"] == 80
    for word in ("default/web", "10.0.0.1", "lan", "edge1"):
        assert word in table.stdout


def test_standard_input_and_several_paths(manifests: str) -> None:
    done = run(
        "--manifests",
        manifests,
        "--manifests",
        "-",
        "--format",
        "json",
        stdin=SERVICE.replace("web", "other"),
    )
    assert [s["name"] for s in json.loads(done.stdout)["services"]] == ["other", "web"]
    done = run(
        "--manifests", "-", manifests, "--format", "json", stdin=SERVICE.replace("web", "other")
    )
    assert len(json.loads(done.stdout)["services"]) == 2


def test_a_refusal_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        POOL
        + SERVICE.replace("name: web", "name: web, annotations: {metallb.io/address-pool: nowhere}")
    )
    done = run("--manifests", str(path), "--format", "json")
    assert done.exit_code == 0
    assert 'unknown pool "nowhere"' in json.loads(done.stdout)["services"][0]["refusal"]["message"]


def test_an_object_that_cannot_be_used_is_named_and_the_rest_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(POOL + SERVICE + BROKEN)
    done = run("--manifests", str(path), "--format", "json")
    assert done.exit_code == 2
    assert f"{path}, document 3: Service bad: spec.ports[0].port: " in done.stderr
    plan = json.loads(done.stdout)
    assert [service["name"] for service in plan["services"]] == ["web"]
    assert plan["errors"] == [
        {
            "file": str(path),
            "document": 3,
            "kind": "Service",
            "namespace": "",
            "name": "bad",
            "field": "spec.ports[0].port",
            "message": "Expected `int` >= 1",
        }
    ]


def test_notes_say_what_the_input_lacks(manifests: str) -> None:
    done = run("--manifests", manifests)
    assert "no --edges" in done.stderr
    assert "no EndpointSlices" in done.stderr
    empty = run("--manifests", "-", stdin="{kind: Node, metadata: {name: n}}")
    assert "no Service of type LoadBalancer" in empty.stderr


@pytest.mark.parametrize("form", ["documents", "list", "typed-list", "json"])
def test_every_form_of_manifests_gives_the_same_plan(form: str, tmp_path: Path) -> None:
    objects = [yaml.safe_load(text) for text in (POOL.strip(" -\n"), SERVICE.strip(" -\n"))]
    typed = {key: value for key, value in objects[1].items() if key not in ("kind", "apiVersion")}
    texts = {
        "documents": {"all.yml": yaml.safe_dump_all(objects)},
        "list": {"all.yaml": yaml.safe_dump({"kind": "List", "items": objects})},
        "typed-list": {
            "pools.yaml": yaml.safe_dump(objects[0]),
            "deep/er/services.yaml": yaml.safe_dump(
                {"kind": "ServiceList", "apiVersion": "v1", "items": [typed]}
            ),
        },
        "json": {
            "pool.json": json.dumps(objects[0]),
            "service.json": json.dumps(objects[1]),
            "notes.txt": "no manifest",
        },
    }
    for name, text in texts[form].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = run("--manifests", str(tmp_path), "--format", "json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["services"][0]["addresses"] == ["10.0.0.1"]


def test_without_slices_all_is_planned_but_real_servers(manifests: str) -> None:
    done = run("--manifests", manifests, "--format", "json")
    (server,) = json.loads(done.stdout)["edges"]["edge1"]["virtual_servers"]
    assert (server["address"], server["real_servers"]) == ("10.0.0.1", [])
    assert "no EndpointSlices in the input: real servers are empty" in done.stderr
    assert "no EndpointSlices" in run("--manifests", manifests, "--explain", "default/web").stdout


USAGE = {
    "no-input": ([], 2, "--manifests PATH (- for standard input) or --kubeconfig FILE"),
    "two-stdins": (["--manifests", "-", "--edges", "-"], 2, "read only once"),
    "explain-what": (["--manifests", "-", "--explain", "web"], 2, "NAMESPACE/NAME"),
    "explain-nobody": (["--manifests", "-", "--explain", "a/b"], 2, "no Service a/b in the input"),
    "explain-a-difference": (
        ["--manifests", "-", "--explain", "a/b", "--diff", "x"],
        2,
        "leave out --diff",
    ),
    "diff-and-what-if": (["--manifests", "-", "--diff", "x", "--what-if", "y"], 2, "choose one"),
    "loose-path": (["--manifests", "-", "--diff", "x", "y"], 2, "repeat --manifests, --diff"),
    "unknown-format": (["--manifests", "-", "--format", "xml"], 2, "xml"),
    "missing-inventory": (["--manifests", "-", "--edges", "/nonexistent"], 2, "can't be read"),
}


@pytest.mark.parametrize("row", USAGE)
def test_usage(row: str) -> None:
    arguments, status, says = USAGE[row]
    done = run(*arguments)
    assert done.exit_code == status
    assert says in done.stderr


def test_a_mistake_in_the_inventory_names_its_field(tmp_path: Path, manifests: str) -> None:
    edges = tmp_path / "edges.conf"
    edges.write_text("edges: [{name: e, address: x}]")
    done = run("--manifests", manifests, "--edges", str(edges))
    assert done.exit_code == 2
    assert "edges[0].address" in done.stderr


def fairlead(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = str(Path(sys.executable).with_name("fairlead"))
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False)


def test_a_missing_file_is_one_sentence() -> None:
    done = fairlead("plan", "--manifests", "/nonexistent.yaml")
    assert (done.returncode, done.stderr) == (
        1,
        "fairlead: /nonexistent.yaml: no such file or folder\n",
    )


def test_version_and_help() -> None:
    assert fairlead("version").stdout == f"{__version__}\n"
    assert fairlead("--version").stdout == f"{__version__}\n"
    listed = fairlead("--help").stdout
    assert all(verb in listed for verb in ("agent", "plan", "status", "version"))
    assert "Exit status:" in fairlead("plan", "--help").stdout
    assert fairlead("fly").returncode == 2


def test_plan_imports_neither_the_cluster_nor_the_kernel(manifests: str) -> None:
    code = (
        "import sys\n"
        "from fairlead.cli.main import cli\n"
        f"cli(['plan', '--manifests', {manifests!r}, '--format', 'json'], standalone_mode=False)\n"
        "heavy = {'kubernetes', 'pyroute2', 'urllib3', 'prometheus_client'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
