# SPDX-License-Identifier: Apache-2.0
"""Sessions as status and metrics tell them; a socket stands in for BIRD."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from fairlead.agent.metrics import AgentCollector
from fairlead.agent.sessions import SessionWatch, session_reports
from fairlead.agent.view import AgentView, Surroundings
from fairlead.edge.bird_control import Line, ask
from fairlead.edge.bird_sessions import Session, parse_bfd, parse_protocols
from fairlead.model.bgp import BfdSettings
from fairlead.model.errors import ApplyError
from golden import cases

UP = Session(
    name="peer.tor1", state="Established", neighbor="192.0.2.1", exported=3, updates=9, bfd="Up"
)
LEAF = cases.peer(name="leaf", address=None, interface="eth1")


@contextmanager
def _bird(path: Path, *answers: bytes) -> Iterator[None]:
    """A control socket that greets, and answers each connection's one command in pieces."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            for answer in answers:
                stream, _ = server.accept()
                with stream:
                    stream.sendall(b"0001 BIRD 2.0.12 ready.\n")
                    stream.recv(100)
                    for at in range(0, len(answer), 7):
                        stream.sendall(answer[at : at + 7])

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(5)


def test_an_answer_is_read_to_its_last_line(tmp_path: Path) -> None:
    text = b"1002-a b\n 1003 looks like a code\n1006-\n0000 \n"
    with _bird(tmp_path / "ctl", text):
        assert ask("show", tmp_path / "ctl") == [
            Line(1002, "a b"),
            Line(1002, "1003 looks like a code"),
            Line(1006, ""),
            Line(0, ""),
        ]


def test_an_answer_that_breaks_off_or_never_comes(tmp_path: Path) -> None:
    with _bird(tmp_path / "ctl", b"1002-a b\n"), pytest.raises(ApplyError, match="broke off"):
        ask("show", tmp_path / "ctl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "mute"))
        server.listen()
        with pytest.raises(ApplyError, match=r"bird\.service"):
            ask("show", tmp_path / "mute", seconds=0.05)


def test_only_bgp_is_read_and_channels_add_up() -> None:
    lines = [
        Line(2002, "Name       Proto      Table      State  Since         Info"),
        Line(1002, "fairlead_vips Direct     ---        up     19:14:39.803"),
        Line(1006, "    Routes:         4 imported, 4 exported, 4 preferred"),
        Line(1002, "peer.tor1  BGP        ---        up     19:14:40.564  Established"),
        Line(1006, "  BGP state:          Established"),
        Line(1006, "    Neighbor address: fe80::1%eth1"),
        Line(1006, "    Routes:         0 imported, 2 exported, 0 preferred"),
        Line(
            1006, "      Export updates:              4          0          2        ---          2"
        ),
        Line(1006, "    Routes:         0 imported, 1 exported, 0 preferred"),
        Line(
            1006, "      Export updates:              1          0          0        ---          1"
        ),
        Line(
            1002,
            "peer.tor2  BGP        ---        start  19:14:39.803  Connect       Socket: No route",
        ),
        Line(1006, "    Last error:       Socket: No route to host"),
        Line(1002, "peer.tor3  BGP        ---        down   19:14:39.803"),
    ]
    assert parse_protocols(lines) == (
        Session(name="peer.tor1", state="Established", neighbor="fe80::1", exported=3, updates=3),
        Session(name="peer.tor2", state="Connect", last_error="Socket: No route to host"),
        Session(name="peer.tor3", state="down"),
    )


def test_bfd_is_read_by_address() -> None:
    lines = [
        Line(1020, "bfd1:"),
        Line(
            1020, "IP address                Interface  State      Since         Interval  Timeout"
        ),
        Line(
            1020, "192.0.2.1                 eth0       Up         19:14:40.558    0.100    0.500"
        ),
    ]
    assert parse_bfd(lines) == {"192.0.2.1": "Up"}
    assert parse_bfd([Line(9001, "There is no BFD protocol running")]) == {}


def test_every_peer_has_its_report() -> None:
    peers = (
        cases.peer(bfd=BfdSettings()),
        cases.peer(name="tor2", address=ip_address("2001:db8::2"), port=1790),
        LEAF,
    )
    born = Session(name="peer.leaf.1", state="Established", neighbor="fe80::7", exported=1)
    waiting = Session(name="peer.leaf", state="Passive")
    told = {one.peer: one for one in session_reports(peers, (UP, waiting, born))}
    assert (told["tor1"].address, told["tor1"].up, told["tor1"].bfd) == (
        "192.0.2.1:179",
        True,
        "Up",
    )
    assert (told["tor2"].address, told["tor2"].state) == ("[2001:db8::2]:1790", "missing")
    assert told["tor2"].bfd is None
    assert (told["leaf"].address, told["leaf"].up, told["leaf"].exported) == ("eth1", True, 1)


def test_metrics_have_upstreams_names() -> None:
    peers = (cases.peer(bfd=BfdSettings()), cases.peer(name="z", address=ip_address("192.0.2.9")))
    around = Surroundings(bird=True, sessions=session_reports(peers, (UP,)))
    view = AgentView(edge="edge1", around=around)
    seen = {
        (sample.name, sample.labels.get("peer", "")): sample.value
        for family in AgentCollector(lambda: view).collect()
        for sample in family.samples
    }
    assert seen[("fairlead_bird_up", "")] == 1
    assert seen[("metallb_bgp_session_up", "192.0.2.1:179")] == 1
    assert seen[("metallb_bgp_session_up", "192.0.2.9:179")] == 0
    assert seen[("metallb_bgp_announced_prefixes_total", "192.0.2.1:179")] == 3
    assert seen[("metallb_bgp_updates_total", "192.0.2.1:179")] == 9
    assert seen[("metallb_bfd_session_up", "192.0.2.1:179")] == 1
    assert ("metallb_bfd_session_up", "192.0.2.9:179") not in seen


def test_a_bird_that_fails_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch = SessionWatch(lambda: (cases.peer(),), tmp_path / "ctl")
    up = b"1002-peer.tor1 BGP --- up 1 Established\n0000 \n"
    with _bird(tmp_path / "ctl", up, b"9001 none\n"):
        watch.look()
    assert (watch.bird, watch.reports[0].up) == (True, True)
    for _ in range(3):
        watch.look()
    assert (watch.bird, watch.reports[0].up) == (False, False)
    told = [record.getMessage() for record in caplog.records]
    assert sum("BGP session is down" in text for text in told) == 1
    assert sum("BIRD does not answer" in text for text in told) == 1
