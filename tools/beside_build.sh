#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# beside_build.sh COMMAND...: set up, then run the command; where Kubernetes has to be built first, that
# goes on beside all of it from the earliest moment, since it takes longer than everything else together.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${FAIRLEAD_CACHE:-${HOME:-/root}/.cache/fairlead}

end_build() { # the compiler ends with it, see kubebuild.py; a job's number is not taken over by a stranger
    local running
    running=$(jobs -rp)
    [ -z "$running" ] || kill -TERM "$running" 2>/dev/null || true
}
trap end_build EXIT

"$top/tools/setup.sh" --without-python
# Whoever needs the programs waits for this build, and builds (and complains) itself if this one fails.
PYTHONPATH=$top/lab /usr/bin/python3 -m fairlead_lab.kubebuild >"$cache/kube-build.log" 2>&1 &
"$top/tools/setup.sh"
"$@"
