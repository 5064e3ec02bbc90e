# SPDX-License-Identifier: Apache-2.0
"""Who answers for a VIP that stands on `fairlead0`: nobody on any LAN, of neither family.

A VIP announced by BGP stands on that link of every edge at once; whoever is told its hardware
address must be told by VRRP's master. The settings are the role's, the kernel is the real one.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import jinja2
import pytest
import yaml

from fairlead.edge.netns import entered

ROLE = Path(__file__).resolve().parents[3] / "roles/edge_ipvs"
MAIN, FURTHER = "eth0", "eth1"
ARP = 0x0806
SENDER, TARGET = slice(28, 32), slice(38, 42)
"""Protocol addresses in a frame that asks (RFC 826, behind 14 bytes of Ethernet)."""


class Network(NamedTuple):
    """Namespaces of an edge and of a neighbour on each of the edge's two LANs."""

    edge: str
    neighbour: str


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


def settings() -> dict[str, str]:
    """What the role's file sets on an edge with default inputs, as far as a namespace has it."""
    own = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__edge_ipvs_sysctls"]
    inputs = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["comment"] = str
    environment.filters["combine"] = lambda one, other: {**one, **other}
    template = environment.from_string((ROLE / "templates/sysctl.d.j2").read_text())
    text = template.render(inputs, __edge_ipvs_sysctls=own, ansible_managed="")
    rows = [line.split(" = ") for line in text.splitlines() if " = " in line]
    return {key: value for key, value in rows if not key.startswith("net.ipv4.vs.")}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    ends = Network(f"fairlead-arp-e{os.getpid()}", f"fairlead-arp-n{os.getpid()}")
    edge, neighbour = ends
    run("ip", "netns", "add", edge)
    run("ip", "netns", "add", neighbour)
    try:
        for number, name in enumerate((MAIN, FURTHER)):
            peer = ("peer", "name", name, "netns", neighbour)
            run("ip", "link", "add", name, "netns", edge, "type", "veth", *peer)
            for host, namespace in ((1, edge), (2, neighbour)):
                for address in (f"10.9.{number}.{host}/24", f"2001:db8:9:{number}::{host}/64"):
                    nodad = ("nodad",) if ":" in address else ()
                    run("ip", "-n", namespace, "addr", "add", address, "dev", name, *nodad)
                run("ip", "-n", namespace, "link", "set", name, "up")
        # A pair stands in for the dummy link, which not every kernel has.
        run("ip", "-n", edge, "link", "add", "fairlead0", "type", "veth", "peer", "name", "standin")
        for name in ("fairlead0", "standin"):
            run("ip", "-n", edge, "link", "set", name, "up")
        for number in range(2):
            for vip in (f"10.9.{number}.50/32", f"2001:db8:9:{number}::50/128"):
                run("ip", "-n", edge, "addr", "add", vip, "dev", "fairlead0")
        for key, value in settings().items():
            run("ip", "netns", "exec", edge, "sysctl", "-qw", f"{key}={value}")
        yield ends
    finally:
        run("ip", "netns", "del", edge)
        run("ip", "netns", "del", neighbour)


def answered(network: Network, interface: str, address: str) -> bool:
    """Whether the neighbour is told a hardware address."""
    version = "-6" if ":" in address else "-4"
    ping = ["ping", version, "-c", "1", "-W", "2", "-I", interface, address]
    inside = ["ip", "netns", "exec", network.neighbour]
    subprocess.run([*inside, *ping], capture_output=True, check=False)
    table = run("ip", "-n", network.neighbour, "neigh", "show", address, "dev", interface)
    return "lladdr" in table


@pytest.mark.parametrize("interface", [MAIN, FURTHER])
@pytest.mark.parametrize("prefix", ["10.9.{}.", "2001:db8:9:{}::"])
def test_an_edge_answers_for_itself_and_for_no_vip_of_bgp(
    network: Network, interface: str, prefix: str
) -> None:
    lan = prefix.format((MAIN, FURTHER).index(interface))
    assert answered(network, interface, f"{lan}1")
    assert not answered(network, interface, f"{lan}50")


@pytest.mark.parametrize("interface", [MAIN, FURTHER])
def test_a_vip_that_vrrp_put_there_is_answered_for(network: Network, interface: str) -> None:
    for vip in ("10.9.{}.60", "2001:db8:9:{}::60"):
        address = vip.format((MAIN, FURTHER).index(interface))
        for link in (interface, "fairlead0"):
            nodad = ("nodad",) if ":" in address else ()
            run("ip", "-n", network.edge, "addr", "add", address, "dev", link, *nodad)
        assert answered(network, interface, address)


@pytest.mark.parametrize("interface", [MAIN, FURTHER])
def test_nobody_is_asked_in_the_name_of_a_vip(network: Network, interface: str) -> None:
    lan = f"10.9.{(MAIN, FURTHER).index(interface)}"
    # The edge asks for a neighbour that is not there, while it sends from the VIP (masquerade).
    ping = ["ping", "-c", "1", "-W", "2", "-I", f"{lan}.50", f"{lan}.77"]
    with entered(network.neighbour):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        ear.bind((interface, ARP))
    with ear:
        ear.settimeout(10)
        inside = ["ip", "netns", "exec", network.edge]
        subprocess.run([*inside, *ping], capture_output=True, check=False)
        frame = ear.recv(64)
        while frame[TARGET] != ip_address(f"{lan}.77").packed:
            frame = ear.recv(64)
    assert str(ip_address(frame[SENDER])) == f"{lan}.1"
