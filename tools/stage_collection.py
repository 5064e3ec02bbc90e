# SPDX-License-Identifier: Apache-2.0
"""Builds the Galaxy collection from an allow-list, installs it, and looks at what was installed.

Staged outside the repository: a build from the plain checkout would follow links, and checks that
find nothing to check pass in silence. Hence the counts: every module, role and playbook of this
repository must be in the installed collection, and every module must have readable documentation.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = (
    "galaxy.yml", "README.md", "LICENSE", "LICENSES", "meta", "plugins", "roles", "playbooks",
    "changelogs",
)  # fmt: skip


def ansible(tool: str, *args: str, collections: Path) -> str:
    """Run one of Ansible's tools of this environment; returns its standard output."""
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1"}
    env.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run(
        [str(Path(sys.executable).parent / tool), *args],
        cwd=collections, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{tool} {' '.join(args)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def stage(target: Path) -> None:
    """Copy what belongs into the collection."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ALLOWED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            shutil.copy2(source, target / name)


def names(folder: Path, pattern: str) -> set[str]:
    """Names of the files or folders of one kind."""
    return {path.stem for path in folder.glob(pattern) if not path.name.startswith("_")}


def compare(what: str, wanted: set[str], found: set[str]) -> None:
    """Say what is missing from the installed collection."""
    if missing := wanted - found:
        raise SystemExit(
            f"{what} missing from the installed collection: {', '.join(sorted(missing))}"
        )
    print(f"{len(wanted)} {what}: {', '.join(sorted(wanted))}")


def main() -> int:
    """Stage, build, install, look."""
    with tempfile.TemporaryDirectory() as scratch:
        staged, installed = Path(scratch) / "staged", Path(scratch) / "installed"
        staged.mkdir()
        installed.mkdir()
        stage(staged)
        ansible("ansible-galaxy", "collection", "build", str(staged), "--output-path", scratch,
                collections=installed)  # fmt: skip
        artifact = next(Path(scratch).glob("fairlead-edge-*.tar.gz"))
        ansible("ansible-galaxy", "collection", "install", str(artifact), "-p", str(installed),
                "--offline", collections=installed)  # fmt: skip
        home = installed / "ansible_collections/fairlead/edge"
        compare("roles", names(ROOT / "roles", "*"), names(home / "roles", "*"))
        compare("playbooks", names(ROOT / "playbooks", "*.yml"), names(home / "playbooks", "*.yml"))
        wanted = {f"fairlead.edge.{name}" for name in names(ROOT / "plugins/modules", "*.py")}
        listed = json.loads(
            ansible("ansible-doc", "-t", "module", "-l", "-j", "fairlead.edge",
                    collections=installed)
        )  # fmt: skip
        compare("modules", wanted, set(listed))
        documented = json.loads(
            ansible("ansible-doc", "-t", "module", "-j", *sorted(wanted), collections=installed)
        )
        poor = [name for name, page in documented.items() if not page.get("return")]
        if poor:
            raise SystemExit(f"no RETURN section: {', '.join(poor)}")
        print(f"{artifact.name}: built, installed, documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
