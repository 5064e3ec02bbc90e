# SPDX-License-Identifier: Apache-2.0
"""`fairlead status` for people. Text of the cluster and of the inventory is never markup."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairlead.cli.edge_status import STALE_SECONDS, EdgeStatus, VirtualServerStatus
from fairlead.edge.status_file import StatusDocument
from fairlead.planner.usage import UNBOUNDED

_PLAIN_WIDTH = 140  # a pipe or a log has no width of its own: do not fold the table for it


def print_status(status: EdgeStatus, console: Console | None = None) -> None:
    """Print an edge; `console` stands in for stdout in tests."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    out = console or Console(highlight=False, markup=False, emoji=False, width=width)
    for line in _lines(status):
        out.print(line)
    out.print(_table(status.virtual_servers))
    for problem in status.problems:
        out.print(Text.assemble(("problem:", "red"), " ", problem))


def _lines(status: EdgeStatus) -> Iterator[Text]:
    yield Text.assemble((status.edge or "unknown edge", "bold"), "  ", _agent_line(status.agent))
    for vrrp in status.vrrp:
        colour = "green" if vrrp.role == "master" else "yellow"
        yield Text.assemble(
            f"VRRP {vrrp.instance} on {vrrp.interface}: ",
            (vrrp.role, colour),
            f" ({vrrp.advertised_address})",
        )
    for session in status.bgp:
        colour = "green" if session.up else "red"
        bfd = f", BFD {session.bfd}" if session.bfd else ""
        yield Text.assemble(
            f"BGP {session.name} {session.neighbor}: ",
            (session.state, colour),
            f", {session.exported} prefixes{bfd}",
        )
    for link, addresses in status.vips.items():
        if addresses:
            yield Text(f"VIPs on {link}: {', '.join(addresses)}")
    yield from map(Text, pool_lines(status.agent))


def _agent_line(agent: StatusDocument | None) -> str:
    if agent is None:
        return "agent: unknown"
    role = "writes Service status" if agent.leader else f"leader: {agent.lease_holder or 'nobody'}"
    silent = time.time() - agent.written > STALE_SECONDS
    state = "silent" if silent else "not in step" if agent.out_of_step else "in step"
    return f"agent {agent.version}: {state}, {role}"


def pool_lines(agent: StatusDocument | None) -> list[str]:
    """How full the pools are, a line for each; IPv6 without end has no number."""
    lines = []
    for pool in agent.pools if agent else ():
        parts = []
        for family, used, total in (
            ("IPv4", pool.assigned_ipv4, pool.total_ipv4),
            ("IPv6", pool.assigned_ipv6, pool.total_ipv6),
        ):
            if total or used:
                of_all = f" of {total}" if total < UNBOUNDED else ""
                full = ", none left" if used >= total else ""
                parts.append(f"{family} {used}{of_all} in use{full}")
        lines.append(f"pool {pool.name}: {'; '.join(parts) or 'no addresses'}")
    return lines


def _table(servers: tuple[VirtualServerStatus, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("virtual server", "scheduler", "real server", "forwarding"):
        table.add_column(name, overflow="fold")
    for name in ("weight", "active", "inactive"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for server in servers:
        flags = " ".join((server.scheduler, *server.flags))
        head: tuple[Any, ...] = (Text(where(server)), flags)
        if not server.real_servers:
            table.add_row(*head, "none", "", "", "", "")
        for real in server.real_servers:
            table.add_row(
                *head,
                Text(_endpoint(real.address, real.port)),
                real.forwarding,
                str(real.weight),
                str(real.active),
                str(real.inactive),
            )
            head = ("", "")
    return table


def where(server: VirtualServerStatus) -> str:
    """Protocol, address and port of a virtual server, or what its mark stands for."""
    if server.address is None:
        return ", ".join(server.ranges) or f"fwmark {server.fwmark}"
    return f"{server.protocol} {_endpoint(server.address, server.port)}"


def _endpoint(address: str | None, port: int) -> str:
    return f"[{address}]:{port}" if address and ":" in address else f"{address}:{port}"
