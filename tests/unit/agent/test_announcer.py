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

from fairlead.agent.announcer import Announcer, present_instances
from fairlead.agent.wanted import BirdWanted, Held, Wanted
from fairlead.edge.process import DaemonWatch
from fairlead.model.errors import ApplyError
from fairlead.model.names import Protocol
from fairlead.model.plan import EdgePlan, VrrpInstance
from fairlead.render.source_filter import SourceFilter
from golden import cases
from unit.cluster.scripted_api import eventually

VIP, OTHER, STABLE, OWN = (ip_address(f"192.0.2.{n}") for n in (10, 11, 9, 201))
NAME = "sleep"


class Steps:
    """Records what is done, in order; the LAN interface is a set."""

    def __init__(self, *lan: Any) -> None:
        self.done: list[tuple[str, Any]] = []
        self.lan, self.link = set(lan), set[Any]()
        self.fail: Exception | None = None
        self.bird_fails: Exception | None = None
        self.filter_fails: Exception | None = None
        self.gone = frozenset[str]()
        self.gate: threading.Event | None = None

    def sources(self, filters: Iterable[Any]) -> bool:
        if self.filter_fails:
            raise self.filter_fails
        self.done.append(("sources", frozenset(filters)))
        return False

    def marks(self, marks: Iterable[Any]) -> bool:
        self.done.append(("marks", frozenset(marks)))
        return False

    def masquerade(self, targets: Iterable[Any]) -> bool:
        self.done.append(("masquerade", frozenset(targets)))
        return False

    def addresses(self, wanted: frozenset[Any], owned: Any) -> bool:
        del owned
        self.done.append(("addresses", wanted))
        changed, self.link = self.link != wanted, set(wanted)
        return changed

    def vrrp(self, instances: tuple[Any, ...]) -> bool:
        if self.gate:
            self.gate.wait(5)
        if self.fail:
            raise self.fail
        self.done.append(("vrrp", instances))
        return True

    def bird(self, text: str) -> bool:
        if self.bird_fails:
            raise self.bird_fails
        self.done.append(("bird", text))
        return True

    def missing(self, interfaces: Iterable[str]) -> frozenset[str]:
        return self.gone & set(interfaces)

    def held(self, interfaces: Iterable[str]) -> Held:
        lan = frozenset(self.lan) if list(interfaces) else frozenset()
        return Held(lan, frozenset(self.link))

    def clean(self, interfaces: Iterable[str], addresses: Iterable[Any]) -> None:
        del interfaces
        addresses = list(addresses)
        self.done.append(("clean", addresses))
        self.lan -= set(addresses)

    def close(self) -> None:
        self.done.append(("closed", None))


class Rig:
    def __init__(self, steps: Steps, pid_file: Path, resync: float = 30.0) -> None:
        self.steps, self.generations, self.held = steps, list[int](), list[Held]()
        self.announcer = Announcer(
            lambda: steps,
            self.lock,  # type: ignore[arg-type] # only entered
            DaemonWatch(pid_file, NAME),
            done=self.generations.append,
            held=self.held.append,
            resync=resync,
        )
        self.announcer._backoff.first = 0.01
        self.announcer.start()

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def passes(self) -> int:
        return sum(1 for what, _ in self.steps.done if what == "vrrp")


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
    rig = Rig(Steps(OWN, VIP, STABLE), tmp_path / "pid")
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


def wanted(generation: int, *vips: Any, **fields: Any) -> Wanted:
    base = Wanted(
        generation=generation,
        vrrp=(instance(*vips),),
        vrrp_used=True,
        bgp=frozenset(vips),
        owned=lambda address: address in (VIP, OTHER),
        interfaces=("eth0",),
        advertised=(STABLE,),
    )
    return replace(base, **fields)


def test_way_up_nat_addresses_vrrp(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.generations == [1])
    assert [what for what, _ in rig.steps.done] == [
        "sources",
        "marks",
        "masquerade",
        "addresses",
        "vrrp",
    ]


def bird(*vips: str, **changes: Any) -> BirdWanted:
    """One session; VIPs that stand are announced to nobody, unless the plan says otherwise."""
    plan = EdgePlan(
        bgp_peers=(cases.peer(),), bgp_policies=cases.policies("tor1"), addresses=cases.vips(*vips)
    )
    return BirdWanted(cases.EDGE, msgspec.structs.replace(plan, **changes), {"tor1": "s3cret"})


def test_policy_stands_before_the_address_that_it_is_about(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP, bird=bird()))
    eventually(lambda: rig.generations == [1])
    assert [what for what, _ in rig.steps.done] == [
        "sources",
        "marks",
        "masquerade",
        "bird",
        "addresses",
        "vrrp",
    ]
    assert 'password "s3cret";' in rig.steps.done[3][1]
    assert "s3cret" not in repr(wanted(1, bird=bird()))


def test_another_secret_is_another_state(rig: Rig) -> None:
    rig.announcer.want(wanted(1, bird=bird()))
    eventually(lambda: rig.generations == [1])
    rig.announcer.want(wanted(2, bird=replace(bird(), passwords={"tor1": "other"})))
    eventually(lambda: rig.generations == [1, 2])
    assert 'password "other";' in [text for what, text in rig.steps.done if what == "bird"][-1]


def test_a_bird_that_refuses_holds_up_only_vips_that_it_must_treat_apart(rig: Rig) -> None:
    rig.steps.bird_fails = ApplyError("BIRD is gone")
    apart = ip_address("192.0.2.161")
    rig.announcer.want(wanted(1, VIP, apart, bird=bird("192.0.2.161")))
    eventually(lambda: rig.generations == [1])
    assert rig.announcer.state.error == "BIRD is gone"
    assert ("addresses", frozenset({VIP})) in rig.steps.done
    rig.steps.bird_fails = None
    eventually(lambda: rig.steps.link == {VIP, apart})
    eventually(lambda: rig.announcer.state.error == "")


def test_a_peer_that_cannot_be_is_told_and_the_rest_goes_on(rig: Rig) -> None:
    peers = (cases.peer(), cases.peer(name="bad", vrf="a b"))
    rig.announcer.want(wanted(1, VIP, bird=bird(bgp_peers=peers)))
    eventually(lambda: rig.generations == [1])
    assert [error.name for error in rig.announcer.state.bird_errors] == ["bad"]
    assert rig.announcer.state.error == ""


def test_a_missing_interface_is_told_and_kept_from_keepalived(rig: Rig) -> None:
    rig.steps.gone = frozenset({"eth7"})
    lost = msgspec.structs.replace(instance(OTHER), instance="lost", devices=("eth7",))
    rig.announcer.want(wanted(1, vrrp=(instance(VIP), lost)))
    eventually(lambda: rig.generations == [1])
    assert rig.steps.done[-1] == ("vrrp", (instance(VIP),))
    eventually(lambda: rig.held[-1].missing == {"eth7"})


def test_instances_run_on_the_interfaces_that_are_there() -> None:
    both = msgspec.structs.replace(instance(VIP), devices=("eth0", "eth7"))
    one = msgspec.structs.replace(both, devices=("eth0",))
    assert present_instances((both,), frozenset({"eth7"})) == (one,)
    assert present_instances((both,), frozenset({"eth0"})) == ()
    assert present_instances((both, instance()), frozenset()) == (both, instance())


def test_same_state_again_reloads_nothing(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.generations == [1])
    rig.announcer.want(wanted(2, VIP))
    eventually(lambda: rig.generations == [1, 2])
    assert rig.passes() == 1


RULES = ("sources", "marks", "masquerade")


def test_a_new_vip_without_rules_costs_no_reading_of_the_packet_filter(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.generations == [1])
    rig.announcer.want(wanted(2, VIP, OTHER))
    eventually(lambda: rig.generations == [1, 2])
    assert [what for what, _ in rig.steps.done if what in RULES] == list(RULES)
    only = SourceFilter(OTHER, Protocol.TCP, 80, 80, (ip_network("198.51.100.0/24"),))
    rig.announcer.want(wanted(3, VIP, OTHER, filters=frozenset({only})))
    eventually(lambda: rig.generations == [1, 2, 3])
    found = [what for what, _ in rig.steps.done if what in RULES]
    assert found == [*RULES, "sources"]


def test_a_failed_pass_reads_the_packet_filter_again(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.generations == [1])
    rig.steps.fail = ApplyError("keepalived is gone")
    rig.announcer.want(wanted(2, VIP, OTHER))
    eventually(lambda: rig.generations == [1, 2])
    rig.steps.fail = None
    eventually(lambda: rig.passes() == 2)
    assert sum(what == "marks" for what, _ in rig.steps.done) == 2


def test_changes_that_never_end_keep_no_resync_from_the_packet_filter(
    tmp_path: Path, keepalived: subprocess.Popen[bytes]
) -> None:
    assert keepalived.poll() is None
    rig = Rig(Steps(OWN, STABLE), tmp_path / "pid", resync=0.3)
    try:
        for generation in range(1, 41):
            rig.announcer.want(wanted(generation, VIP if generation % 2 else OTHER))
            eventually(lambda generation=generation: generation in rig.generations)
            threading.Event().wait(0.02)
        assert 2 <= sum(what == "marks" for what, _ in rig.steps.done) < 20
    finally:
        rig.announcer.stop()


def test_burst_is_one_more_pass(rig: Rig) -> None:
    rig.steps.gate = threading.Event()
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: ("addresses", frozenset({VIP})) in rig.steps.done)
    for generation in range(2, 50):
        vips = (VIP,) if generation % 2 else (VIP, OTHER)
        rig.announcer.want(wanted(generation, *vips))
    rig.announcer.want(wanted(50, OTHER))
    rig.steps.gate.set()
    eventually(lambda: rig.generations[-1:] == [50])
    assert rig.passes() == 2
    assert rig.steps.done[-1] == ("vrrp", (instance(OTHER),))


def test_failure_releases_who_waits_and_is_tried_again(rig: Rig) -> None:
    rig.steps.fail = ApplyError("keepalived refused")
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.generations == [1])
    assert rig.announcer.state.error == "keepalived refused"
    rig.steps.fail = None
    eventually(lambda: rig.passes() == 1)
    eventually(lambda: rig.announcer.state.error == "")


def test_what_stands_at_the_start_is_told_before_anything_is_changed(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP, OTHER))
    eventually(lambda: rig.generations == [1])
    eventually(lambda: len(rig.held) == 2)
    assert rig.held[0] == Held(frozenset({VIP, STABLE}), frozenset())
    assert rig.held[1].bgp == {VIP, OTHER}


def test_nothing_at_the_start_is_told_too(rig: Rig) -> None:
    """Else the first VIP that comes would be taken for what was there before."""
    rig.steps.lan.clear()
    rig.announcer.want(wanted(1, vrrp=()))
    eventually(lambda: rig.held == [Held()])


def test_killed_keepalived_leaves_no_vip_behind(
    rig: Rig, keepalived: subprocess.Popen[bytes]
) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.announcer.state.keepalived)
    keepalived.send_signal(signal.SIGKILL)
    eventually(lambda: rig.steps.lan == {OWN}, 2.0)
    assert rig.announcer.state.cleanups == 1
    assert rig.held[-1].lan == set()


def test_running_keepalived_is_left_alone(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.announcer.state.keepalived)
    eventually(lambda: rig.generations == [1])
    assert rig.steps.lan == {OWN, VIP, STABLE}


def test_without_vrrp_nobody_looks_for_keepalived(
    rig: Rig, keepalived: subprocess.Popen[bytes]
) -> None:
    keepalived.kill()
    rig.announcer.want(wanted(1, VIP, vrrp_used=False))
    eventually(lambda: rig.generations == [1])
    assert rig.announcer.state.keepalived is None
    assert rig.passes() == 0


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


def restricted(vip: Any) -> SourceFilter:
    return SourceFilter(vip, Protocol.TCP, 80, 80, (ip_network("198.51.100.0/24"),))


def test_restricted_vip_stays_down_where_the_filter_fails_and_others_come_up(rig: Rig) -> None:
    other = ip_address("192.0.2.161")
    rig.steps.lan.discard(VIP)
    rig.steps.filter_fails = ApplyError("nft: not installed")
    asked = wanted(1, VIP, other, bgp=frozenset({VIP, other}), filters=frozenset({restricted(VIP)}))
    rig.announcer.want(asked)
    eventually(lambda: rig.generations == [1])
    done = dict(rig.steps.done)
    assert done["addresses"] == frozenset({other})
    assert done["vrrp"][0].addresses == (other,)
    assert "nft" in rig.announcer.state.error
    rig.steps.filter_fails = None
    eventually(lambda: dict(rig.steps.done)["addresses"] == frozenset({VIP, other}))
    eventually(lambda: dict(rig.steps.done)["vrrp"][0].addresses == (VIP, other))


def test_restricted_vip_that_stands_is_not_taken_away(rig: Rig) -> None:
    rig.announcer.want(wanted(1, VIP))
    eventually(lambda: rig.generations == [1] and rig.announcer.state.held is not None)
    rig.steps.filter_fails = ApplyError("nft: not installed")
    rig.announcer.want(wanted(2, VIP, filters=frozenset({restricted(VIP)})))
    eventually(lambda: 2 in rig.generations)
    assert dict(rig.steps.done)["vrrp"][0].addresses == (VIP,)
