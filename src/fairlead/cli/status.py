# SPDX-License-Identifier: Apache-2.0
"""`fairlead status`: this edge as it is, from the kernel first and from the agent where it runs."""

import json
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface
from pathlib import Path

import click
import msgspec

from fairlead.cli.edge_status import (
    STALE_SECONDS,
    EdgeStatus,
    RealServerStatus,
    VirtualServerStatus,
    VrrpStatus,
)
from fairlead.cli.status_text import print_status
from fairlead.cluster.manifests import load_inventory
from fairlead.diff.changes import flag_names
from fairlead.edge.bird_control import CONTROL_SOCKET
from fairlead.edge.bird_sessions import Session, sessions
from fairlead.edge.ipvs import IpvsTable
from fairlead.edge.links import Links
from fairlead.edge.ownership import OwnedVips
from fairlead.edge.port_marks import marks_in_force
from fairlead.edge.status_file import (
    STATUS_FILE,
    StatusDocument,
    VrrpReport,
    read_status_file,
)
from fairlead.model.errors import FairleadError
from fairlead.model.inventory import Edge, Inventory
from fairlead.model.ipvs import AddressFamily, ForwardMethod, ServiceFlag, ServiceKey, ServiceStatus
from fairlead.model.marks import is_own_mark
from fairlead.model.names import VIP_LINK, Announce, IPAddress
from fairlead.render.bird import SESSION_PREFIX
from fairlead.render.port_marks import PortMark

_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--inventory",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/fairlead/edges.yaml"),
    show_default=True,
    help="The inventory document: which interface, which VRRP instance.",
)
@click.option(
    "--status-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=STATUS_FILE,
    show_default=True,
    help="What the agent wrote.",
)
def status_command(as_json: bool, inventory: Path, status_file: Path) -> None:
    """Show this edge: VRRP role, VIPs, virtual servers, connections, the agent's state.

    Works without the agent. Exit status: 0 healthy, 1 degraded, 2 the edge can't be read.
    """
    try:
        status = read_edge(inventory, status_file)
    except FairleadError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(status, str_keys=True), indent=2))
    else:
        print_status(status)
    sys.exit(1 if status.problems else 0)


def read_edge(inventory_path: Path, status_file: Path) -> EdgeStatus:
    """Read kernel and agent.

    Raises:
        FairleadError: The kernel's tables can't be read.
    """
    problems: list[str] = []
    agent = _agent(status_file, problems)
    inventory = _inventory(inventory_path, problems)
    with IpvsTable() as table:
        servers = sorted(table.status(), key=lambda one: one.service.key)
    ranges = _ranges(servers)
    with Links() as links:
        edge = _this_edge(inventory, links, agent)
        owned = _ownership(inventory, agent, servers)
        names = (VIP_LINK, *((edge.interface, *edge.interfaces) if edge else ()))
        vips = {name: _texts(filter(owned, links.addresses(name))) for name in names}
        vrrp: tuple[VrrpStatus, ...] = ()
        if inventory is not None and edge is not None and Announce.VRRP in inventory.announce:
            vrrp = _vrrp(inventory, edge, agent, links)
    bgp = _bgp(inventory, problems)
    return EdgeStatus(
        edge=edge.name if edge else None,
        problems=tuple(problems),
        vrrp=vrrp,
        bgp=bgp,
        vips=vips,
        virtual_servers=tuple(virtual_server_status(one, ranges) for one in servers),
        agent=agent,
    )


def _ownership(
    inventory: Inventory | None, agent: StatusDocument | None, servers: Iterable[ServiceStatus]
) -> OwnedVips:
    """The edge's rule of what is ours; pools of the cluster are known by what stands on them."""
    owned = OwnedVips.of(inventory) if inventory is not None else OwnedVips()
    told = (*agent.vips_on_lan, *agent.vips_on_link) if agent is not None else ()
    standing = {one.service.key.ip for one in servers} | {ip_address(text) for text in told}
    return owned.with_announced(address for address in standing if address is not None)


def _agent(path: Path, problems: list[str]) -> StatusDocument | None:
    try:
        agent = read_status_file(path)
    except FairleadError as error:
        problems.append(str(error))
        return None
    if agent is None:
        problems.append(f"the agent never ran here ({path} is missing)")
        return None
    age = time.time() - agent.written
    if not Path(f"/proc/{agent.pid}").exists():
        problems.append(f"the agent is not running; this is what it told {age:.0f} s ago")
    elif age > STALE_SECONDS:
        problems.append(f"the agent has not reported for {age:.0f} s")
    problems.extend(agent_problems(agent))
    return agent


def agent_problems(agent: StatusDocument) -> list[str]:
    """What is wrong by the agent's own account."""
    found = []
    found += [f"not in step: {why}" for why in agent.out_of_step]
    if agent.kubeconfig_error:
        found.append(f"{agent.kubeconfig_error}; the settings read before stay in force")
    if agent.trouble:
        found.append(f"the edge can't be changed: {agent.trouble}")
    if agent.announce_error:
        found.append(f"announcements: {agent.announce_error}")
    if agent.keepalived is False:
        found.append("keepalived is not running")
    found += [f"there is no interface {name}" for name in agent.missing_interfaces]
    for name, watch in agent.watches.items():
        if watch.refused:
            found.append(f"{name} may not be read and counts as empty: {watch.last_error}")
    found += [f"{server}: {error}" for server, error in agent.failures.items()]
    for error in agent.errors:
        where = f"{error.namespace}/{error.name}".lstrip("/")
        found.append(f"{error.kind} {where}: {error.field}: {error.message}")
    return found


def _inventory(path: Path, problems: list[str]) -> Inventory | None:
    if not path.exists():
        problems.append(f"no inventory document at {path}: roles are unknown")
        return None
    try:
        return load_inventory(str(path))
    except FairleadError as error:
        problems.append(str(error))
    return None


def _this_edge(
    inventory: Inventory | None, links: Links, agent: StatusDocument | None
) -> Edge | None:
    """The edge whose own address stands here; the agent's word where none does."""
    for edge in inventory.edges if inventory else ():
        if edge.address in links.addresses(edge.interface):
            return edge
    for edge in inventory.edges if inventory else ():
        if agent is not None and edge.name == agent.edge:
            return edge
    return None


def _vrrp(
    inventory: Inventory, edge: Edge, agent: StatusDocument | None, links: Links
) -> tuple[VrrpStatus, ...]:
    """Role in the instances that the agent named; in the inventory's own where it never did."""
    settings = inventory.vrrp
    known = agent.vrrp if agent is not None else ()
    own = VrrpReport(
        instance=settings.instance,
        interface=edge.interface,
        advertised_address=settings.advertised_address,
    )
    return tuple(
        VrrpStatus(
            one.instance,
            one.interface,
            one.advertised_address,
            "master"
            if ip_interface(one.advertised_address).ip
            in links.addresses(one.interface, link_local=True)
            else "backup",
        )
        for one in known or (own,)
        if one.advertised_address
    )


def _bgp(inventory: Inventory | None, problems: list[str]) -> tuple[Session, ...]:
    """Sessions as BIRD tells them, named by their peers."""
    if inventory is None or Announce.BGP not in inventory.announce:
        return ()
    if not CONTROL_SOCKET.is_socket():
        problems.append("BIRD is not running")
        return ()
    try:
        found = tuple(
            msgspec.structs.replace(one, name=one.name.removeprefix(SESSION_PREFIX))
            for one in sessions()
        )
    except FairleadError as error:
        problems.append(str(error))
        return ()
    for one in found:
        # Who waits on an interface has nobody to miss.
        if one.neighbor and not one.up:
            why = f": {one.last_error}" if one.last_error else ""
            problems.append(f"BGP session {one.name} is not up ({one.state}){why}")
    return found


def _ranges(servers: Iterable[ServiceStatus]) -> frozenset[PortMark]:
    """Marks of port ranges, where there is a virtual server by a mark of ours."""
    if not any(is_own_mark(one.service.key.fwmark) for one in servers):
        return frozenset()
    return marks_in_force()


def virtual_server_status(one: ServiceStatus, ranges: Iterable[PortMark]) -> VirtualServerStatus:
    """What is shown of a virtual server; `ranges` are the marks that the packet filter sets."""
    service, key = one.service, one.service.key
    return VirtualServerStatus(
        address=str(key.ip) if key.ip is not None else None,
        protocol=_PROTOCOLS.get(key.protocol, str(key.protocol)),
        port=key.port,
        fwmark=key.fwmark,
        ranges=tuple(
            sorted(
                mark.place
                for mark in ranges
                if key == ServiceKey.of_fwmark(AddressFamily.of(mark.address), mark.mark)
            )
        ),
        scheduler=service.scheduler,
        flags=tuple(flag_names(service.scheduler, service.flags)),
        persistence_seconds=service.timeout if service.flags & ServiceFlag.PERSISTENT else None,
        one_packet=bool(service.flags & ServiceFlag.ONE_PACKET),
        connections=one.counters.connections,
        real_servers=tuple(
            RealServerStatus(
                str(dest.dest.ip),
                dest.dest.port,
                dest.dest.weight,
                ForwardMethod(dest.dest.method).name.lower(),
                dest.active,
                dest.inactive,
            )
            for dest in one.dests
        ),
    )


def _texts(addresses: Iterable[IPAddress]) -> tuple[str, ...]:
    return tuple(str(address) for address in addresses)
