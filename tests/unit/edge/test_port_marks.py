# SPDX-License-Identifier: Apache-2.0
"""Marks of port ranges in a real kernel's nftables: read back, changed, and seen on packets."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fairlead.edge.netns import entered
from fairlead.edge.packet_filter import ports_of

VIP, VIP6, CLIENT, CLIENT6 = "10.9.2.1", "fd00:9:2::1", "10.9.2.2", "fd00:9:2::2"
MARK, OTHER = 0x0FA00001, 0x0FA00002
_APPLY = """
import sys
from ipaddress import ip_address
from fairlead.edge.filter_tools import nftables_usable
from fairlead.edge.port_marks import marks_in_force, reconcile_marks
from fairlead.model.names import Protocol
from fairlead.render.port_marks import PortMark
wanted = set()
for word in sys.argv[1:]:
    vip, protocol, first, last, mark = word.split("|")
    wanted.add(PortMark(ip_address(vip), Protocol(protocol), int(first), int(last), int(mark)))
assert nftables_usable()
before = marks_in_force()
assert reconcile_marks(wanted, check=True).changed == (before != wanted)
assert marks_in_force() == before, "check mode changed something"
changed = reconcile_marks(wanted).changed
assert not reconcile_marks(wanted).changed
assert marks_in_force() == wanted
print(changed)
"""
_COUNT = """
table inet test {
    counter own { }
    counter other { }
    chain input {
        type filter hook input priority 0; policy accept;
        meta mark 0x0fa00001 counter name own
        meta mark 0x0fa00002 counter name other
    }
}
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    """An edge that holds the VIPs and counts marked packets, and a client on a cable."""
    edge, client = (f"fairlead-pm{os.getpid()}-{name}" for name in ("e", "c"))
    commands = {
        edge: (
            f"link add eth0 type veth peer name eth0 netns {client}",
            "link set lo up",
            "link set eth0 up",
            f"address add {VIP}/24 dev eth0",
            f"address add {VIP6}/64 dev eth0 nodad",
        ),
        client: (
            "link set eth0 up",
            f"address add {CLIENT}/24 dev eth0",
            f"address add {CLIENT6}/64 dev eth0 nodad",
        ),
    }
    try:
        for name in commands:
            subprocess.run(["ip", "netns", "add", name], check=True)
        for name, lines in commands.items():
            argv = ["ip", "-n", name, "-batch", "-"]
            subprocess.run(argv, input="\n".join(lines), text=True, check=True)
        nft(edge, "-f", "-", stdin=_COUNT)
        yield edge, client
    finally:
        for name in commands:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def nft(edge: str, *argv: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", edge, "nft", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def apply(edge: str, *words: str) -> bool:
    """Make marks true inside the edge; whether anything had to be changed."""
    argv = ["ip", "netns", "exec", edge, sys.executable, "-c", _APPLY, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


def counts(edge: str) -> tuple[int, int]:
    found = {}
    for item in json.loads(nft(edge, "-j", "list", "counters"))["nftables"]:
        if "counter" in item:
            found[item["counter"]["name"]] = item["counter"]["packets"]
    return found["own"], found["other"]


def marked(hosts: tuple[str, str], target: str, port: int) -> str:
    """By which mark a datagram to a port of the edge arrives."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    own, other = counts(hosts[0])
    with entered(hosts[0]):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with entered(hosts[1]):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((target, port))
        receiver.settimeout(2)
        sender.sendto(b"hello", (target, port))
        assert receiver.recv(16) == b"hello"
    after = counts(hosts[0])
    return {(0, 0): "", (1, 0): "own", (0, 1): "other"}[after[0] - own, after[1] - other]


def test_packets_of_a_range_are_marked_and_no_others(hosts: tuple[str, str]) -> None:
    edge, _ = hosts
    assert apply(
        edge,
        f"{VIP}|UDP|16384|32767|{MARK}",
        f"{VIP}|UDP|32769|40000|{MARK}",
        f"{VIP}|TCP|50000|50001|{MARK}",
        f"{VIP6}|UDP|10000|20000|{OTHER}",
    )
    expected = {16383: "", 16384: "own", 32767: "own", 32768: "", 40000: "own", 50000: ""}
    assert {port: marked(hosts, VIP, port) for port in expected} == expected
    assert marked(hosts, VIP6, 10000) == "other"
    assert marked(hosts, VIP6, 9999) == ""
    assert apply(edge, f"{VIP}|UDP|16384|32767|{OTHER}")
    assert [marked(hosts, VIP, port) for port in (20000, 40000)] == ["other", ""]
    assert apply(edge)
    assert marked(hosts, VIP, 20000) == ""
    assert not apply(edge)


def test_foreign_rules_and_other_parts_of_the_table_stay(hosts: tuple[str, str]) -> None:
    edge, _ = hosts
    kind = "{ type ipv4_addr . inet_proto . inet_service; }"
    nft(edge, f"add table inet fairlead; add set inet fairlead masquerade4 {kind}")
    assert apply(edge, f"{VIP}|UDP|1000|2000|{MARK}")
    assert apply(edge)
    left = nft(edge, "list", "ruleset")
    assert "table inet test" in left
    assert "set masquerade4" in left
    assert "marks" not in left


SHOWN = {
    "a-number": (80, (80, 80)),
    "a-range-of-nft": ({"range": [80, 90]}, (80, 90)),
    "a-number-of-iptables": ("80", (80, 80)),
    "a-range-of-iptables": ("80:90", (80, 90)),
}


@pytest.mark.parametrize("row", SHOWN)
def test_ports_are_read_as_each_tool_shows_them(row: str) -> None:
    shown, ports = SHOWN[row]
    assert ports_of(shown) == ports
