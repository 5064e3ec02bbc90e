# SPDX-License-Identifier: Apache-2.0
"""`fairlead plan --diff`, `--what-if`, `--diff-edges`, `--explain`: exit statuses and formats."""

import json
from pathlib import Path

import pytest
import yaml

from unit.cli.test_plan import BROKEN, POOL, SERVICE, run

OTHER_POOL = POOL.replace("10.0.0.1-10.0.0.9", "10.0.0.5-10.0.0.9")


@pytest.fixture
def now(tmp_path: Path) -> str:
    """One pool and one Service."""
    path = tmp_path / "now.yaml"
    path.write_text(POOL + SERVICE)
    return str(path)


@pytest.fixture
def then(tmp_path: Path) -> str:
    """The same with another pool."""
    path = tmp_path / "then.yaml"
    path.write_text(OTHER_POOL + SERVICE)
    return str(path)


def test_no_difference_is_status_0_and_silence(now: str) -> None:
    done = run("--manifests", now, "--diff", now)
    assert (done.exit_code, done.stdout) == (0, "")
    done = run("--manifests", now, "--diff", now, "--format", "json")
    assert json.loads(done.stdout) == {"same": True, "unchanged": 1, "services": [], "edges": []}


def test_a_difference_is_status_1_and_named(now: str, then: str) -> None:
    done = run("--manifests", now, "--diff", then)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"--- {now}", f"+++ {then}"]
    assert "~ default/web: 10.0.0.1 -> 10.0.0.5 (pool lan)" in lines
    assert "  - virtual server 10.0.0.1:80/TCP" in lines
    as_json = run("--manifests", now, "--diff", then, "--format", "json")
    as_yaml = run("--manifests", now, "--diff", then, "--format", "yaml")
    assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout)
    assert json.loads(as_json.stdout)["services"][0]["fate"] == "changed"


TROUBLE = {
    "an object of the input": (POOL + BROKEN, POOL, "Service bad"),
    "an object of the other": (POOL, POOL + BROKEN, "Service bad"),
    "no other": (POOL, None, "no such file"),
}


@pytest.mark.parametrize("row", TROUBLE)
def test_trouble_is_status_2(row: str, tmp_path: Path) -> None:
    before, after, says = TROUBLE[row]
    for name, text in (("a.yaml", before), ("b.yaml", after)):
        if text is not None:
            (tmp_path / name).write_text(text)
    done = run("--manifests", str(tmp_path / "a.yaml"), "--diff", str(tmp_path / "b.yaml"))
    assert done.exit_code == 2
    assert says in done.stderr


def test_what_if_lays_a_part_over_the_input_and_judges_it_at_rest(now: str, tmp_path: Path) -> None:
    """A pool that grows downwards moves nobody: the address that was given is kept."""
    later = tmp_path / "grown.yaml"
    later.write_text(POOL.replace("10.0.0.1-10.0.0.9", "10.0.0.0-10.0.0.9"))
    assert run("--manifests", now, "--what-if", str(later)).exit_code == 0
    later.write_text(OTHER_POOL)
    done = run("--manifests", now, "--what-if", str(later), "--format", "json")
    assert done.exit_code == 1
    (change,) = json.loads(done.stdout)["services"]
    assert (change["before"], change["after"]) == (["10.0.0.1"], ["10.0.0.5"])
    assert change["reason"].startswith('ClearAssignment: current IP for "default/web" not allowed')


def test_another_inventory_alone_is_compared_as_well(now: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one.conf", tmp_path / "two.conf"
    one.write_text("edges: [{name: e1, address: 192.0.2.1}]\nannounce: []")
    two.write_text("edges: [{name: e2, address: 192.0.2.2}]\nannounce: []")
    done = run("--manifests", now, "--edges", str(one), "--diff-edges", str(two))
    assert done.exit_code == 1
    assert "Edge e1 (gone)" in done.stdout
    assert "Edge e2 (new)" in done.stdout


@pytest.mark.parametrize("style", ["json", "yaml"])
def test_a_saved_plan_is_one_side_of_a_comparison(
    now: str, then: str, tmp_path: Path, style: str
) -> None:
    saved = tmp_path / f"saved.{style}"
    saved.write_text(run("--manifests", now, "--format", style).stdout)
    assert run("--manifests", str(saved), "--diff", now).exit_code == 0
    assert run("--manifests", now, "--diff", str(saved)).exit_code == 0
    assert run("--manifests", str(saved), "--diff", then).exit_code == 1
    assert run("--manifests", str(saved)).stdout == run("--manifests", now).stdout


def test_a_saved_plan_can_neither_be_explained_nor_laid_over(now: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(run("--manifests", now, "--format", "json").stdout)
    done = run("--manifests", str(saved), "--explain", "default/web")
    assert (done.exit_code, "not the reasons" in done.stderr) == (2, True)
    done = run("--manifests", now, "--what-if", str(saved))
    assert (done.exit_code, "nothing can be laid over it" in done.stderr) == (2, True)
    saved.write_text('{"services": [], "edges": {"e": {}}}')
    done = run("--manifests", str(saved))
    assert (done.exit_code, "not a plan" in done.output + str(done.exception)) == (1, True)


def test_an_explanation_as_text_and_as_data(now: str) -> None:
    text = run("--manifests", now, "--explain", "default/web")
    assert (text.exit_code, text.stdout.splitlines()[0]) == (0, "default/web")
    as_json = run("--manifests", now, "--explain", "default/web", "--format", "json")
    as_yaml = run("--manifests", now, "--explain", "default/web", "--format", "yaml")
    assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout)
    assert json.loads(as_json.stdout)["address"]["addresses"] == ["10.0.0.1"]


def test_a_service_that_cannot_be_used_is_explained_by_its_error(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(POOL + BROKEN)
    done = run("--manifests", str(path), "--explain", "default/bad")
    assert done.exit_code == 2
    assert "Service bad: spec.ports[0].port" in done.stderr


def test_control_characters_of_the_cluster_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    wish = '"10.0.0.1\\e[2J"'
    text = SERVICE.replace(
        "name: web", f"name: web, annotations: {{fairlead.io/scheduler: {wish}}}"
    )
    path.write_text(POOL + text)
    for arguments in ([], ["--explain", "default/web"]):
        done = run("--manifests", str(path), *arguments)
        assert "\x1b" not in done.stdout
        assert "10.0.0.1\\x1b[2J" in done.stdout


def test_large_plans_are_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    many = [SERVICE.replace("web", f"web{n:03}") for n in range(130)]
    path.write_text(POOL.replace("10.0.0.9", "10.0.0.70") + "".join(many))
    short = run("--manifests", str(path)).stdout
    assert len(short.splitlines()) < 170
    assert "lan   70" in short
    assert "The first 50 without an address (10 more; --all lists them):" in short
    assert "AllocationFailed" in short
    assert "70 addresses, 0 of them ready" in short
    assert "70 virtual servers of 70 Services" in short
    assert short.endswith("70 Services with an address, 60 without\n")
    whole = run("--manifests", str(path), "--all").stdout
    assert all(f"default/web{n:03}" in whole for n in range(130))


def test_large_differences_are_summed_up(now: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    many = [SERVICE.replace("web", f"web{n:03}") for n in range(70)]
    path.write_text(POOL.replace("10.0.0.9", "10.0.0.99") + "".join(many))
    short = run("--manifests", now, "--diff", str(path)).stdout
    assert short.splitlines()[3] == "Services: 71 different, 0 the same"
    assert "  and 21 more (--all lists them)" in short.splitlines()
    whole = run("--manifests", now, "--diff", str(path), "--all").stdout
    assert "more (--all" not in whole
    assert all(f"+ default/web{n:03}: " in whole for n in range(70))
