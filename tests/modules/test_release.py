# SPDX-License-Identifier: Apache-2.0
"""`release`: the archive for edges. Without dependencies here, so that nothing is downloaded."""

import sys
import tarfile
from pathlib import Path

from support.modules import fail_module, run_module

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def params(tmp_path, **changes):
    requirements = tmp_path / "requirements.txt"
    if not requirements.exists():
        requirements.write_text("# none\n")
    cache = tmp_path / "cache"
    return {
        "python_version": PYTHON,
        "requirements": str(requirements),
        "cache": str(cache),
        **changes,
    }


def test_check_then_do_then_nothing(tmp_path):
    foreseen = run_module("release", params(tmp_path), check=True)
    assert foreseen["changed"]
    assert not foreseen["present"]
    assert not (tmp_path / "cache").exists(), "check mode wrote"
    built = run_module("release", params(tmp_path))
    assert built["changed"]
    assert built["present"]
    assert (built["name"], built["archive"]) == (foreseen["name"], foreseen["archive"])
    with tarfile.open(built["archive"]) as archive:
        names = set(archive.getnames())
    assert {f"{built['name']}/pyvenv.cfg", f"{built['name']}/bin/fairlead"} <= names
    assert any(name.endswith("/site-packages/fairlead/py.typed") for name in names)
    again = run_module("release", params(tmp_path))
    assert not again["changed"]
    assert again["present"]


def test_other_content_has_another_name(tmp_path):
    names = {run_module("release", params(tmp_path), check=True)["name"]}
    for changes in ({"machine": "aarch64"}, {"python_version": "3.13"}):
        names.add(run_module("release", params(tmp_path, **changes), check=True)["name"])
    (tmp_path / "requirements.txt").write_text("# another\n")
    names.add(run_module("release", params(tmp_path), check=True)["name"])
    assert len(names) == 4


def test_unlocked_requirements_are_refused_and_leave_nothing(tmp_path):
    (tmp_path / "requirements.txt").write_text("click\n")
    said = fail_module("release", params(tmp_path))
    assert f"the locked wheels for Python {PYTHON} on x86_64 could not be downloaded" in said
    assert "hash" in said
    assert list(Path(tmp_path / "cache").iterdir()) == []


def test_missing_requirements_are_named(tmp_path):
    said = fail_module("release", params(tmp_path, requirements="/nonexistent.txt"))
    assert said == "/nonexistent.txt: locked requirements can't be read: No such file or directory"
