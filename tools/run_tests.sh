#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs tiers of tests in the order given, each with its time, and prints the counts last.
# A tier that fails does not stop the others; the exit status is non-zero if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
results=${RESULTS:-.cache/results}
rm -rf "$results" && mkdir -p "$results"
export PYTHONDONTWRITEBYTECODE=1 ANSIBLE_NOCOLOR=${ANSIBLE_NOCOLOR:-} PATH="$PWD/.venv/bin:$PATH"
python=.venv/bin/python
failed=0

say() { printf '\n==> %s\n' "$*"; }

step() { # step TIER NAME COMMAND...: one check that counts as one test
    local tier=$1 name=$2
    shift 2
    say "$tier: $name"
    if "$@"; then
        echo "passed $tier $name" >>"$results/steps"
    else
        echo "failed $tier $name" >>"$results/steps"
        failed=1
    fi
}

tier_lint() {
    step lint "ruff check" ruff check .
    step lint "ruff format" ruff format --check .
    step lint "mypy" mypy
    step lint "import contracts" lint-imports
    step lint "length of ways" "$python" tools/trace_way.py
    step lint "yamllint" yamllint --strict .
    step lint "ansible-lint" ansible-lint --offline --strict
    step lint "collection" "$python" tools/stage_collection.py
}

tier_unit() {
    say "unit: pytest"
    # A worker per CPU; fixtures of modules are dear, so files stay whole.
    "$python" -m pytest -q -n auto --dist loadfile tests/unit tests/property tests/golden tests/modules tests/lab_unit tests/bench_unit \
        --junitxml="$results/unit.xml" || failed=1
}

tier_kernel() {
    say "kernel: pytest inside User-Mode Linux"
    "$python" -m fairlead_lab.uml run --mem 768M --out "$results" -- \
        "$PWD/$python" -m pytest -q -m kernel -p no:cacheprovider tests/kernel --junitxml=/out/kernel.xml || failed=1
    [ -s "$results/kernel.xml" ] || { echo "kernel: no results came back from the guest" >&2; failed=1; }
}

prepare() { # a cold build of Kubernetes takes minutes: not in a fixture, where it would look like a hang
    lab/lab prepare || { echo "lab: what it needs can't be built" >&2; failed=1; return 1; }
}

tier_lab() {
    prepare || return
    say "lab: pytest against real edges"
    "$python" -m pytest -q -m lab tests/lab --junitxml="$results/lab.xml" || failed=1
}

molecule_test() { # Molecule is content with steps that it skips because a playbook is missing
    molecule test "$@" 2>&1 | tee "$results/molecule.log"
    [ "${PIPESTATUS[0]}" -eq 0 ] && ! grep "Missing playbook" "$results/molecule.log" && return
    grep -B12 -A6 "fatal:" "$results/molecule.log" >"$results/molecule.fatal"  # last words go unread in a long log
    return 1
}

tier_molecule() {
    prepare || return
    step molecule "default scenario" molecule_test
}

for tier in "$@"; do
    started=$SECONDS
    "tier_$tier"
    echo "    $tier took $((SECONDS - started)) s"
done
[ ! -s "$results/molecule.fatal" ] || { say "molecule: what failed"; cat "$results/molecule.fatal"; }
"$python" tools/count_tests.py "$results" || failed=1
exit "$failed"
