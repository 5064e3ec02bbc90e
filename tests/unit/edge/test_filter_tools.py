# SPDX-License-Identifier: Apache-2.0
"""Tools of the packet filter that are missing, hang, refuse, or answer what nobody foresaw."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from fairlead.edge import filter_tools
from fairlead.edge.filter_tools import Chain, _Probe, listed_chain, load_chain, run_tool
from fairlead.edge.nft_table import read_table
from fairlead.edge.packet_filter import compare, read_rules
from fairlead.edge.source_filter import SOURCES
from fairlead.model.errors import ApplyError
from fairlead.model.names import Protocol
from fairlead.render.source_filter import SourceFilter

CHAIN = Chain("raw", "PREROUTING", "FAIRLEAD-SOURCES")
VIP = ip_address("192.0.2.160")
CLOSED = SourceFilter(VIP, Protocol.TCP, 80, 80, ())


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that stand in front of all others."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_tool_that_hangs_ends_in_an_error(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_tools, "_SECONDS", 0.2)
    tool(tools, "iptables-legacy", "exec sleep 30")
    with pytest.raises(ApplyError, match=r"no answer in 0\.2 s"):
        run_tool(["iptables-legacy", "--wait=5", "-C"])


def test_a_tool_that_is_not_there_names_the_role() -> None:
    with pytest.raises(ApplyError, match="edge_firewall"):
        run_tool(["no-such-tool"])


def test_a_no_of_the_kernel_is_asked_again_and_a_yes_holds_until_a_load_fails(
    tools: Path,
) -> None:
    now, broken = [100.0], tools / "broken"
    broken.touch()
    tool(tools, "nft", f"echo x >> {tools}/asked; [ ! -e {broken} ]")
    probe = _Probe(lambda: now[0])
    asked = lambda: len((tools / "asked").read_text().split())  # noqa: E731
    assert not probe()
    broken.unlink()
    assert not probe(), "a while"
    assert asked() == 1
    now[0] += 30
    assert probe()
    now[0] += 1000
    assert probe()
    assert asked() == 2
    broken.touch()
    probe.forget()
    assert not probe()


def test_a_probe_that_hangs_is_a_no(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_tools, "_SECONDS", 0.2)
    tool(tools, "nft", "exec sleep 30")
    assert not _Probe()()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"nftables": 1}',
        '{"nftables": [{"chain": {}}]}',
        '{"nftables": [{"set": 1}]}',
        '{"nftables": [{"rule": {"expr": []}}]}',
    ],
)
def test_an_answer_that_can_not_be_read_is_an_apply_error(tools: Path, answer: str) -> None:
    (tools / "answer").write_text(answer)
    tool(tools, "nft", f"cat {tools}/answer")
    with pytest.raises(ApplyError, match="can't be read"):
        read_table()


def test_a_refusal_is_not_taken_for_an_empty_table(tools: Path) -> None:
    tool(tools, "nft", "echo Operation not permitted >&2; exit 1")
    with pytest.raises(ApplyError, match="not permitted"):
        read_table()
    tool(tools, "nft", "echo Error: No such file or directory >&2; exit 1")
    assert read_table().chains == {}


KEY = {"concat": ["192.0.2.160", "tcp", 80]}


@pytest.mark.parametrize(
    ("element", "readable"),
    [
        (KEY, True),
        ({"elem": {"val": KEY, "comment": "by hand"}}, True),
        ({"elem": {"val": KEY, "timeout": 60, "expires": 3, "counter": {"packets": 1}}}, True),
        ({"elem": {}}, False),
        ({"concat": ["192.0.2.160", "tcp"]}, False),
        ({"concat": ["192.0.2.160", "quic", 80]}, False),
        ({"concat": ["nobody", "tcp", 80]}, False),
        ({"prefix": {"addr": "192.0.2.0", "len": 24}}, False),
        ("192.0.2.160", False),
        (7, False),
        (None, False),
        ([], False),
    ],
)
def test_elements_are_read_with_whatever_stands_around_them(
    tools: Path, element: object, readable: bool
) -> None:
    table = [{"set": {"name": "restricted4", "type": [], "elem": [element]}}]
    (tools / "answer").write_text(json.dumps({"nftables": table}))
    tool(tools, "nft", f"cat {tools}/answer")
    filter_tools.nftables_usable.forget()
    actual = read_rules(SOURCES)
    filter_tools.nftables_usable.forget()
    assert actual.rules == (frozenset({CLOSED}) if readable else frozenset())
    assert bool(actual.faults) is not readable
    assert compare(SOURCES, actual.rules, actual).changed


IPTABLES = {
    "as it should be": ("-N FAIRLEAD-SOURCES|-A PREROUTING -j FAIRLEAD-SOURCES|RULE", False),
    "chain missing": ("-P PREROUTING ACCEPT", True),
    "no jump": ("-N FAIRLEAD-SOURCES|RULE", True),
    "two jumps": (
        (
            "-N FAIRLEAD-SOURCES|-A PREROUTING -j FAIRLEAD-SOURCES"
            "|-A PREROUTING -j FAIRLEAD-SOURCES|RULE"
        ),
        True,
    ),
    "rules flushed": ("-N FAIRLEAD-SOURCES|-A PREROUTING -j FAIRLEAD-SOURCES", True),
    "a foreign rule": (
        "-N FAIRLEAD-SOURCES|-A PREROUTING -j FAIRLEAD-SOURCES|-A FAIRLEAD-SOURCES -j ACCEPT|RULE",
        True,
    ),
    "another verdict": (
        (
            "-N FAIRLEAD-SOURCES|-A PREROUTING -j FAIRLEAD-SOURCES|"
            "-A FAIRLEAD-SOURCES -d 192.0.2.160/32 -p tcp -m tcp --dport 80 -j ACCEPT"
        ),
        True,
    ),
}
RULE = "-A FAIRLEAD-SOURCES -d 192.0.2.160/32 -p tcp -m tcp --dport 80 -j DROP"


@pytest.mark.parametrize("case", IPTABLES)
def test_what_carries_the_rules_of_iptables_is_compared_as_well(
    tools: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    shown, broken = IPTABLES[case]
    monkeypatch.setattr(filter_tools, "_module_loaded", lambda name: name == "iptable_raw")
    (tools / "answer").write_text(shown.replace("RULE", RULE).replace("|", "\n") + "\n")
    tool(tools, "iptables-legacy", f"cat {tools}/answer")
    tool(tools, "nft", "exit 1")
    filter_tools.nftables_usable.forget()
    actual = read_rules(SOURCES)
    filter_tools.nftables_usable.forget()
    assert compare(SOURCES, frozenset({CLOSED}), actual).changed is broken
    nothing = compare(SOURCES, frozenset(), actual)
    assert nothing.changed is (case != "chain missing"), "switched off: nothing of ours is left"


def test_jumps_are_made_and_dropped_until_there_is_one(tools: Path) -> None:
    for name in ("iptables-legacy", "iptables-legacy-restore"):
        tool(tools, name, f'echo "$*" >> {tools}/asked; cat > /dev/null')
    for jumps, verb, times in ((0, "-A", 1), (1, "-A", 0), (3, "-D", 2)):
        (tools / "asked").write_text("")
        load_chain(CHAIN, 4, "*raw\nCOMMIT\n", jumps)
        asked = (tools / "asked").read_text().splitlines()
        assert sum(f" {verb} PREROUTING " in line for line in asked) == times
    assert listed_chain(Chain("nosuch", "X", "Y"), 4) is None
