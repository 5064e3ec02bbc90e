# SPDX-License-Identifier: Apache-2.0
"""A plan as text for people: Services, then what each edge carries."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fairlead.cli.text import columns, counted, paragraph
from fairlead.diff.plans import server_name
from fairlead.model.marks import mark_text
from fairlead.model.names import ObjectKey
from fairlead.model.plan import EdgePlan, Plan, RealServer, ServicePlan, VipAddress, VirtualServer

MAX_ROWS = 50
"""Services and edges' Services beyond this are summed up, unless everything is asked for."""
MAX_REALS = 8


def plan_text(plan: Plan, *, everything: bool = False) -> str:
    """The whole plan; edges that carry the same are shown once."""
    lines = list(_services(plan.services, everything=everything))
    for names, edge in _alike(plan.edges):
        lines += ["", f"Edge {names[0]}" if len(names) == 1 else f"Edges {', '.join(names)}"]
        lines += _announcers(names, plan.edges)
        lines += _addresses(edge.addresses, everything=everything)
        for one in edge.failed:
            text = f"! {one.service} not by {one.way}: {one.message}"
            lines += paragraph(text, "  ", "    ")
        lines += _virtual_servers(edge.virtual_servers, everything=everything)
    granted = sum(bool(service.addresses) for service in plan.services)
    refused = sum(service.refusal is not None for service in plan.services)
    lines += ["", f"{counted(granted, 'Service')} with an address, {refused:,} without"]
    return "\n".join(lines)


def _services(services: Sequence[ServicePlan], *, everything: bool) -> Iterator[str]:
    shown = list(services)
    if len(shown) > MAX_ROWS and not everything:
        pools = Counter(service.pool or "" for service in services if service.addresses)
        yield from columns(
            ("POOL", "SERVICES"), [(name, f"{count:,}") for name, count in sorted(pools.items())]
        )
        yield ""
        shown = [service for service in services if not service.addresses]
        hidden = len(shown) - MAX_ROWS
        shown = shown[:MAX_ROWS]
        if hidden > 0:
            yield f"The first {MAX_ROWS} without an address ({hidden:,} more; --all lists them):"
    rows = [row for service in shown for row in _service_rows(service)]
    if not rows:
        return
    table = columns(("SERVICE", "ADDRESS", "POOL"), [cells for cells, _ in rows])
    yield table[0]
    for line, (_, said) in zip(table[1:], rows, strict=True):
        yield line
        yield from said


def _service_rows(
    service: ServicePlan,
) -> Iterator[tuple[tuple[str, str, str], list[str]]]:
    """One row for each address, what is to be said below the last."""
    addresses = [str(address) for address in service.addresses] or ["none"]
    for index, address in enumerate(addresses):
        first, last = index == 0, index == len(addresses) - 1
        cells = (str(service.key) if first else "", address, (service.pool or "") if first else "")
        yield cells, _said(service) if last else []


def _said(service: ServicePlan) -> list[str]:
    texts = [
        f"{event.reason}: {event.message}"
        for event in service.events
        if event.reason != "IPAllocated"  # the row says so itself
    ]
    if service.refusal and not texts:
        texts = [f"{service.refusal.reason}: {service.refusal.message}"]
    return [line for text in texts for line in paragraph(text, "    ", "      ")]


def _alike(edges: Mapping[str, EdgePlan]) -> list[tuple[list[str], EdgePlan]]:
    """Edges by what they carry and can't do: names and one that speaks for them."""
    groups: list[tuple[list[str], EdgePlan]] = []
    for name in sorted(edges):
        edge = edges[name]
        for names, other in groups:
            if _carried(edge) == _carried(other):
                names.append(name)
                break
        else:
            groups.append(([name], edge))
    return groups


def _carried(edge: EdgePlan) -> tuple[object, ...]:
    failed = [(one.service, one.way, one.message) for one in edge.failed]
    return edge.virtual_servers, edge.addresses, failed


def _announcers(names: Sequence[str], edges: Mapping[str, EdgePlan]) -> Iterator[str]:
    for name in names:
        edge = edges[name]
        said = [
            f"VRRP {one.instance} (id {one.vrid}, priority {one.priority}): "
            f"{counted(len(one.addresses), 'address', 'addresses')}"
            for one in edge.vrrp
        ]
        if edge.bgp:
            said.append(f"BGP: {counted(len(edge.bgp), 'route')}")
        text = "; ".join(said) or "announces nothing"
        yield from paragraph(f"{name}: {text}" if len(names) > 1 else text, "  ", "    ")


def _addresses(vips: Sequence[VipAddress], *, everything: bool) -> Iterator[str]:
    if not vips:
        return
    yield ""
    if len(vips) > MAX_ROWS and not everything:
        ready = sum(vip.ready for vip in vips)
        yield f"  {len(vips):,} addresses, {ready:,} of them ready"
        return
    yield from columns(("ADDRESS", "ANNOUNCED"), [(str(v.address), _ways(v)) for v in vips], "  ")


def _ways(vip: VipAddress) -> str:
    if not vip.ready:
        return "no: no endpoint can answer"
    return ", ".join(way.value for way in vip.announce) or "no: no advertisement"


def _virtual_servers(servers: Sequence[VirtualServer], *, everything: bool) -> Iterator[str]:
    if not servers:
        return
    by_service: dict[ObjectKey, list[VirtualServer]] = {}
    for server in servers:
        by_service.setdefault(server.service, []).append(server)
    yield ""
    if len(by_service) > MAX_ROWS and not everything:
        reals = sum(len(server.real_servers) for server in servers)
        yield f"  {len(servers):,} virtual servers of {len(by_service):,} Services, "
        yield f"  {reals:,} real servers (--all lists them, --explain tells about one Service)"
        return
    yield "  VIRTUAL SERVERS, real servers with weight"
    for key in sorted(by_service):
        yield from paragraph(str(key), "  ")
        for server in by_service[key]:
            yield from paragraph(f"{server_name(server)}  {how(server)}", "    ", "        ")
            yield from paragraph(_reals(server.real_servers), "      ", "      ")


def how(server: VirtualServer) -> str:
    """Forwarding, scheduler and the like in a few words."""
    words = [server.forwarding.value, server.scheduler]
    if server.persistence_seconds is not None:
        words.append(f"ClientIP {server.persistence_seconds} s")
    if server.one_packet:
        words.append("one-packet")
    if server.slow_start_seconds is not None:
        words.append(f"slow start {server.slow_start_seconds} s")
    if server.mark is not None:
        words.append(f"mark {mark_text(server.mark)}")
    return ", ".join(words)


def _reals(reals: Sequence[RealServer]) -> str:
    if not reals:
        return "none"
    shown = [_real(real) for real in reals[:MAX_REALS]]
    if len(reals) > MAX_REALS:
        shown.append(_rest(reals[MAX_REALS:]))
    return ", ".join(shown)


def _real(real: RealServer) -> str:
    address = f"[{real.address}]" if real.address.version == 6 else str(real.address)
    return f"{address}:{real.port} ({real.weight})"


def _rest(reals: Iterable[RealServer]) -> str:
    weights = Counter(real.weight for real in reals)
    rest = ", ".join(f"{count} of weight {weight}" for weight, count in sorted(weights.items()))
    return f"and {rest}"
