# SPDX-License-Identifier: Apache-2.0
"""The main loop with the real planner and a table in memory: order, patience, adoption."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest

from fairlead.agent.kernel import KernelTable
from fairlead.agent.loop import Loop
from fairlead.agent.messages import AnnouncementDone, LeadershipChanged, VipsChanged
from fairlead.agent.planning import EdgePlanning
from fairlead.agent.ports import Ports
from fairlead.agent.view import AgentView, Surroundings
from fairlead.cluster.watch import Changed, Failed, Listed, Removed
from fairlead.diff.changes import AddService, DelService, SetDest
from fairlead.edge.ipvs import ChangeResult, FakeIpvsTable
from fairlead.edge.ownership import OwnedVips
from fairlead.edge.parts import Target
from fairlead.edge.systemd import Notifier
from fairlead.edge.vips import StandingVips
from fairlead.model.errors import FairleadError
from fairlead.model.ipvs import IpProtocol, IpvsEntry, IpvsService, ServiceKey
from fairlead.model.kube import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Node,
    Service,
    ServicePort,
)
from fairlead.model.names import Family, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.plan import ObjectError
from fairlead.snapshot.inventory import inventory_from_dict

KINDS = ("Service", "EndpointSlice", "Node", "Namespace", "IPAddressPool")
WEB = ObjectKey("shop", "web")
VIP = ip_address("192.0.2.10")
INVENTORY = inventory_from_dict(
    {
        "edges": [
            {"name": "edge1", "address": "192.0.2.201"},
            {"name": "edge2", "address": "192.0.2.202"},
        ],
        "pools": [{"name": "lan", "addresses": ["192.0.2.10-192.0.2.19"]}],
        "vrrp": {"advertised_address": "192.0.2.9/24"},
    }
)


def service(key: ObjectKey = WEB, vip: str | None = "192.0.2.10", **fields: Any) -> Service:
    settings: dict[str, Any] = {
        "uid": f"uid-{key.name}",
        "resource_version": "1",
        "type": "LoadBalancer",
        "cluster_ips": ("10.96.0.5",),
        "ip_families": (Family.IPV4,),
        "policy": TrafficPolicy.LOCAL,
        "ports": (ServicePort("", Protocol.TCP, 80, 8080, 30080),),
        "annotations": {"metallb.io/ip-allocated-from-pool": "lan"} if vip else {},
        "ingress": ((ip_address(vip), "VIP"),) if vip else (),
    }
    return Service(key=key, **(settings | fields))


def endpoints(ready: dict[str, int], key: ObjectKey = WEB) -> EndpointSlice:
    pods = []
    for node, count in ready.items():
        for _ in range(count):
            pods.append(Endpoint((ip_address(f"10.244.0.{len(pods) + 1}"),), node))
    ports = (EndpointPort("", Protocol.TCP, 8080),)
    name = ObjectKey(key.namespace, f"{key.name}-abc")
    return EndpointSlice(name, key, Family.IPV4, ports, tuple(pods))


NODES = tuple(Node(f"node{n}", (ip_address(f"192.0.2.{100 + n}"),)) for n in (1, 2, 3))


class Asked(NamedTuple):
    """What the announcer was asked for."""

    generation: int
    target: Target

    @property
    def vrrp(self) -> Any:
        return self.target.vrrp


class Edge:
    """A loop with everything around it recorded."""

    def __init__(self, table: FakeIpvsTable | None = None) -> None:
        self.table = table or FakeIpvsTable()
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.now = 1000.0
        self.log: list[Any] = []
        self.weights_when_announced: list[dict[str, int]] = []
        self.latencies: list[float] = []
        self.decisions: list[Any] = []
        self.broken: FairleadError | None = None
        self.planning = EdgePlanning(INVENTORY, INVENTORY.edges[0])
        self.kernel = KernelTable(lambda: self.table, self.lock, clock=lambda: self.now)  # type: ignore[arg-type] # a lock that only has to be entered
        ports = Ports(
            kernel=self.kernel,
            planning=self.planning,
            owned=OwnedVips.of(INVENTORY),
            announce=self.announce,
            decide=self.decide,
            conflict=lambda _key: None,
            latency=self.latencies.append,
            around=lambda: self.around,
            publish=self.publish,
            notifier=Notifier({}),
        )
        self.around = Surroundings()
        self.view = AgentView(edge="edge1")
        self.published = 0
        self.loop = Loop(self.queue, KINDS, ports, clock=lambda: self.now)

    @contextmanager
    def lock(self) -> Iterator[None]:
        if self.broken:
            raise self.broken
        yield

    def announce(self, generation: int, target: Target) -> None:
        self.weights_when_announced.append(self.weights())
        self.log.append(Asked(generation, target))

    def decide(self) -> None:
        self.decisions += self.planning.take_decisions()

    def publish(self, view: AgentView) -> None:
        self.published += 1
        self.planning.take_pool_news()
        self.view = view

    def turn(self, *messages: Any) -> list[Any]:
        """Give messages, turn once, return the changes that reached the kernel."""
        for message in messages:
            self.queue.put(message)
        before = len(self.table.log)
        self.loop.turn(0)
        return self.table.log[before:]

    def list_all(self, **objects: Any) -> list[Any]:
        lists = {
            "Service": (service(),),
            "EndpointSlice": (endpoints({"node1": 2, "node2": 1}),),
            "Node": NODES,
            "Namespace": (Namespace("shop"),),
            "IPAddressPool": (),
        } | objects
        return self.turn(*[Listed(kind, tuple(lists[kind]), (), 1) for kind in KINDS])

    def weights(self, port: int = 80, vip: Any = VIP) -> dict[str, int]:
        entry = self.table.dump().get(ServiceKey.of(IpProtocol.TCP, vip, port))
        return {str(d.ip): d.weight for d in entry.dests} if entry else {}


def changed(value: Any, kind: str = "EndpointSlice") -> Changed:
    return Changed(kind, value.key, value, 1)


def foreign(address: str, port: int = 80) -> IpvsEntry:
    key = ServiceKey.of(IpProtocol.TCP, ip_address(address), port)
    return IpvsEntry(IpvsService(key=key, scheduler="rr"))


def table_of(*entries: IpvsEntry) -> FakeIpvsTable:
    return FakeIpvsTable({entry.service.key: entry for entry in entries})


def test_nothing_is_written_before_every_kind_was_listed() -> None:
    edge = Edge(table_of(foreign("192.0.2.15")))
    for kind, objects in (
        ("Service", ()),
        ("EndpointSlice", ()),
        ("Node", NODES),
        ("Namespace", ()),
    ):
        assert edge.turn(Listed(kind, objects, (), 1)) == []
    assert edge.log == []
    assert not edge.loop.state.synced
    edge.turn(Listed("IPAddressPool", (), (), 1))
    assert edge.loop.state.synced


def test_way_up_is_ipvs_then_announcement() -> None:
    edge = Edge()
    edge.list_all()
    assert edge.weights_when_announced == [{"192.0.2.101": 2, "192.0.2.102": 1}]
    assert edge.log[0].vrrp[0].addresses == (VIP,)


def test_way_down_waits_for_the_announcer() -> None:
    edge = Edge()
    edge.list_all()
    generation = edge.log[-1].generation
    assert edge.turn(Removed("Service", WEB, 1)) == []
    assert edge.log[-1].generation == generation + 1
    assert edge.log[-1].vrrp[0].addresses == ()
    assert edge.turn(AnnouncementDone(generation)) == []
    changes = edge.turn(AnnouncementDone(generation + 1))
    assert [type(change) for change in changes] == [DelService]
    assert edge.table.dump() == {}


def test_service_that_returns_while_leaving_stays() -> None:
    edge = Edge()
    edge.list_all()
    edge.turn(Removed("Service", WEB, 1))
    edge.turn(changed(service(), "Service"))
    last = edge.log[-1].generation
    assert edge.turn(AnnouncementDone(last)) == []
    assert edge.weights() == {"192.0.2.101": 2, "192.0.2.102": 1}


def test_removed_port_goes_at_once_while_the_address_stays() -> None:
    edge = Edge()
    ports = (
        ServicePort("a", Protocol.TCP, 80, 8080, 30080),
        ServicePort("b", Protocol.TCP, 81, 8080, 30081),
    )
    edge.list_all(Service=(service(ports=ports),))
    changes = edge.turn(changed(service(ports=ports[:1], resource_version="2"), "Service"))
    assert [type(change) for change in changes] == [DelService]


def test_readiness_changes_one_weight_and_is_timed() -> None:
    edge = Edge()
    edge.list_all()
    changes = edge.turn(changed(endpoints({"node1": 1, "node2": 1})))
    assert [type(change) for change in changes] == [SetDest]
    assert edge.weights() == {"192.0.2.101": 1, "192.0.2.102": 1}
    assert len(edge.latencies) == 1
    assert edge.turn(changed(endpoints({"node1": 1, "node2": 1}))) == []
    assert len(edge.latencies) == 1


def test_restart_adopts_the_kernel_without_a_change() -> None:
    first = Edge()
    first.list_all()
    again = Edge(FakeIpvsTable(first.table.dump()))
    assert again.list_all() == []
    assert again.loop.state.synced
    assert again.weights() == first.weights()


def test_strays_in_our_pools_go_after_the_announcement_and_foreign_ones_stay() -> None:
    edge = Edge(table_of(foreign("192.0.2.15"), foreign("198.51.100.1"), foreign("192.0.2.201")))
    edge.list_all()
    assert len(edge.table.dump()) == 4
    edge.turn(AnnouncementDone(edge.log[-1].generation))
    left = {str(key.ip) for key in edge.table.dump()}
    assert left == {"192.0.2.10", "198.51.100.1", "192.0.2.201"}


def test_resync_repairs_what_others_did() -> None:
    edge = Edge()
    edge.list_all()
    edge.turn(AnnouncementDone(edge.log[-1].generation))
    key = ServiceKey.of(IpProtocol.TCP, VIP, 80)
    dest = edge.table.dump()[key].dests[0]
    edge.table.apply([SetDest(key, type(dest)(dest.address, dest.port, 77, dest.method))])
    stray = foreign("192.0.2.16")
    edge.table.apply([AddService(stray.service)])
    edge.now += 60
    edge.turn()
    assert edge.weights() == {"192.0.2.101": 2, "192.0.2.102": 1}
    assert set(edge.table.dump()) == {key}
    assert edge.loop.state.resyncs == 2


def test_refused_virtual_server_is_tried_again_and_others_go_on() -> None:
    class Stubborn(FakeIpvsTable):
        refuse = True

        def apply(self, changes: Any) -> Any:
            if self.refuse and any(change.key.port == 80 for change in changes):
                results = super().apply([])
                return [*results, *[_refused(change) for change in changes]]
            return super().apply(changes)

    table = Stubborn()
    edge = Edge(table)
    other = service(ObjectKey("shop", "other"), "192.0.2.11", ports=(
        ServicePort("", Protocol.TCP, 90, 8080, 30090),))  # fmt: skip
    edge.list_all()
    slices = endpoints({"node3": 1}, other.key)
    edge.turn(changed(other, "Service"), changed(slices))
    assert edge.weights(90, ip_address("192.0.2.11")) == {"192.0.2.103": 1}
    assert list(edge.kernel.failures) == ["-t 192.0.2.10:80"]
    table.refuse = False
    edge.now += 5
    edge.turn()
    assert edge.weights() == {"192.0.2.101": 2, "192.0.2.102": 1}
    assert edge.kernel.failures == {}


def _refused(change: Any) -> Any:
    return ChangeResult(change, 22, "no")


def test_edge_that_cannot_be_changed_is_changed_later() -> None:
    edge = Edge()
    edge.broken = FairleadError("lock held by another")
    assert edge.list_all() == []
    assert edge.loop.state.trouble == "lock held by another"
    edge.broken = None
    edge.now += 2
    edge.turn()
    assert edge.weights() == {"192.0.2.101": 2, "192.0.2.102": 1}
    edge.broken = FairleadError("again")
    assert edge.turn(changed(endpoints({"node1": 1}))) == []
    edge.broken = None
    edge.turn()
    assert edge.weights() == {"192.0.2.101": 1}
    assert edge.loop.state.trouble == ""


def test_bad_object_keeps_its_last_good_version() -> None:
    edge = Edge()
    edge.list_all()
    bad = ObjectError(kind="Service", namespace="shop", name="web", message="spec.ports")
    assert edge.turn(Failed("Service", bad, 1)) == []
    assert edge.turn(Listed("Service", (), (bad,), 1)) == []
    assert list(edge.loop.state.errors.values()) == [bad]
    assert edge.weights()
    edge.turn(changed(service(resource_version="9"), "Service"))
    assert edge.loop.state.errors == {}


def test_only_the_leader_decides_and_a_new_leader_decides_all() -> None:
    edge = Edge()
    edge.list_all(Service=(service(vip=None),))
    assert edge.decisions == []
    edge.turn(LeadershipChanged(True))
    (decision,) = edge.decisions
    assert decision.service.resource_version == "1"
    assert decision.status.ingress == (("192.0.2.10", "VIP"),)
    assert decision.status.pool == "lan"
    assert [event.reason for event in decision.events] == ["IPAllocated"]


@pytest.mark.parametrize("leading", [True, False])
def test_address_is_served_only_once_it_stands_in_status(leading: bool) -> None:
    edge = Edge()
    edge.turn(LeadershipChanged(leading))
    edge.list_all(Service=(service(vip=None),))
    assert edge.table.dump() == {}
    edge.turn(changed(service(resource_version="2"), "Service"))
    assert edge.weights() == {"192.0.2.101": 2, "192.0.2.102": 1}


def test_the_view_follows_what_the_loop_knows() -> None:
    edge = Edge()
    assert not edge.view.synced
    edge.list_all()
    assert (edge.view.synced, len(edge.view.virtual_servers), edge.view.vips) == (True, 1, None)
    before, vips = edge.view, StandingVips(frozenset({VIP}))
    edge.turn(VipsChanged(vips))
    assert edge.view.vips == vips
    assert before.vips is None, "a view is never changed"
    bad = ObjectError(kind="Node", name="node9", message="bad")
    edge.turn(Failed("Node", bad, 1))
    assert edge.view.errors == (bad,)


def test_a_flip_publishes_no_view_before_the_next_tick() -> None:
    """It costs time in proportion to all virtual servers."""
    edge = Edge()
    edge.list_all()
    edge.turn()
    published = edge.published
    edge.turn(changed(endpoints({"node1": 1, "node2": 1})))
    assert edge.published == published
    edge.now += 1.1
    edge.turn()
    assert edge.published == published + 1
    (server,) = edge.view.virtual_servers
    assert [real.weight for real in server.real_servers] == [1, 1]
