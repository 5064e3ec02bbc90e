# SPDX-License-Identifier: Apache-2.0
"""Two real BIRDs in network namespaces of the test's own: what the files say really goes out."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from fairlead.edge.bird import apply_bird
from fairlead.edge.bird_control import ask
from fairlead.edge.bird_sessions import Session, sessions
from fairlead.edge.parts import BirdPaths, Target
from fairlead.edge.parts.bird import BirdPart
from fairlead.model.bgp import BfdSettings
from fairlead.model.errors import ApplyError, ValidationError
from fairlead.model.names import Announce
from fairlead.model.plan import BgpPolicy, EdgePlan
from fairlead.render import render_bird
from golden import cases
from support.bird import MOMENT, up_since

EDGE, ROUTER = "fairlead-bird-a", "fairlead-bird-b"
# The kernel may lack dummy links: any link that holds addresses will do.
LINKS = f"""
netns add {EDGE}
netns add {ROUTER}
-n {EDGE} link add eth0 type veth peer name eth0 netns {ROUTER}
-n {EDGE} link add fairlead0 type veth peer name other
-n {EDGE} link set lo up
-n {EDGE} link set eth0 up
-n {EDGE} link set other up
-n {EDGE} link set fairlead0 up
-n {ROUTER} link set eth0 up
-n {EDGE} addr add 192.0.2.11/24 dev eth0
-n {EDGE} addr add 192.0.2.12/24 dev eth0
-n {ROUTER} addr add 192.0.2.1/24 dev eth0
-n {ROUTER} addr add 192.0.2.2/24 dev eth0
-n {EDGE} addr add 2001:db8::11/64 dev eth0 nodad
-n {ROUTER} addr add 2001:db8::2/64 dev eth0 nodad
"""
# External as tor1 (with BFD), internal as ibgp, IPv6 as tor2; each in a table of its own.
ROUTER_CONF = """
log stderr all;
router id 192.0.2.1;
protocol device {}
protocol bfd {}
ipv4 table t1; ipv4 table t2; ipv6 table t3;
template bgp any { passive on; error wait time 1, 2; }
protocol bgp router1 from any { local 192.0.2.1 as 64500; neighbor 192.0.2.11 external; bfd on;
  ipv4 { table t1; import all; export none; }; }
protocol bgp router2 from any { local 192.0.2.2 as 64512; neighbor 192.0.2.12 internal;
  ipv4 { table t2; import all; export none; }; }
protocol bgp router3 from any { local 2001:db8::2 as 64500; neighbor 2001:db8::11 external;
  password "s3cret"; ipv6 { table t3; import all; export none; }; }
"""
TOR1 = cases.peer(bfd=BfdSettings(interval=0.05))
IBGP = cases.peer(
    name="ibgp",
    address=ip_address("192.0.2.2"),
    source_address=ip_address("192.0.2.12"),
    asn=64512,
)
TOR2 = cases.peer(name="tor2", address=ip_address("2001:db8::2"), password="s3cret")


def _ip(*argv: str) -> None:
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(argv)}: {done.stderr}"


def _until(condition: Callable[[], bool], what: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        time.sleep(0.05)


@contextmanager
def _bird(netns: str, conf: Path, control: Path) -> Iterator[None]:
    argv = ["ip", "netns", "exec", netns, "bird", "-f", "-c", str(conf), "-s", str(control)]
    daemon = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        _until(control.is_socket, lambda: f"{netns}: BIRD's control socket")
        yield
    finally:
        daemon.terminate()
        daemon.wait(10)


@dataclass
class Pair:
    """An edge's BIRD under test and the router's."""

    folder: Path

    def apply(self, plan: EdgePlan, passwords: dict[str, str] | None = None) -> bool:
        """Let the edge hold a plan; whether that changed its file."""
        rendered = render_bird(cases.EDGE, plan, passwords)
        assert not rendered.errors
        return self.write(rendered.text)

    def write(self, text: str, control: str = "edge.ctl") -> bool:
        """Let the edge hold a text."""
        return apply_bird(
            text,
            path=self.folder / "fairlead.conf",
            control=self.folder / control,
            loaded_mark=self.folder / "loaded",
        ).changed

    def sessions(self) -> dict[str, Session]:
        """The edge's sessions."""
        return {one.name: one for one in sessions(self.folder / "edge.ctl")}

    def up(self, *names: str) -> None:
        """Wait for sessions."""
        _until(lambda: all(self.sessions()[name].up for name in names), self.sessions)

    def since(self, name: str) -> float:
        """When a session came up, in seconds."""
        lines = ask("show protocols", self.folder / "edge.ctl")
        return up_since("\n".join(line.text for line in lines), name)

    def heard(self, table: str) -> dict[str, dict[str, str]]:
        """Routes in one of the router's tables with their BGP attributes."""
        found: dict[str, dict[str, str]] = {}
        prefix = ""
        for line in ask(f"show route table {table} all", self.folder / "router.ctl"):
            if "/" in line.text.split(" ")[0]:
                prefix = line.text.split()[0]
                found[prefix] = {}
            elif line.text.strip().startswith("BGP."):
                name, _, value = line.text.strip().partition(": ")
                found[prefix][name.removeprefix("BGP.")] = value
        return found

    def hears(self, table: str, wanted: dict[str, dict[str, str]]) -> None:
        """Wait until a table holds just these prefixes, with at least these attributes."""

        def same() -> bool:
            heard = self.heard(table)
            return heard.keys() == wanted.keys() and all(
                heard[prefix].items() >= attributes.items() for prefix, attributes in wanted.items()
            )

        _until(same, lambda: (self.heard(table), wanted))


@pytest.fixture(scope="module")
def _namespaces() -> Iterator[None]:
    try:
        for line in LINKS.strip().splitlines():
            _ip(*line.split())
        yield
    finally:
        for netns in (EDGE, ROUTER):
            subprocess.run(["ip", "netns", "del", netns], capture_output=True, check=False)


@pytest.fixture
def pair(_namespaces: None, tmp_path: Path) -> Iterator[Pair]:
    """Both running; the edge's main file is what the role writes, in short."""
    (tmp_path / "router.conf").write_text(ROUTER_CONF)
    (tmp_path / "main.conf").write_text(
        f'router id 0.0.0.1;\nprotocol device {{}}\ninclude "{tmp_path}/fairlead*.conf";\n'
    )
    with (
        _bird(ROUTER, tmp_path / "router.conf", tmp_path / "router.ctl"),
        _bird(EDGE, tmp_path / "main.conf", tmp_path / "edge.ctl"),
    ):
        yield Pair(tmp_path)


@contextmanager
def _standing(*vips: str) -> Iterator[None]:
    """VIPs on the link while the block runs."""
    for vip in vips:
        _ip("-n", EDGE, "addr", "add", vip, "dev", "fairlead0")
    try:
        yield
    finally:
        for vip in vips:
            _ip("-n", EDGE, "addr", "del", vip, "dev", "fairlead0")


def test_a_vip_costs_no_change_and_nothing_foreign_goes_out(pair: Pair) -> None:
    plan = EdgePlan(
        bgp_peers=(TOR1, TOR2),
        bgp_policies=(
            *cases.policies("tor1", communities=("64512:1", "large:64512:2:3"), local_pref=200),
            *cases.policies("tor2"),
        ),
    )
    assert pair.apply(plan)
    pair.up("peer.tor1", "peer.tor2")
    # What is foreign stands first: whoever hears the VIP would have heard it by then.
    with _standing("198.51.100.1/32", "192.0.2.176/28", "192.0.2.161/32", "2001:db8::a1/128"):
        here = msgspec.structs.replace(
            plan,
            addresses=cases.vips("192.0.2.161", "2001:db8::a1"),
            bgp=(
                cases.told(
                    "192.0.2.161/32",
                    "tor1",
                    communities=("64512:1", "large:64512:2:3"),
                    local_pref=200,
                ),
                cases.told("2001:db8::a1/128", "tor2"),
            ),
        )
        assert not pair.apply(here)
        attributes = {"community": "(64512,1)", "large_community": "(64512, 2, 3)"}
        # LOCAL_PREF is for one's own AS: another takes its default.
        pair.hears("t1", {"192.0.2.161/32": {**attributes, "local_pref": "100"}})
        pair.hears("t3", {"2001:db8::a1/128": {}})
    pair.hears("t1", {})


def test_single_vips_differ_and_sessions_stay_up(pair: Pair) -> None:
    plan = EdgePlan(
        bgp_peers=(TOR1, IBGP),
        bgp_policies=(
            *cases.policies("tor1", "ibgp", communities=("64512:1",)),
            *cases.policies("ibgp", communities=("64512:9",), local_pref=50),
        ),
    )
    pair.apply(plan)
    pair.up("peer.tor1", "peer.ibgp")
    since = pair.since("peer.tor1")
    both = {"communities": ("64512:1", "64512:9"), "local_pref": 50}
    with _standing("192.0.2.161/32", "192.0.2.162/32", "192.0.2.163/32"):
        here = msgspec.structs.replace(
            plan,
            addresses=cases.vips("192.0.2.161", "192.0.2.162", "192.0.2.163"),
            bgp=(
                cases.told("192.0.2.161/32", "tor1", communities=("64512:1",)),
                cases.told("192.0.2.161/32", "ibgp", **both),
                cases.told("192.0.2.162/32", "tor1", communities=("64512:1", "64512:7")),
                cases.told("192.0.2.162/32", "ibgp", **both),
                cases.told("192.0.2.163/32", "ibgp", communities=("64512:8",)),
            ),
        )
        assert pair.apply(here)
        pair.hears(
            "t1",
            {
                "192.0.2.161/32": {"community": "(64512,1)"},
                "192.0.2.162/32": {"community": "(64512,1) (64512,7)"},
            },
        )
        own = {"community": "(64512,1) (64512,9)", "local_pref": "50"}
        pair.hears(
            "t2",
            {
                "192.0.2.161/32": own,
                "192.0.2.162/32": own,
                "192.0.2.163/32": {"community": "(64512,8)", "local_pref": "100"},
            },
        )
    assert pair.since("peer.tor1") == pytest.approx(since, abs=MOMENT)
    assert pair.apply(msgspec.structs.replace(plan, bgp_peers=(TOR1,)))
    assert pair.since("peer.tor1") == pytest.approx(since, abs=MOMENT)


def test_an_aggregate_goes_out_in_place_of_its_vips(pair: Pair) -> None:
    plan = EdgePlan(
        bgp_peers=(TOR1,),
        bgp_policies=(BgpPolicy(prefixes=("192.0.2.160/27",), length=27, peers=("tor1",)),),
    )
    pair.apply(plan)
    pair.up("peer.tor1")
    with _standing("192.0.2.161/32"):
        here = msgspec.structs.replace(
            plan,
            addresses=cases.vips("192.0.2.161"),
            bgp=(cases.told("192.0.2.160/27", "tor1", communities=("64512:3",)),),
        )
        assert pair.apply(here)
        attributes = {"community": "(64512,3)", "next_hop": "192.0.2.11"}
        pair.hears("t1", {"192.0.2.160/27": attributes})
        assert pair.apply(plan)
        pair.hears("t1", {})


def test_sessions_tell_what_they_do(pair: Pair) -> None:
    plan = EdgePlan(bgp_peers=(TOR1, TOR2), bgp_policies=cases.policies("tor1"))
    with _standing("192.0.2.161/32", "192.0.2.162/32"):
        # A wrong secret: no segment of TCP arrives.
        pair.apply(plan, {"tor2": "s3cret"})
        pair.apply(
            msgspec.structs.replace(
                plan, bgp_peers=(TOR1, msgspec.structs.replace(TOR2, password="wrong"))
            )
        )
        pair.up("peer.tor1")
        _until(lambda: pair.sessions()["peer.tor1"].bfd == "Up", pair.sessions)
        _until(lambda: pair.sessions()["peer.tor1"].exported == 2, pair.sessions)
    told = pair.sessions()
    assert (told["peer.tor1"].neighbor, told["peer.tor1"].updates) == ("192.0.2.1", 2)
    assert not told["peer.tor2"].up
    assert told["peer.tor2"].bfd is None


def test_refused_text_and_lost_command(pair: Pair) -> None:
    pair.apply(EdgePlan(bgp_peers=(TOR1,)))
    with pytest.raises(ValidationError, match="bird refused"):
        pair.write("nonsense;\n")
    assert list(pair.sessions()) == ["peer.tor1"]
    # Written, then killed before BIRD was told: the mark still names the older text.
    text = render_bird(cases.EDGE, EdgePlan(bgp_peers=(TOR1, IBGP))).text
    assert pair.write(text, control="no-such.ctl")
    assert list(pair.sessions()) == ["peer.tor1"]
    assert not pair.write(text)
    assert sorted(pair.sessions()) == ["peer.ibgp", "peer.tor1"]


def test_secrets_are_not_in_the_difference(tmp_path: Path) -> None:
    files = {
        "path": tmp_path / "f.conf",
        "control": tmp_path / "ctl",
        "loaded_mark": tmp_path / "m",
    }
    for password in ("first0", "second"):
        peer = msgspec.structs.replace(TOR2, password=password)
        text = render_bird(cases.EDGE, EdgePlan(bgp_peers=(peer,))).text
        change = apply_bird(text, **files)
        assert change.changed
        assert password in files["path"].read_text()
        assert "first0" not in change.before + change.after
        assert "second" not in change.before + change.after
    assert change.before == change.after


def test_a_bird_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert sessions(tmp_path / "bird.ctl") == ()
    with pytest.raises(ApplyError, match=r"bird\.service"):
        ask("show status", tmp_path / "bird.ctl")


REFUSED = {
    "unspecified-address": {"address": ip_address("::")},
    "interface-ibgp": {"asn": 64512, "address": None, "interface": "eth1"},
    "a-name-of-more-than-fifty-characters-xxxxxxxxxxxxxxxxxxxxxx": {
        "address": None,
        "interface": "eth1",
    },
    "link-local-source": {
        "address": ip_address("fd00::1"),
        "source_address": ip_address("fe80::1"),
    },
}


def test_sessions_that_bird_refuses_are_left_out_and_named(tmp_path: Path) -> None:
    """Four that pass every check of ours; the others come up, and a second look changes nothing."""
    odd = [cases.peer(name=name, **fields) for name, fields in REFUSED.items()]
    target = Target(
        edge=cases.EDGE,
        announce=frozenset({Announce.BGP}),
        plan=EdgePlan(bgp_peers=(TOR1, *odd, IBGP)),
    )
    paths = BirdPaths(tmp_path / "f.conf", tmp_path / "ctl", tmp_path / "mark")
    part = BirdPart(paths)
    assert part.make_true(target).changed
    assert {one.name for one in part.errors} == set(REFUSED)
    assert all("BIRD refuses the session" in one.message for one in part.errors)
    text = paths.conf.read_text()
    assert "'peer.tor1'" in text
    assert "'peer.ibgp'" in text
    assert not [name for name in REFUSED if name in text]
    for again in (part, BirdPart(paths)):
        assert not again.make_true(target).changed
        assert {one.name for one in again.errors} == set(REFUSED)
