# SPDX-License-Identifier: Apache-2.0
"""Who is let in, in a real kernel's nftables: read back, changed by elements, and by packets."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from fairlead.edge.netns import entered
from fairlead.model.names import Protocol
from fairlead.render.source_filter import (
    Restricted,
    SourceFilter,
    render_source_elements,
    render_sources_iptables,
)

VIP, VIP6, FRIEND, STRANGER = "10.9.1.1", "fd00:9:1::1", "10.9.1.2", "10.9.1.3"
_APPLY = """
import sys
from ipaddress import ip_address, ip_network
from fairlead.edge.filter_tools import nftables_usable
from fairlead.edge.source_filter import reconcile_sources, source_filters
from fairlead.model.names import Protocol
from fairlead.render.source_filter import Restricted, SourceFilter
wanted = set()
for word in sys.argv[1:]:
    vip, protocol, ports, *sources = word.split("|")
    first, _, last = ports.partition("-")
    key = Restricted(ip_address(vip), Protocol(protocol), int(first), int(last or first))
    wanted.add(SourceFilter.of(key, map(ip_network, sources)))
assert nftables_usable()
before = source_filters()
assert reconcile_sources(wanted, check=True).changed or before == wanted
assert source_filters() == before, "check mode changed something"
changed = reconcile_sources(wanted).changed
assert not reconcile_sources(wanted).changed
assert source_filters() == wanted
print(changed)
"""


def parse(*words: str) -> frozenset[SourceFilter]:
    """`vip|TCP|80|10.0.0.0/8|...` as filters; a range is `80-90`."""
    found = set()
    for word in words:
        vip, protocol, ports, *sources = word.split("|")
        first, _, last = ports.partition("-")
        key = Restricted(ip_address(vip), Protocol(protocol), int(first), int(last or first))
        found.add(SourceFilter.of(key, map(ip_network, sources)))
    return frozenset(found)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    """An edge that holds the VIPs, and a client with two addresses, on one cable."""
    edge, client = (f"fairlead-sf{os.getpid()}-{name}" for name in ("e", "c"))
    batch = f"""
        netns add {edge}
        netns add {client}
    """
    try:
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
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
                f"address add {FRIEND}/24 dev eth0",
                f"address add {STRANGER}/24 dev eth0",
                "address add fd00:9:1::2/64 dev eth0 nodad",
            ),
        }
        for name, lines in commands.items():
            argv = ["ip", "-n", name, "-batch", "-"]
            subprocess.run(argv, input="\n".join(lines), text=True, check=True)
        yield edge, client
    finally:
        for name in (edge, client):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def apply(edge: str, *words: str) -> bool:
    """Make filters true inside the edge; whether anything had to be changed."""
    argv = ["ip", "netns", "exec", edge, sys.executable, "-c", _APPLY, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


def gets_through(hosts: tuple[str, str], source: str, target: str, port: int) -> bool:
    """Whether a datagram from a source arrives at a port of the edge."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with entered(hosts[0]):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with entered(hosts[1]):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((target, port))
        receiver.settimeout(0.5)
        sender.bind((source, 0))
        sender.sendto(b"hello", (target, port))
        try:
            return receiver.recv(16) == b"hello"
        except TimeoutError:
            return False


def test_only_named_sources_get_through(hosts: tuple[str, str]) -> None:
    edge, _ = hosts
    assert gets_through(hosts, STRANGER, VIP, 53)
    assert apply(edge, f"{VIP}|UDP|53|{FRIEND}/32|198.51.100.0/24", f"{VIP}|TCP|80|{STRANGER}/32")
    assert gets_through(hosts, FRIEND, VIP, 53)
    assert not gets_through(hosts, STRANGER, VIP, 53)
    assert gets_through(hosts, STRANGER, VIP, 54), "another port is nobody's business"
    assert gets_through(hosts, "fd00:9:1::2", VIP6, 53), "another family neither"
    # A change of ranges, a second restricted port, the first one open again.
    assert apply(edge, f"{VIP}|UDP|53|{STRANGER}/32", f"{VIP6}|UDP|53")
    assert gets_through(hosts, STRANGER, VIP, 53)
    assert not gets_through(hosts, FRIEND, VIP, 53)
    assert not gets_through(hosts, "fd00:9:1::2", VIP6, 53)
    assert apply(edge)
    assert gets_through(hosts, FRIEND, VIP, 53)
    assert not apply(edge)


def test_ranges_of_ports_beside_single_ones(hosts: tuple[str, str]) -> None:
    edge, _ = hosts
    # 16384-32767 is one prefix of port numbers: it must be read back as a range all the same.
    words = (
        f"{VIP}|UDP|16384-32767|{FRIEND}/32",
        f"{VIP}|UDP|32768|{STRANGER}/32",
        f"{VIP}|UDP|10000-10001",
    )
    assert apply(edge, *words)
    for port in (16384, 20000, 32767):
        assert gets_through(hosts, FRIEND, VIP, port)
        assert not gets_through(hosts, STRANGER, VIP, port)
    assert not gets_through(hosts, FRIEND, VIP, 32768)
    assert gets_through(hosts, STRANGER, VIP, 32768)
    assert gets_through(hosts, STRANGER, VIP, 16383)
    assert not gets_through(hosts, FRIEND, VIP, 10001)
    assert apply(edge)


def nft(edge: str, text: str) -> str:
    """Run nft inside the edge; returns what it printed."""
    argv = ["ip", "netns", "exec", edge, "nft", "-s", text]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}: {done.stderr}"
    return done.stdout


def test_foreign_rules_and_masquerade_stay_and_nothing_of_ours(hosts: tuple[str, str]) -> None:
    edge, _ = hosts
    nft(edge, "add table inet foreign")
    kind = "{ type ipv4_addr . inet_proto . inet_service; }"
    nft(edge, f"add table inet fairlead; add set inet fairlead masquerade4 {kind}")
    assert apply(edge, f"{VIP}|UDP|53|{FRIEND}/32")
    assert apply(edge)
    left = nft(edge, "list ruleset")
    assert "table inet foreign" in left
    assert "set masquerade4" in left
    assert "sources" not in left
    nft(edge, "delete set inet fairlead masquerade4")
    assert apply(edge, f"{VIP}|UDP|53|{FRIEND}/32")
    assert apply(edge)
    assert "fairlead" not in nft(edge, "list ruleset"), "the table goes with what was in it"


_ONE = f"{VIP}|UDP|53|{FRIEND}/32"
_DRIFT = {
    "rules flushed": "flush chain inet fairlead sources",
    "chain gone": "flush chain inet fairlead sources; delete chain inet fairlead sources",
    "table gone": "delete table inet fairlead",
    "a foreign rule in front": "insert rule inet fairlead sources accept",
    "a foreign rule behind": "add rule inet fairlead sources counter accept",
    "elements gone": "flush set inet fairlead restricted4",
    "hooked elsewhere": "flush chain inet fairlead sources; delete chain inet fairlead sources; "
    "add chain inet fairlead sources { type filter hook input priority 0; }",
    "a comment": 'add element inet fairlead restricted4 { 10.9.1.9 . tcp . 80 comment "by hand" }',
    "policy drop": "chain inet fairlead sources { policy drop; }",
}


@pytest.mark.parametrize("drift", _DRIFT)
def test_whatever_somebody_changed_is_seen_and_put_back(hosts: tuple[str, str], drift: str) -> None:
    edge, _ = hosts
    apply(edge)
    assert apply(edge, _ONE)
    assert not apply(edge, _ONE)
    before = nft(edge, "list ruleset")
    nft(edge, _DRIFT[drift])
    assert nft(edge, "list ruleset") != before
    assert apply(edge, _ONE), "nothing was noticed"
    assert nft(edge, "list ruleset") == before
    assert gets_through(hosts, FRIEND, VIP, 53)
    assert not gets_through(hosts, STRANGER, VIP, 53)
    assert apply(edge)


def test_a_change_of_ranges_sends_only_elements() -> None:
    before = parse(f"{VIP}|TCP|80|10.0.0.0/8", f"{VIP}|TCP|443|10.0.0.0/8")
    after = parse(f"{VIP}|TCP|80|10.0.0.0/8|192.0.2.0/24", f"{VIP}|TCP|443|10.0.0.0/8")
    assert render_source_elements(before, after) == (
        f"add element inet fairlead sources4 {{ {VIP} . tcp . 80 . 192.0.2.0/24 }}\n"
    )
    assert render_source_elements(after, before).startswith("delete element inet fairlead sources4")


def test_iptables_lets_in_before_it_drops() -> None:
    text = render_sources_iptables(
        parse(f"{VIP}|TCP|80|10.0.0.0/8", f"{VIP}|UDP|53", f"{VIP}|UDP|100-200")
    )
    assert text.splitlines()[2:-1] == [
        f"-A FAIRLEAD-SOURCES -s 10.0.0.0/8 -d {VIP} -p tcp -m tcp --dport 80 -j RETURN",
        f"-A FAIRLEAD-SOURCES -d {VIP} -p tcp -m tcp --dport 80 -j DROP",
        f"-A FAIRLEAD-SOURCES -d {VIP} -p udp -m udp --dport 53 -j DROP",
        f"-A FAIRLEAD-SOURCES -d {VIP} -p udp -m udp --dport 100:200 -j DROP",
    ]
