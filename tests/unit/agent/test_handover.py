# SPDX-License-Identifier: Apache-2.0
"""From one way of announcing to the other: what is off stays until the other way is up."""

import pytest

from fairlead.agent.handover import Handover
from fairlead.edge.parts import Target
from fairlead.model.errors import ApplyError
from fairlead.model.names import Announce
from golden import cases
from unit.agent.test_announcer import VIP, FakeEdge, instance

VRRP, BGP = Announce.VRRP, Announce.BGP
OLD_VRRP = {"VRRP instances": (instance(VIP),)}
OLD_BGP = {"BGP configuration": "sessions", "VIP link": frozenset({VIP})}


def _target(*announce: Announce) -> Target:
    return Target(cases.EDGE, frozenset(announce))


def _edge(holds: dict[str, object]) -> FakeEdge:
    edge = FakeEdge()
    edge.holds = {"VRRP instances": (), "BGP configuration": None, "VIP link": frozenset()} | holds
    return edge


def test_vrrp_stays_until_a_session_is_up_and_a_while_longer() -> None:
    up, edge = [False], _edge(OLD_VRRP)
    handover = Handover(lambda: up[0])
    assert handover.waiting(edge.parts, _target(BGP), 100.0) == ("VRRP instances",)
    assert handover.waiting(edge.parts, _target(BGP), 115.0) == ("VRRP instances",)
    up[0] = True
    assert handover.waiting(edge.parts, _target(BGP), 116.0) == ("VRRP instances",)
    assert handover.waiting(edge.parts, _target(BGP), 121.0) == ()
    assert handover.waiting(edge.parts, _target(BGP), 121.5) == (), "once it is over it is over"


def test_a_router_that_never_comes_up_keeps_nothing_for_ever() -> None:
    edge, handover = _edge(OLD_VRRP), Handover(lambda: False)
    assert handover.waiting(edge.parts, _target(BGP), 100.0)
    assert handover.waiting(edge.parts, _target(BGP), 130.0) == ()


def test_bgp_stays_until_vrrp_had_time_to_elect() -> None:
    edge, handover = _edge(OLD_BGP), Handover(lambda: False)
    names = ("BGP configuration", "VIP link")
    assert handover.waiting(edge.parts, _target(VRRP), 100.0) == names
    assert handover.waiting(edge.parts, _target(VRRP), 104.9) == names
    assert handover.waiting(edge.parts, _target(VRRP), 105.0) == ()


@pytest.mark.parametrize("announce", [(VRRP,), (BGP,), (VRRP, BGP), ()])
def test_where_nothing_was_left_nothing_waits(announce: tuple[Announce, ...]) -> None:
    handover = Handover(lambda: False)
    assert handover.waiting(_edge({}).parts, _target(*announce), 100.0) == ()


def test_without_another_way_it_goes_at_once() -> None:
    edge = _edge(OLD_VRRP | OLD_BGP)
    assert Handover(lambda: True).waiting(edge.parts, _target(), 100.0) == ()


def test_a_part_that_can_not_be_read_is_the_walks_business() -> None:
    edge = _edge(OLD_VRRP)

    def refuse() -> None:
        raise ApplyError("not readable")

    edge.parts.vrrp.actual = refuse  # type: ignore[method-assign]
    assert Handover(lambda: False).waiting(edge.parts, _target(BGP), 100.0) == ()
