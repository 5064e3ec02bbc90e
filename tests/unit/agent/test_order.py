# SPDX-License-Identifier: Apache-2.0
"""The order of IPVS and addresses, where something fails or comes in between."""

from types import SimpleNamespace
from typing import Any

import pytest

from fairlead.agent.messages import AnnouncementDone, VipsChanged
from fairlead.cluster.watch import Removed
from fairlead.diff.changes import AddService, DelService
from fairlead.edge.ipvs import ChangeResult, FakeIpvsTable
from fairlead.edge.vips import StandingVips
from fairlead.model.errors import FairleadError
from fairlead.model.ipvs import IpProtocol, ServiceKey
from fairlead.model.names import ObjectKey
from unit.agent.test_loop import VIP, WEB, Edge, changed, endpoints, ip_address, service

OTHER, SECOND = ObjectKey("shop", "other"), ip_address("192.0.2.11")
KEY = ServiceKey.of(IpProtocol.TCP, VIP, 80)


class Stubborn(FakeIpvsTable):
    """Refuses whatever is asked of it while told so."""

    refuse = False

    def apply(self, changes: Any) -> Any:
        if self.refuse:
            return [ChangeResult(change, 22, "no") for change in changes]
        return super().apply(changes)


def kinds(changes: list[Any]) -> list[type]:
    return [type(change) for change in changes]


def announced(edge: Edge) -> Any:
    return edge.log[-1].vrrp[0].addresses


# -- the way down ---------------------------------------------------------------------------------


def test_virtual_servers_stay_while_an_address_that_nobody_wants_stands() -> None:
    """The pass that should withdraw it failed: with an answer missing, clients would be reset."""
    edge = Edge()
    edge.list_all()
    edge.turn(VipsChanged(StandingVips(lan=frozenset({VIP}))))
    edge.turn(Removed("Service", WEB, 1))
    last = edge.log[-1].generation
    assert edge.turn(AnnouncementDone(last, complete=False)) == []
    changes = edge.turn(VipsChanged(StandingVips()))
    assert kinds(changes) == [DelService], "whatever else of the edge still fails"


def test_a_failed_pass_holds_up_no_virtual_server_of_another_address() -> None:
    edge = Edge()
    edge.list_all()
    edge.turn(VipsChanged(StandingVips()))
    edge.turn(Removed("Service", WEB, 1))
    last = edge.log[-1].generation
    assert kinds(edge.turn(AnnouncementDone(last, complete=False))) == [DelService]


def test_a_resync_leaves_virtual_servers_that_are_still_announced() -> None:
    edge = Edge()
    edge.list_all()
    edge.turn(Removed("Service", WEB, 1))
    edge.now += 60
    assert edge.turn() == []
    assert edge.loop.state.resyncs == 2
    assert kinds(edge.turn(AnnouncementDone(edge.log[-1].generation))) == [DelService]


def test_a_resync_under_way_leaves_what_begins_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list of virtual servers is older than the message."""
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += 0.0015  # two portions a turn
        return now

    clock = SimpleNamespace(monotonic=monotonic, monotonic_ns=lambda: 0, time=lambda: 0.0)
    keys = [ObjectKey("shop", f"s{number}") for number in range(30)]
    ports = [(key, str(ip_address("192.0.2.10") + number % 10)) for number, key in enumerate(keys)]
    services = tuple(
        service(key, vip, ports=numbered(80 + number), annotations=SHARED)
        for number, (key, vip) in enumerate(ports)
    )
    edge = Edge()
    edge.list_all(Service=services)
    assert len(edge.table.dump()) == 30
    monkeypatch.setattr("fairlead.agent.loop.time", clock)
    edge.now += 60
    edge.turn()
    left = set(edge.loop._sweep)
    assert 0 < len(left) < 30
    assert edge.turn(*(Removed("Service", key, 1) for key in keys)) == []
    while edge.loop._sweep:
        assert edge.turn() == []
    assert len(edge.turn(AnnouncementDone(edge.log[-1].generation))) == 30


SHARED = {"metallb.io/ip-allocated-from-pool": "lan", "metallb.io/allow-shared-ip": "one"}


def numbered(port: int) -> Any:
    (one,) = service().ports
    return (type(one)("", one.protocol, port, 8080, 30000 + port),)


def test_a_second_try_that_is_due_removes_nothing_that_is_announced() -> None:
    edge = Edge(Stubborn())
    edge.list_all()
    edge.table.refuse = True  # type: ignore[attr-defined]
    edge.turn(changed(endpoints({"node1": 1})))
    assert list(edge.kernel.failures) == ["-t 192.0.2.10:80"]
    edge.table.refuse = False  # type: ignore[attr-defined]
    edge.turn(Removed("Service", WEB, 1))
    edge.now += 5
    assert edge.turn() == []
    assert edge.kernel.failures == {}, "what nobody wants is not waited for"
    assert kinds(edge.turn(AnnouncementDone(edge.log[-1].generation))) == [DelService]


def test_a_removal_that_the_kernel_refused_is_tried_again() -> None:
    edge = Edge(Stubborn())
    edge.list_all()
    edge.turn(Removed("Service", WEB, 1))
    edge.table.refuse = True  # type: ignore[attr-defined]
    edge.turn(AnnouncementDone(edge.log[-1].generation))
    assert set(edge.table.dump()) == {KEY}
    edge.table.refuse = False  # type: ignore[attr-defined]
    edge.now += 5
    assert kinds(edge.turn()) == [DelService]


def test_a_change_that_waited_for_the_lock_removes_nothing_that_is_announced() -> None:
    edge = Edge()
    edge.list_all()
    edge.broken = FairleadError("a playbook has it")
    edge.turn(changed(endpoints({"node1": 1})))
    edge.turn(Removed("Service", WEB, 1))
    edge.broken = None
    assert edge.turn() == []
    assert kinds(edge.turn(AnnouncementDone(edge.log[-1].generation))) == [DelService]


def test_a_pass_that_made_all_true_is_enough() -> None:
    """What stands is told after it: keepalived takes addresses off in its own time."""
    edge = Edge()
    edge.list_all()
    edge.turn(VipsChanged(StandingVips(lan=frozenset({VIP}))))
    edge.turn(Removed("Service", WEB, 1))
    assert kinds(edge.turn(AnnouncementDone(edge.log[-1].generation))) == [DelService]


def test_whoever_returns_while_leaving_is_kept_true_again() -> None:
    edge = Edge()
    edge.list_all()
    edge.turn(Removed("Service", WEB, 1))
    edge.turn(changed(service(), "Service"))
    edge.table.apply([DelService(edge.table.dump()[KEY].service)])
    edge.now += 60
    edge.turn()
    assert set(edge.table.dump()) == {KEY}


def test_whoever_went_and_is_put_back_by_somebody_goes_at_a_resync() -> None:
    edge = Edge()
    edge.list_all()
    (entry,) = edge.table.dump().values()
    edge.turn(Removed("Service", WEB, 1))
    edge.turn(AnnouncementDone(edge.log[-1].generation))
    edge.table.apply([AddService(entry.service)])
    edge.now += 60
    assert kinds(edge.turn()) == [DelService]


# -- the way up -----------------------------------------------------------------------------------


def other() -> tuple[Any, Any]:
    """A second Service comes, with an endpoint."""
    return (
        changed(service(OTHER, "192.0.2.11"), "Service"),
        changed(endpoints({"node2": 1}, OTHER)),
    )


def test_an_address_waits_until_ipvs_can_be_changed() -> None:
    edge = Edge()
    edge.list_all()
    edge.broken = FairleadError("no IPVS")
    edge.turn(*other(), changed(endpoints({"node1": 1})))
    assert announced(edge) == (VIP,), "what was announced stays, though its weights wait"
    told = len(edge.log)
    edge.turn()
    assert len(edge.log) == told
    edge.broken = None
    edge.turn()
    assert announced(edge) == (VIP, SECOND)
    assert ServiceKey.of(IpProtocol.TCP, SECOND, 80) in edge.table.dump()


def test_a_port_that_goes_while_ipvs_cant_be_changed_holds_up_nothing() -> None:
    both = tuple(one for port in (80, 81) for one in numbered(port))
    edge = Edge()
    edge.list_all(Service=(service(ports=both),))
    edge.broken = FairleadError("no IPVS")
    edge.turn(changed(service(ports=both[:1]), "Service"))
    edge.turn(*other())
    edge.broken = None
    edge.turn()
    assert announced(edge) == (VIP, SECOND)
    assert {key.port for key in edge.table.dump()} == {80}


def test_an_address_that_goes_does_not_wait_for_ipvs() -> None:
    edge = Edge()
    edge.list_all()
    edge.broken = FairleadError("no IPVS")
    edge.turn(Removed("Service", WEB, 1))
    assert announced(edge) == ()


def test_an_address_whose_virtual_server_is_refused_comes_up() -> None:
    """Other ports of it may be served, and only one of a kind is refused again and again."""
    edge = Edge(Stubborn())
    edge.list_all()
    edge.table.refuse = True  # type: ignore[attr-defined]
    edge.turn(*other())
    assert announced(edge) == (VIP, SECOND)
