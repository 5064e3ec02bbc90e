# SPDX-License-Identifier: Apache-2.0
"""`nox -s NAME` for those who are used to it: the tiers of `make`, in the environment it made.

Nothing is installed here: versions are locked in requirements/dev.txt, `make setup` brings them.
"""

import nox

nox.options.sessions = ["lint", "unit"]
nox.options.default_venv_backend = "none"

TIERS = ("lint", "unit", "kernel", "lab", "molecule")


def tier(session: nox.Session) -> None:
    """Run one tier of tests by the script that `make` runs."""
    session.run("tools/setup.sh", external=True)
    session.run("tools/run_tests.sh", session.name, external=True)


for name in TIERS:
    nox.session(tier, name=name)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the figures of docs/figures.md."""
    session.run("make", "bench", *session.posargs, external=True)
