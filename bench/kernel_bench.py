# SPDX-License-Identifier: Apache-2.0
"""A real kernel's table: cold apply of 1,000 x 100 real servers, dumps, and one weight's way.

    python -m bench.kernel_bench [--json FILE] [--runs 3]

Starts itself again under a User-Mode Linux kernel (`--in-guest`). Each run has network namespaces
of its own there: the table of a new one is empty, and so is the list of removed real servers, which
every addition would have to walk. Beside the cold apply stands the floor of the same run: the same
messages, made beforehand, sent and nothing else.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from bench.figures import Figure, percentile
from bench.running import ROOT, Report, ends_cleanly, parser, write
from bench.servers import virtual_server
from fairlead.diff.ipvs import desired_entry, desired_from, diff, service_key
from fairlead.edge.ipvs import IpvsTable
from fairlead.edge.ipvs.apply import reconcile_ipvs, reconcile_virtual_server
from fairlead.edge.ipvs.socket import IpvsSocket
from fairlead.edge.ipvs.table import encode_changes
from fairlead.edge.netns import entered
from fairlead.model.names import IPAddress
from fairlead.model.plan import RealServer
from fairlead_lab import uml

SERVICES, REALS, FLIPS = 1000, 100, 300
GUEST_SECONDS = 150.0
PREPARE, COLD, FLOOR = "plan -> desired", "empty -> all, under mh", "ready-made messages alone"
QUIET_SECONDS = 1.5
"""For the kernel to free a table after a grace period, on the one CPU that the next run needs."""
FLIP = "one weight: read, diff, send"
T = TypeVar("T")


def timed(action: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and its value."""
    begun = time.perf_counter()
    value = action()
    return time.perf_counter() - begun, value


def owned(_address: IPAddress) -> bool:
    """Everything is ours here."""
    return True


def flip(table: IpvsTable, number: int) -> float:
    """Seconds of one weight's way: read the virtual server, diff, send."""
    server = virtual_server(number, REALS)
    reals = list(server.real_servers)
    reals[7] = RealServer(reals[7].address, 80, 2)
    changed = msgspec.structs.replace(server, real_servers=tuple(reals))
    spent, done = timed(
        lambda: reconcile_virtual_server(table, service_key(changed), desired_entry(changed))
    )
    assert len(done.changes) == 1
    return spent


def one_run() -> dict[str, float]:
    """Seconds of each step, from an empty table on."""
    servers = [virtual_server(number, REALS) for number in range(SERVICES)]
    table = IpvsTable()
    prepare, desired = timed(lambda: desired_from(servers))
    cold, done = timed(lambda: reconcile_ipvs(table, desired, owned))
    done.raise_for_failures()
    del done
    first, _ = timed(table.dump)
    again, actual = timed(table.dump)
    assert actual == desired
    del actual
    noop, done = timed(lambda: reconcile_ipvs(table, desired, owned))
    assert not done.changed
    status, _ = timed(table.status)
    flips = [flip(table, number) for number in range(FLIPS)]
    return {
        PREPARE: prepare,
        COLD: cold,
        "dump, first": first,
        "dump, again": again,
        "full pass, nothing to do": noop,
        "dump with counters": status,
        f"{FLIP}, p50": statistics.median(flips),
        f"{FLIP}, p99": percentile(flips, 0.99),
    }


def floor() -> dict[str, float]:
    """Seconds of sending what `one_run` sends, and waiting for the answers."""
    servers = [virtual_server(number, REALS) for number in range(SERVICES)]
    bodies = encode_changes(diff(desired_from(servers), {}, owned))
    with IpvsSocket(None) as sock:
        spent, outcomes = timed(lambda: sock.batch(bodies))
    assert not any(code for code, _ in outcomes)
    return {FLOOR: spent}


def in_new_namespace(action: Callable[[], T]) -> T:
    """Do it where the kernel has no IPVS table yet; leave nothing for the kernel to do."""
    name = "bench"
    subprocess.run(["ip", "netns", "add", name], check=True)
    with entered(name):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        value = action()
        with IpvsTable() as table:
            table.flush()
    subprocess.run(["ip", "netns", "delete", name], check=True)
    time.sleep(QUIET_SECONDS)
    return value


def in_guest(runs: int) -> list[dict[str, float]]:
    """Every run beside its floor."""
    return [in_new_namespace(floor) | in_new_namespace(one_run) for _ in range(runs)]


def measured(runs: int) -> list[dict[str, float]]:
    """Run the guest and read what it printed last.

    Raises:
        SystemExit: The guest failed, after its output was shown.
        uml.UmlError: It did not start.
    """
    said: list[str] = []
    argv = [sys.executable, "-m", "bench.kernel_bench", "--in-guest", "--runs", str(runs)]
    status = uml.run(argv, mem="1024M", cwd=ROOT, timeout=GUEST_SECONDS, emit=said.append)
    if status:
        raise SystemExit(f"{''.join(said)}kernel_bench: the guest ended with status {status}")
    rows: list[dict[str, float]] = json.loads(said[-1])
    return rows


def figures(rows: list[dict[str, float]]) -> tuple[Figure, ...]:
    """Medians over the runs, against the design's goals."""
    how = f"median of {len(rows)} runs"
    middle = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    size = f"{SERVICES} x {REALS}"
    return (
        Figure(f"kernel: empty -> {size} real servers, mh", middle[COLD], "s", how, 1.0),
        Figure("kernel: that / ready-made messages alone",
               statistics.median(row[COLD] / row[FLOOR] for row in rows), "x", how),
        Figure(f"kernel: full pass over {size}, nothing to do",
               middle["full pass, nothing to do"], "s", how),
        Figure(f"kernel: one of {REALS} weights read, compared, sent",
               middle[f"{FLIP}, p50"] * 1e3, "ms", f"median of {FLIPS}, {how}"),
    )  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    ends_cleanly()
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--in-guest", action="store_true", help="measure here, print JSON")
    options = arguments.parse_args()
    if options.in_guest:
        print(json.dumps(in_guest(options.runs)))
        return
    rows = measured(options.runs)
    print(f"{f'{SERVICES} x {REALS} real servers, seconds':40} {len(rows)} runs")
    for name in rows[0]:
        print(f"{name:40} {'  '.join(f'{row[name]:8.4f}' for row in rows)}")
    write(Report(figures(rows), {"runs": rows}), options.json)


if __name__ == "__main__":
    main()
