#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the rim at random places and counts how often its tests see it (`make mutation`).

Cosmic Ray mutates a copy of the tree; of all mutants of a room a seeded sample is tried against the
room's tests. The survivors are printed as diffs: each is a test that is missing, or a change that
changes nothing. Exit status 1 where the untouched tests fail already.
"""

import argparse
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
TESTS = {
    "agent": ("tests/unit/agent",),
    "cluster": ("tests/unit/cluster", "tests/unit/agent"),
    "edge": ("tests/unit/edge", "tests/unit/agent"),
}
"""Room of src/fairlead: tests that are to see a fault in it."""
_LIMIT = 300.0
"""Seconds for the tests of one mutant; whatever hangs has been seen."""
# `int | None` in an annotation: the module can't be imported any more, which says nothing of tests.
_NO_NEWS = "core/ReplaceBinaryOperator_BitOr_%"


CACHE = Path(os.environ.get("FAIRLEAD_CACHE", Path.home() / ".cache/fairlead"))


def cosmic_ray() -> Path:
    """Path of the program, installed apart from the project's environment where it is missing."""
    locked = TOP / "requirements/mutation.txt"
    home = CACHE / f"mutation-{hashlib.sha256(locked.read_bytes()).hexdigest()[:16]}"
    if not (home / "complete").exists():
        print("installing Cosmic Ray", flush=True)
        venv.create(home, clear=True, with_pip=True)
        pip = [home / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", locked], check=True)
        (home / "complete").touch()
    return home / "bin/cosmic-ray"


class Result(NamedTuple):
    """A mutant that was tried: survived, killed, or no answer."""

    outcome: str
    diff: str


def copy_tree(to: Path) -> None:
    """What git knows, as it stands now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=TOP, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (TOP / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, to / name, follow_symlinks=False)


def draw(session: Path, number: int, seed: int) -> int:
    """Keep a sample of a session's mutants; returns how many there were."""
    with sqlite3.connect(session) as db:
        db.execute("DELETE FROM mutation_specs WHERE operator_name LIKE ?", (_NO_NEWS,))
        mutants = db.execute(
            "SELECT job_id FROM mutation_specs ORDER BY module_path, operator_name, occurrence,"
            " start_pos_row, start_pos_col"
        ).fetchall()
        kept = random.Random(seed).sample(mutants, min(number, len(mutants)))  # noqa: S311
        db.execute("CREATE TEMP TABLE kept (job_id TEXT)")
        db.executemany("INSERT INTO kept VALUES (?)", kept)
        for table in ("mutation_specs", "work_items"):
            db.execute(f"DELETE FROM {table} WHERE job_id NOT IN (SELECT job_id FROM kept)")  # noqa: S608
    return len(mutants)


def results(session: Path) -> list[Result]:
    """Outcomes of a session that has run."""
    with sqlite3.connect(session) as db:
        rows = db.execute("SELECT test_outcome, diff FROM work_results").fetchall()
    return [Result(str(outcome).lower(), diff or "") for outcome, diff in rows]


def run_room(room: str, tree: Path, program: Path, args: argparse.Namespace) -> list[Result]:
    """Try a sample of a room's mutants, in a copy of the tree."""
    pytest = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {' '.join(TESTS[room])}"
    env = {
        **os.environ,
        "PYTHONPATH": f"{tree / 'src'}:{tree / 'lab'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def call(*argv: str, quiet: bool = True) -> None:
        output = subprocess.DEVNULL if quiet else None
        subprocess.run(argv, cwd=tree, env=env, check=True, stdout=output)

    call(*pytest.split(), quiet=False)
    config, session = tree / f"{room}.toml", tree / f"{room}.sqlite"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "src/fairlead/{room}"\ntimeout = {_LIMIT}\n'
        f'excluded-modules = []\ntest-command = "{pytest}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    call(str(program), "init", str(config), str(session))
    number = draw(session, args.sample, args.seed)
    print(f"{room}: {min(args.sample, number)} of {number} mutants (seed {args.seed})", flush=True)
    call(str(program), "exec", str(config), str(session))
    return results(session)


def main() -> int:
    """Try each room; prints survivors and the score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=40, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("rooms", nargs="*", choices=[*TESTS, []], help="all, if none is named")
    args = parser.parse_args()
    program, scores = cosmic_ray(), []
    with tempfile.TemporaryDirectory(prefix="fairlead-mutation-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        for room in args.rooms or TESTS:
            try:
                tried = run_room(room, tree, program, args)
            except subprocess.CalledProcessError as error:
                print(f"{room}: {error}", file=sys.stderr)
                return 1
            survivors = [one.diff for one in tried if one.outcome.endswith("survived")]
            print("\n".join(survivors))
            scores.append(f"{room}: {len(tried) - len(survivors)} of {len(tried)} mutants seen")
    print("\n".join(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
