# SPDX-License-Identifier: Apache-2.0
"""Modules run as Ansible runs them: the payload that Ansible sends, in a process of its own.

Every result is held against the module's RETURN section, so that no test needs to say it: the keys
that come back are those that are documented for that case, with the type that is documented.
"""

import ast
import functools
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import yaml

from fairlead.edge.netns import entered

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTION = REPOSITORY / "collections/ansible_collections/fairlead/edge"
MODULES = sorted(
    path.stem for path in (COLLECTION / "plugins/modules").glob("*.py") if path.stem != "__init__"
)
SYSTEM_PYTHON = "/usr/bin/python3"
SECONDS = 60

# Every result may have these; Ansible documents them once for all modules.
_COMMON = frozenset({"changed", "diff", "invocation", "msg", "failed", "warnings", "deprecations"})
# AnsibleModule itself adds these wherever there is a `path`.
_OF_A_PATH = frozenset({"uid", "gid", "owner", "group", "mode", "size", "state", "secontext"})
_TYPES = {"str": str, "bool": bool, "int": int, "list": list, "dict": dict}


class Place(Protocol):
    """Where a module runs: a machine, or a namespace that plays one."""

    def enter(self) -> Sequence[str]:
        """The command that runs another one there."""
        ...


class Inside(NamedTuple):
    """A network namespace, entered by a fork of this process.

    For kernels in which a start of Python takes most of a minute: what Ansible does around a module
    is shown elsewhere, the module and `AnsibleModule` are the real ones.
    """

    netns: str


def run_module(
    name: str,
    params: dict[str, Any],
    *,
    place: Place | Inside | None = None,
    python: str = sys.executable,
    check: bool = False,
) -> dict[str, Any]:
    """Run a module that must succeed; returns its result, without the invocation.

    Args:
        name: Short name, e.g. `vrrp`.
        params: Its parameters, as in a task.
        place: Where; None is this machine.
        python: What the inventory has for `ansible_python_interpreter`.
        check: Check mode.
    """
    result = _run(name, params, place, python, check)
    assert not result.get("failed"), result
    _matches_return_section(name, params, result)
    if result["changed"] and {"before", "after"} <= set(result.get("diff", ())):
        assert result["diff"]["before"] != result["diff"]["after"], result
    return result


def fail_module(
    name: str,
    params: dict[str, Any],
    *,
    place: Place | Inside | None = None,
    python: str = sys.executable,
    check: bool = False,
) -> str:
    """Run a module that must fail with a sentence; returns the sentence."""
    result = _run(name, params, place, python, check)
    assert result.get("failed"), result
    # An uncaught exception has a summary instead of a message.
    assert result.get("msg"), result
    assert "Traceback" not in result["msg"], result
    return result["msg"]


def _run(
    name: str, params: dict[str, Any], place: Place | Inside | None, python: str, check: bool
) -> dict[str, Any]:
    args = {**params, "_ansible_check_mode": check, "_ansible_diff": True}
    if isinstance(place, Inside):
        return _judged(name, *_fork(name, args, place.netns))
    where = place.enter() if place else ()
    done = subprocess.run(
        [*where, python, "-"],
        input=payload(name, args),
        capture_output=True,
        timeout=SECONDS,
        check=False,
        # Compiled once, not at every start: that is most of a module's time. Not into the tree,
        # which is read-only where a kernel is under test.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _compiled().name},
    )
    return _judged(name, done.returncode, done.stdout, done.stderr)


def _judged(name: str, status: int, stdout: bytes, stderr: bytes) -> dict[str, Any]:
    """What a module said; it says it as one JSON object on stdout, and nothing else anywhere."""
    text = stdout.decode().strip()
    assert text.startswith("{"), f"{name}: {text}\n{stderr.decode()}"
    assert not stderr, f"{name}: {stderr.decode()}"
    result: dict[str, Any] = json.loads(text)
    assert bool(result.get("failed")) == bool(status), (status, result)
    result.pop("invocation", None)
    return result


def _fork(name: str, args: dict[str, Any], netns: str) -> tuple[int, bytes, bytes]:
    """Run a module in a child of this process, inside a network namespace."""
    # What every module needs is imported here, once, and not in each child.
    for needed in ("ansible.module_utils.testing", "fairlead.edge.links", "pyroute2"):
        importlib.import_module(needed)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            _be_module(name, args, netns, stdout.fileno(), stderr.fileno())
        _, status = os.waitpid(child, 0)
        stdout.seek(0)
        stderr.seek(0)
        return os.waitstatus_to_exitcode(status), stdout.read(), stderr.read()


def _be_module(name: str, args: dict[str, Any], netns: str, stdout: int, stderr: int) -> NoReturn:
    from ansible.module_utils.testing import patch_module_args  # noqa: PLC0415

    status = 70
    try:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        # pytest has put its own in their place.
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.path.insert(0, str(REPOSITORY / "collections"))
        with entered(netns), patch_module_args(args):
            runpy.run_path(str(COLLECTION / f"plugins/modules/{name}.py"), run_name="__main__")
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:  # noqa: BLE001 - a child must never go on as a second pytest
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def payload(name: str, args: dict[str, Any]) -> bytes:
    """What Ansible would send to a machine for this task: one Python script with everything."""
    build, templar = _builder()
    built = build(
        module_name=f"fairlead.edge.{name}",
        module_path=str(COLLECTION / f"plugins/modules/{name}.py"),
        module_args=args,
        templar=templar,
        task_vars={
            "ansible_playbook_python": sys.executable,
            "ansible_python_interpreter": SYSTEM_PYTHON,
        },
    )
    data: bytes = built.b_module_data
    return data


@functools.cache
def _compiled() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="fairlead-compiled-")


@functools.cache
def _builder() -> tuple[Any, Any]:
    # Late: importing Ansible's executor takes a second, and only module tests need it.
    from ansible.executor.module_common import modify_module  # noqa: PLC0415
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
    from ansible.plugins.loader import init_plugin_loader  # noqa: PLC0415
    from ansible.template import Templar  # noqa: PLC0415

    init_plugin_loader([str(REPOSITORY / "collections")])
    return modify_module, Templar(loader=DataLoader())


@functools.cache
def section(name: str, title: str) -> Any:
    """A documentation section of a module (DOCUMENTATION, EXAMPLES, RETURN), parsed."""
    tree = ast.parse((COLLECTION / f"plugins/modules/{name}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == title:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{name} has no {title}")


def _matches_return_section(name: str, params: dict[str, Any], result: dict[str, Any]) -> None:
    documented = {
        key: entry
        for key, entry in section(name, "RETURN").items()
        if _returned(entry["returned"], params, result)
    }
    by_ansible = _COMMON | (_OF_A_PATH if "path" in documented else set())
    assert set(result) - by_ansible == set(documented), (name, sorted(result))
    for key, entry in documented.items():
        assert isinstance(result[key], _TYPES[entry["type"]]), (name, key, result[key])
        if entry.get("elements") and result[key]:
            assert isinstance(result[key][0], _TYPES[entry["elements"]]), (name, key)


def _returned(when: str, params: dict[str, Any], result: dict[str, Any]) -> bool:
    """Whether a key is documented for this case; every wording that RETURN sections use is here."""
    installed = result.get("installed", True)
    return {
        "success": True,
        "when installed": installed,
        "when the package is installed": installed,
        "when the package is not installed": not installed,
        "when O(dest) is not given": not params.get("dest"),
        "when O(state=present)": params.get("state", "present") == "present",
    }[when]
