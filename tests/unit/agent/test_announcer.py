# SPDX-License-Identifier: Apache-2.0
"""The announcer's thread with recorded effects; keepalived is a real process that is killed."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlead.agent.announcer import Announcer, AnnounceState, Tools
from fairlead.edge.parts import Difference, Part, Parts, Target
from fairlead.edge.parts.bird import BirdPart
from fairlead.edge.parts.packet_filter import PortMarksPart, SourceFilterPart, SourceNatPart
from fairlead.edge.parts.vrrp import present_instances
from fairlead.edge.process import DaemonWatch
from fairlead.edge.vips import StandingVips
from fairlead.model.errors import ApplyError
from fairlead.model.names import Announce, Forwarding, ObjectKey, Protocol
from fairlead.model.plan import EdgePlan, VipAddress, VirtualServer, VrrpInstance
from golden import cases
from unit.cluster.scripted_api import eventually

VIP, OTHER, STABLE, OWN, APART = (ip_address(f"192.0.2.{n}") for n in (10, 11, 9, 201, 161))
NAME = "sleep"


class Recorded(Part[Any, Any, Difference]):
    """A part that notes what it was asked for; what it holds is what it was given last."""

    def __init__(self, edge: "FakeEdge", name: str, desired: Any, guards: Any = None) -> None:
        self.name = name  # type: ignore[misc] # one class for all parts here
        self._edge, self._desired, self._guards = edge, desired, guards
        self.fails: Exception | None = None
        self.missing: frozenset[str] = frozenset()
        self.errors: tuple[Any, ...] = ()
        self.reads = 0

    def desired(self, target: Target) -> Any:
        return self._desired(target)

    def actual(self) -> Any:
        self.reads += 1
        return self._edge.holds.get(self.name)

    def difference(self, desired: Any, actual: Any, owned: Any) -> Difference:
        del owned
        self._edge.wanted[self.name] = desired
        return Difference(desired != actual)

    def apply(self, change: Difference, *, check: bool = False) -> None:
        del change, check
        if self.name == "VRRP instances" and self._edge.gate:
            self._edge.gate.wait(5)
        if self.fails:
            raise self.fails
        self._edge.done.append((self.name, self._edge.wanted[self.name]))
        self._edge.holds[self.name] = self._edge.wanted[self.name]

    def guards(self, target: Target) -> Any:
        return self._guards(target) if self._guards else frozenset()


class FakeEdge:
    """Parts that record, and a LAN interface that is a set."""

    def __init__(self, *lan: Any) -> None:
        self.done: list[tuple[str, Any]] = []
        self.holds: dict[str, Any] = {}
        self.wanted: dict[str, Any] = {}
        self.lan = set(lan)
        self.gate: threading.Event | None = None
        filters, bird = SourceFilterPart(), BirdPart()
        self.parts = Parts(
            Recorded(self, "source filter", filters.desired, filters.guards),
            Recorded(self, "port marks", PortMarksPart().desired),
            Recorded(self, "source NAT", SourceNatPart().desired),
            Recorded(self, "IPVS", lambda _target: pytest.fail("the loop has IPVS")),
            Recorded(self, "BGP configuration", bird.desired, bird.guards),
            Recorded(self, "VIP link", lambda target: target.by_bgp),
            Recorded(self, "VRRP instances", lambda target: target.vrrp),
        )

    @property
    def link(self) -> frozenset[Any]:
        return self.holds.get("VIP link", frozenset())

    def read(self, interfaces: Iterable[str]) -> StandingVips:
        assert set(interfaces) == {"eth0"}
        return StandingVips(frozenset(self.lan), self.link)

    def remove(self, interfaces: Iterable[str], addresses: Iterable[Any]) -> None:
        del interfaces
        self.lan -= set(addresses)

    def last(self, name: str) -> Any:
        return [what for part, what in self.done if part == name][-1]


class Rig:
    def __init__(self, edge: FakeEdge, pid_file: Path, resync: float = 30.0) -> None:
        self.edge, self.ended, self.vips = edge, list[tuple[int, bool]](), list[StandingVips]()

        @contextmanager
        def tools() -> Iterator[Tools]:
            yield Tools(edge.parts, edge)

        self.announcer = Announcer(
            tools,
            self.lock,  # type: ignore[arg-type] # only entered
            DaemonWatch(pid_file, NAME),
            done=lambda generation, complete: self.ended.append((generation, complete)),
            vips=self.vips.append,
            resync=resync,
        )
        self.announcer._backoff.first = 0.01
        self.locked: Exception | None = None
        self.announcer.start()

    @contextmanager
    def lock(self) -> Iterator[None]:
        if self.locked:
            raise self.locked
        yield

    @property
    def generations(self) -> list[int]:
        return [generation for generation, _ in self.ended]

    @property
    def state(self) -> AnnounceState:
        return self.announcer.state

    def passes(self) -> int:
        return sum(1 for what, _ in self.edge.done if what == "VRRP instances")


@pytest.fixture
def keepalived(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([NAME, "60"])
    (tmp_path / "pid").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def rig(tmp_path: Path, keepalived: subprocess.Popen[bytes]) -> Iterator[Rig]:
    assert keepalived.poll() is None
    rig = Rig(FakeEdge(OWN, VIP, STABLE), tmp_path / "pid")
    yield rig
    rig.announcer.stop()


def instance(*vips: Any) -> VrrpInstance:
    return VrrpInstance(
        instance="fairlead",
        interface="eth0",
        vrid=51,
        priority=200,
        advert_interval=0.1,
        preempt=False,
        source=OWN,
        peers=(),
        advertised_address="192.0.2.9/24",
        addresses=vips,
    )


def target(*vips: Any, **fields: Any) -> Target:
    """VIPs by VRRP, and by BGP with a session to one router."""
    plan: dict[str, Any] = {
        "addresses": tuple(VipAddress(vip, (Announce.VRRP, Announce.BGP), True) for vip in vips),
        "vrrp": (instance(*vips),),
        "bgp_peers": (cases.peer(),),
        "bgp_policies": cases.policies("tor1"),
    }
    base: dict[str, Any] = {
        "edge": cases.EDGE,
        "announce": frozenset({Announce.VRRP, Announce.BGP}),
        "passwords": {"tor1": "s3cret"},
        "owned": lambda address: address in (VIP, OTHER, APART),
    }
    return Target(plan=EdgePlan(**(plan | fields.pop("plan", {}))), **(base | fields))


def restricted(vip: Any) -> VirtualServer:
    return VirtualServer(
        address=vip,
        protocol=Protocol.TCP,
        port=80,
        scheduler="mh",
        flags=(),
        forwarding=Forwarding.DSR,
        service=ObjectKey("shop", "web"),
        source_ranges=(ip_network("198.51.100.0/24"),),
    )


UP = [
    "source filter",
    "port marks",
    "source NAT",
    "BGP configuration",
    "VIP link",
    "VRRP instances",
]


def test_way_up_is_the_order_of_the_parts(rig: Rig) -> None:
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.ended == [(1, True)])
    assert [what for what, _ in rig.edge.done] == UP
    assert "s3cret" not in repr(target(VIP))


def test_another_secret_is_another_state(rig: Rig) -> None:
    rig.announcer.announce(1, target())
    eventually(lambda: rig.generations == [1])
    rig.announcer.announce(2, target(passwords={"tor1": "other"}))
    eventually(lambda: rig.generations == [1, 2])
    assert rig.edge.last("BGP configuration").passwords == {"tor1": "other"}


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize(
    "error",
    [
        ApplyError("refused"),
        subprocess.TimeoutExpired(["nft"], 20),
        KeyError("prefix"),
        RecursionError(),
    ],
)
def test_whatever_a_part_raises_the_others_are_made_true(
    rig: Rig, index: int, error: Exception
) -> None:
    part = next(one for one in rig.edge.parts if one.name == UP[index])
    part.fails = error  # type: ignore[attr-defined]
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.ended[:1] == [(1, False)])
    others = [name for name in UP if name != UP[index]]
    assert [what for what, _ in rig.edge.done] == others
    assert list(rig.state.failures) == [UP[index]]
    part.fails = None  # type: ignore[attr-defined]
    eventually(lambda: rig.ended[-1] == (1, True))
    assert rig.state.failures == {}
    assert [what for what, _ in rig.edge.done] == [*others, UP[index]], "only that one is redone"


def test_a_bird_that_refuses_holds_up_only_vips_that_it_must_treat_apart(rig: Rig) -> None:
    rig.edge.parts.bird.fails = ApplyError("BIRD is gone")
    apart = {"addresses": (*target(VIP).plan.addresses, *cases.vips(str(APART)))}
    rig.announcer.announce(1, target(VIP, plan=apart))
    eventually(lambda: rig.generations == [1])
    assert rig.state.error == "BGP configuration: BIRD is gone"
    assert rig.edge.link == {VIP}
    rig.edge.parts.bird.fails = None
    eventually(lambda: rig.edge.link == {VIP, APART})
    eventually(lambda: rig.state.error == "")


def test_interfaces_that_are_missing_are_told(rig: Rig) -> None:
    rig.edge.parts.vrrp.missing = frozenset({"eth7"})
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: bool(rig.vips) and rig.vips[-1].missing == {"eth7"})


def test_instances_run_on_the_interfaces_that_are_there() -> None:
    both = msgspec.structs.replace(instance(VIP), devices=("eth0", "eth7"))
    one = msgspec.structs.replace(both, devices=("eth0",))
    assert present_instances((both,), frozenset({"eth7"})) == (one,)
    assert present_instances((both,), frozenset({"eth0"})) == ()
    assert present_instances((both, instance()), frozenset()) == (both, instance())


def test_same_state_again_reads_nothing(rig: Rig) -> None:
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.generations == [1])
    rig.announcer.announce(2, target(VIP))
    eventually(lambda: rig.generations == [1, 2])
    assert [part.reads for part in rig.edge.parts if part.name != "IPVS"] == [1] * 6


def test_a_new_vip_without_rules_costs_no_reading_of_the_packet_filter(rig: Rig) -> None:
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.generations == [1])
    rig.announcer.announce(2, target(VIP, OTHER))
    eventually(lambda: rig.generations == [1, 2])
    rules = rig.edge.parts[:3]
    assert [part.reads for part in rules] == [1, 1, 1]
    rig.announcer.announce(3, target(VIP, OTHER, virtual_servers=(restricted(OTHER),)))
    eventually(lambda: rig.generations == [1, 2, 3])
    assert [part.reads for part in rules] == [2, 1, 1]


def test_what_others_broke_is_repaired_at_a_resync(
    tmp_path: Path, keepalived: subprocess.Popen[bytes]
) -> None:
    assert keepalived.poll() is None
    rig = Rig(FakeEdge(OWN, STABLE), tmp_path / "pid", resync=0.2)
    try:
        rig.announcer.announce(1, target(VIP))
        eventually(lambda: rig.generations == [1])
        for name in UP:
            rig.edge.holds[name] = "broken"
        eventually(lambda: "broken" not in rig.edge.holds.values())
    finally:
        rig.announcer.stop()


def test_changes_that_never_end_keep_no_resync_from_the_packet_filter(
    tmp_path: Path, keepalived: subprocess.Popen[bytes]
) -> None:
    assert keepalived.poll() is None
    rig = Rig(FakeEdge(OWN, STABLE), tmp_path / "pid", resync=0.3)
    try:
        for generation in range(1, 41):
            rig.announcer.announce(generation, target(VIP if generation % 2 else OTHER))
            eventually(lambda generation=generation: generation in rig.generations)
            threading.Event().wait(0.02)
        assert 2 <= rig.edge.parts.port_marks.reads < 20
    finally:
        rig.announcer.stop()


def test_burst_is_one_more_pass(rig: Rig) -> None:
    rig.edge.gate = threading.Event()
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.edge.link == {VIP})
    for generation in range(2, 50):
        rig.announcer.announce(generation, target(*((VIP,) if generation % 2 else (VIP, OTHER))))
    rig.announcer.announce(50, target(OTHER))
    rig.edge.gate.set()
    eventually(lambda: rig.generations[-1:] == [50])
    assert rig.passes() == 2
    assert rig.edge.done[-1] == ("VRRP instances", (instance(OTHER),))


def test_a_generation_that_was_never_tried_is_not_done(rig: Rig) -> None:
    """What comes during a pass is another pass, also where the first one fails."""
    seen: list[tuple[int, Any]] = []
    rig.announcer._done = lambda generation, _complete: seen.append((generation, rig.edge.link))
    rig.edge.gate = threading.Event()
    rig.edge.parts.vrrp.fails = ApplyError("refused")
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.edge.link == {VIP})
    rig.announcer.announce(2, target())
    rig.edge.gate.set()
    eventually(lambda: seen[:2] == [(1, {VIP}), (2, frozenset())])


def test_a_lock_that_another_keeps_is_no_end_and_no_done(rig: Rig) -> None:
    rig.locked = ApplyError("a playbook has it")
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: "a playbook has it" in rig.state.error)
    assert rig.ended == []
    rig.locked = None
    eventually(lambda: rig.ended == [(1, True)])
    assert rig.state.error == ""


def test_what_stands_at_the_start_is_told_before_anything_is_changed(rig: Rig) -> None:
    rig.announcer.announce(1, target(VIP, OTHER))
    eventually(lambda: rig.generations == [1])
    eventually(lambda: len(rig.vips) == 2)
    assert rig.vips[0] == StandingVips(frozenset({VIP, STABLE}), frozenset())
    assert rig.vips[1].link == {VIP, OTHER}


def test_nothing_at_the_start_is_told_too(rig: Rig) -> None:
    """Else the first VIP that comes would be taken for what was there before."""
    rig.edge.lan.clear()
    rig.announcer.announce(1, target(plan={"vrrp": ()}))
    eventually(lambda: rig.vips == [StandingVips()])


def test_killed_keepalived_leaves_no_vip_behind(
    rig: Rig, keepalived: subprocess.Popen[bytes]
) -> None:
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.state.keepalived)
    keepalived.send_signal(signal.SIGKILL)
    eventually(lambda: rig.edge.lan == {OWN}, 2.0)
    eventually(lambda: rig.state.cleanups == 1)
    eventually(lambda: rig.vips[-1].lan == set())


def test_running_keepalived_is_left_alone(rig: Rig) -> None:
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.state.keepalived)
    eventually(lambda: rig.generations == [1])
    assert rig.edge.lan == {OWN, VIP, STABLE}


@pytest.mark.parametrize("on", [frozenset({Announce.BGP}), frozenset({Announce.VRRP})])
def test_a_way_that_is_switched_off_desires_nothing(rig: Rig, on: frozenset[Announce]) -> None:
    both = target(VIP)
    rig.announcer.announce(1, both)
    eventually(lambda: rig.generations == [1])
    rig.announcer.announce(2, replace(both, announce=on))
    eventually(lambda: rig.generations == [1, 2])
    vrrp, bgp = Announce.VRRP in on, Announce.BGP in on
    assert rig.edge.holds["VRRP instances"] == ((instance(VIP),) if vrrp else ())
    assert rig.edge.link == ({VIP} if bgp else frozenset())
    assert (rig.edge.holds["BGP configuration"] is not None) is bgp


def test_without_vrrp_nobody_looks_for_keepalived(
    rig: Rig, keepalived: subprocess.Popen[bytes]
) -> None:
    keepalived.kill()
    rig.announcer.announce(1, target(VIP, announce=frozenset({Announce.BGP})))
    eventually(lambda: rig.generations == [1])
    assert rig.state.keepalived is None


def test_stale_pid_file_names_nobody(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    watch = DaemonWatch(pid_file, "keepalived")
    assert not watch.alive()
    pid_file.write_text(f"{os.getpid()}\n")  # alive, but somebody else's pid by now
    assert not watch.alive()
    pid_file.write_text("4194305\n")
    assert not watch.alive()
    pid_file.write_text("gibberish")
    assert not watch.alive()


def test_pidfd_tells_of_the_death(keepalived: subprocess.Popen[bytes], tmp_path: Path) -> None:
    watch = DaemonWatch(tmp_path / "pid", NAME)
    assert watch.alive()
    assert watch.fileno() is not None
    keepalived.kill()  # a zombie until its parent looks: dead all the same
    eventually(lambda: not watch.alive())
    assert watch.fileno() is None


def test_addresses_that_come_wake_the_announcer() -> None:
    """Real rtnetlink, in a network namespace of this test's own thread."""
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(_wakes()))
    thread.start()
    thread.join()
    assert seen == [True]


def _wakes() -> bool:
    from fairlead.edge.address_events import AddressEvents  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    events = AddressEvents()
    quiet = events.drain()
    path = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    argv = ["nsenter", f"--net={path}", "ip", "addr", "add", "192.0.2.10/32", "dev", "lo"]
    subprocess.run(argv, check=True)
    woken = eventually(events.drain)
    events.close()
    return bool(woken and not quiet)


def test_restricted_vip_stays_down_where_the_filter_fails_and_others_come_up(rig: Rig) -> None:
    rig.edge.lan.discard(VIP)
    rig.edge.parts.source_filter.fails = ApplyError("nft: not installed")
    rig.announcer.announce(1, target(VIP, APART, virtual_servers=(restricted(VIP),)))
    eventually(lambda: rig.generations == [1])
    assert rig.edge.link == {APART}
    assert rig.edge.last("VRRP instances")[0].addresses == (APART,)
    assert "nft" in rig.state.error
    rig.edge.parts.source_filter.fails = None
    eventually(lambda: rig.edge.link == {VIP, APART})
    eventually(lambda: rig.edge.last("VRRP instances")[0].addresses == (VIP, APART))


def test_restricted_vip_that_stands_is_not_taken_away(rig: Rig) -> None:
    rig.announcer.announce(1, target(VIP))
    eventually(lambda: rig.generations == [1] and rig.state.vips is not None)
    rig.edge.parts.source_filter.fails = ApplyError("nft: not installed")
    rig.announcer.announce(2, target(VIP, virtual_servers=(restricted(VIP),)))
    eventually(lambda: 2 in rig.generations)
    assert rig.edge.last("VRRP instances")[0].addresses == (VIP,)
