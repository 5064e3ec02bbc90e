# SPDX-License-Identifier: Apache-2.0
"""A plan as tables for people."""

from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairlead.model.plan import EdgePlan, Plan, RealServer, ServicePlan, VirtualServer

MAX_REALS = 8
PIPED_WIDTH = 160
WHOLE = frozenset({"Service", "Address", "Virtual server"})


def print_plan(plan: Plan) -> None:
    """Print Services, then what edges carry; edges that carry the same are shown once."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    console.print(_services(plan.services))
    shown: list[tuple[EdgePlan, str]] = []
    for name in sorted(plan.edges):
        edge = plan.edges[name]
        same = next((first for other, first in shown if _carries_same(other, edge)), None)
        if same is not None:
            console.print(f"\n[bold]{name}[/]: virtual servers as {same}{_vrrp_text(edge)}")
            continue
        shown.append((edge, name))
        console.print(f"\n[bold]{name}[/]{_vrrp_text(edge)}")
        console.print(_addresses(edge))
        console.print(_virtual_servers(edge))
    granted = sum(bool(service.addresses) for service in plan.services)
    refused = sum(service.refusal is not None for service in plan.services)
    console.print(f"\n{granted} Services with an address, {refused} without")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    return table


def _services(services: tuple[ServicePlan, ...]) -> Table:
    table = _table("Services", "Service", "Address", "Pool", "What happens")
    for service in services:
        said = Text()
        for event in service.events:
            style = "yellow" if event.type == "Warning" else ""
            said.append(f"{event.reason}: {event.message}\n", style=style)
        if service.refusal and not service.events:
            said.append(f"{service.refusal.reason}: {service.refusal.message}\n", style="yellow")
        said.rstrip()
        addresses = "\n".join(str(address) for address in service.addresses)
        table.add_row(
            Text(str(service.key)),
            Text(addresses) if addresses else Text("none", style="red"),
            Text(service.pool or ""),
            said,
        )
    return table


def _addresses(edge: EdgePlan) -> Table:
    table = _table("Addresses", "Address", "Announced by", "Ready")
    for vip in edge.addresses:
        ways = ", ".join(way.value for way in vip.announce) or "nothing"
        table.add_row(str(vip.address), ways, "yes" if vip.ready else "no endpoint: not announced")
    return table


def _virtual_servers(edge: EdgePlan) -> Table:
    table = _table("Virtual servers", "Virtual server", "Service", "How", "Real servers (weight)")
    for server in edge.virtual_servers:
        table.add_row(
            f"{_endpoint(str(server.address), server.port)}/{server.protocol}",
            Text(str(server.service)),
            _how(server),
            _reals(server.real_servers),
        )
    return table


def _how(server: VirtualServer) -> str:
    words = [server.forwarding.value, server.scheduler]
    if server.persistence_seconds is not None:
        words.append(f"ClientIP {server.persistence_seconds} s")
    if server.one_packet:
        words.append("one-packet")
    return ", ".join(words)


def _reals(reals: tuple[RealServer, ...]) -> str:
    if not reals:
        return "none"
    shown = [f"{_endpoint(str(r.address), r.port)} ({r.weight})" for r in reals[:MAX_REALS]]
    if len(reals) > MAX_REALS:
        weights = Counter(real.weight for real in reals[MAX_REALS:])
        rest = ", ".join(f"{count} x weight {weight}" for weight, count in sorted(weights.items()))
        shown.append(f"and {rest}")
    return "\n".join(shown)


def _endpoint(address: str, port: int) -> str:
    return f"\\[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _vrrp_text(edge: EdgePlan) -> str:
    parts = [f"VRRP {v.instance} (id {v.vrid}, priority {v.priority})" for v in edge.vrrp]
    if edge.bgp:
        parts.append(f"{len(edge.bgp)} BGP routes")
    return "".join(f", {part}" for part in parts)


def _carries_same(one: EdgePlan, other: EdgePlan) -> bool:
    return one.virtual_servers == other.virtual_servers and one.addresses == other.addresses
