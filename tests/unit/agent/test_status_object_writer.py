# SPDX-License-Identifier: Apache-2.0
"""ServiceL2Status and ServiceBGPStatus: rows, the writer's comparisons, requests, signs of life."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from fairlead.agent.heartbeat import SILENCE_SECONDS, Heartbeat, Liveness
from fairlead.agent.status_object_writer import Rows, StatusObjectWriter, status_rows
from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.collection import MANAGED_LABEL
from fairlead.cluster.metadata import ObjectMeta
from fairlead.cluster.status_objects import (
    NODE_LABEL,
    StatusKind,
    StatusObject,
    StatusObjectStore,
    StatusRow,
)
from fairlead.edge.vips import StandingVips
from fairlead.model.groups import GROUP_LABEL
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import BgpAnnouncement, VirtualServer
from support.interleave import SteppingClock
from support.lease_store import LeaseServer
from unit.cluster.scripted_api import ScriptedApi, eventually, reply, serving

WEB, DNS = ObjectKey("shop", "web"), ObjectKey("shop", "dns")
BASE = "/apis/metallb.io/v1beta1/namespaces/metallb-system"
VIP, OTHER = ip_address("192.0.2.10"), ip_address("192.0.2.11")


def l2(service: ObjectKey = WEB, *names: str, edge: str = "edge1") -> StatusRow:
    return StatusRow(StatusKind.L2, edge, service, names or ("eth0",))


def bgp(service: ObjectKey = WEB, *names: str, edge: str = "edge1") -> StatusRow:
    return StatusRow(StatusKind.BGP, edge, service, names or ("router",))


def server(service: ObjectKey, address: object, port: int = 80) -> VirtualServer:
    return VirtualServer(
        address=address,  # type: ignore[arg-type]
        protocol=Protocol.TCP,
        port=port,
        scheduler="mh",
        flags=(),
        forwarding=Forwarding.DSR,
        service=service,
    )


def rows(*given: StatusRow) -> Rows:
    return {(one.kind, one.service): one for one in given}


CARD = {VIP: ("eth0",)}

# -- rows -----------------------------------------------------------------------------------------

HOST = BgpAnnouncement(prefix="192.0.2.10/32", peers=("west", "east"))
WIDE = BgpAnnouncement(prefix="192.0.2.0/24", peers=("core",))


@pytest.mark.parametrize(
    ("vips", "expected"),
    [
        (StandingVips(), {}),
        (StandingVips(lan=frozenset({VIP})), rows(l2())),
        (StandingVips(lan=frozenset({OTHER})), {}),
        (StandingVips(link=frozenset({VIP})), rows(bgp(WEB, "core", "east", "west"))),
        (
            StandingVips(lan=frozenset({VIP}), link=frozenset({VIP})),
            rows(l2(), bgp(WEB, "core", "east", "west")),
        ),
    ],
)
def test_only_what_stands_here_is_told(vips: StandingVips, expected: Rows) -> None:
    wanted = [server(WEB, VIP), server(WEB, VIP, 443)]
    assert status_rows("edge1", wanted, vips, CARD, [HOST, WIDE]) == expected


def test_services_that_share_an_address_are_told_each() -> None:
    wanted = [server(WEB, VIP), server(DNS, VIP, 53)]
    told = status_rows("edge1", wanted, StandingVips(lan=frozenset({VIP})), CARD, [])
    assert told == rows(l2(), l2(DNS))


def test_dual_stack_service_has_one_row_with_the_peers_of_both() -> None:
    six = ip_address("2001:db8::1")
    routes = [HOST, BgpAnnouncement(prefix="2001:db8::1/128", peers=("six",))]
    wanted = [server(WEB, VIP), server(WEB, six)]
    told = status_rows("edge1", wanted, StandingVips(link=frozenset({VIP, six})), CARD, routes)
    assert told == rows(bgp(WEB, "east", "six", "west"))


# -- the writer -----------------------------------------------------------------------------------


class Shelf:
    """The objects, in memory, as `StatusObjectStore` shows them."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[StatusKind, StatusObject]] = {}
        self.writes: list[str] = []
        self.served = set(StatusKind)
        self.error: ApiError | None = None
        self._count = 0

    def put(self, row: StatusRow, **status: object) -> str:
        self._count += 1
        name = f"{row.kind.value[2]}{self._count}"
        meta = ObjectMeta(name=name, labels=row.labels())
        self.objects[name] = (row.kind, StatusObject(meta, {**row.status(), **status}))
        return name

    def told(self) -> list[dict[str, object]]:
        return [found.status for _, found in self.objects.values()]

    def _find(self, kind: StatusKind, edges: list[str], own: bool) -> list[StatusObject] | None:
        if self.error is not None:
            raise self.error
        if kind not in self.served:
            return None
        found = [one for of, one in self.objects.values() if of is kind]
        return [one for one in found if (one.metadata.labels[NODE_LABEL] in edges) is own]

    def own(self, kind: StatusKind, edge: str) -> list[StatusObject] | None:
        return self._find(kind, [edge], own=True)

    def of_others(self, kind: StatusKind, edges: list[str]) -> list[StatusObject]:
        return self._find(kind, edges, own=False) or []

    def create(self, row: StatusRow) -> None:
        if row.service.name == "refused":
            raise ApiError("POST", "/x", 422)
        self.writes.append(f"create {row.kind.name} {row.service}")
        self.put(row)

    def mend(self, found: StatusObject, row: StatusRow) -> None:
        self.writes.append(f"mend {found.metadata.name}")
        found.status.update(row.status())

    def delete(self, kind: StatusKind, found: StatusObject) -> None:
        assert self.objects[found.metadata.name][0] is kind
        self.writes.append(f"delete {found.metadata.name}")
        del self.objects[found.metadata.name]


class Bench:
    def __init__(self) -> None:
        self.shelf, self.leases, self.clock = Shelf(), LeaseServer(), SteppingClock()
        self.wanted: Rows = {}
        self.leading = False
        self.writer = StatusObjectWriter(
            self.shelf,  # type: ignore[arg-type]
            self.heartbeat("edge1"),
            Liveness(lambda edge: self.leases.store("edge1", edge), clock=self.clock),
            rows=lambda: self.wanted,
            edge="edge1",
            edges=["edge1", "edge2"],
            leading=lambda: self.leading,
        )
        self.writer.start()

    def heartbeat(self, edge: str) -> Heartbeat:
        return Heartbeat(self.leases.store(edge, edge), edge, clock=self.clock)

    def settle(self, *given: StatusRow) -> list[str]:
        self.wanted = rows(*given)
        self.shelf.writes.clear()
        self.writer.look()
        eventually(lambda: self.writer.idle)
        return list(self.shelf.writes)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.writer.stop()


def test_objects_come_and_go_with_the_announcement(bench: Bench) -> None:
    assert bench.settle(l2(), bgp()) == ["create L2 shop/web", "create BGP shop/web"]
    assert bench.shelf.told() == [
        {
            "node": "edge1",
            "serviceName": "web",
            "serviceNamespace": "shop",
            "interfaces": [{"name": "eth0"}],
        },
        {"node": "edge1", "serviceName": "web", "serviceNamespace": "shop", "peers": ["router"]},
    ]
    assert bench.settle(l2(), bgp()) == []
    assert bench.settle(l2()) == ["delete bgp-2"]
    assert bench.settle() == ["delete l2-1"]


def test_what_people_edit_is_mended(bench: Bench) -> None:
    name = bench.shelf.put(l2(), interfaces=[{"name": "forged"}])
    assert bench.settle(l2()) == [f"mend {name}"]
    assert bench.shelf.told() == [l2().status()]


def test_an_object_without_status_is_filled_in(bench: Bench) -> None:
    name = bench.shelf.put(l2())
    bench.shelf.objects[name][1].status.clear()
    assert bench.settle(l2()) == [f"mend {name}"]


def test_what_cannot_be_mended_is_made_anew(bench: Bench) -> None:
    name = bench.shelf.put(l2(), node="edge7")
    assert bench.settle(l2()) == [f"delete {name}", "create L2 shop/web"]


def test_a_second_object_about_a_service_is_deleted(bench: Bench) -> None:
    bench.shelf.put(l2())
    second = bench.shelf.put(l2())
    assert bench.settle(l2()) == [f"delete {second}"]


def test_peers_that_change_are_mended(bench: Bench) -> None:
    bench.settle(bgp(WEB, "west"))
    assert bench.settle(bgp(WEB, "east", "west")) == ["mend bgp-1"]


def test_one_refused_object_does_not_hold_up_the_others(bench: Bench) -> None:
    refused = ObjectKey("shop", "refused")
    assert bench.settle(l2(refused), l2(WEB)) == ["create L2 shop/web"]


def test_without_definitions_it_is_quiet(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.shelf.served.clear()
    assert bench.settle(l2(), bgp()) == []
    assert not caplog.records
    bench.shelf.served.add(StatusKind.L2)
    assert bench.settle(l2(), bgp()) == ["create L2 shop/web"]


def test_without_the_right_it_says_so_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.shelf.error = ApiError("GET", "/x", 403)
    bench.settle(l2())
    bench.settle(l2())
    assert [record.message for record in caplog.records] == [
        "status objects: API server: GET /x: HTTP 403 : "
    ]


def test_an_outage_is_tried_again(bench: Bench) -> None:
    bench.shelf.error = ApiError("GET", "/x", 503)
    bench.wanted = rows(l2())
    bench.writer.look()
    eventually(lambda: bench.writer._attempts.error)
    bench.shelf.error = None
    eventually(lambda: bench.writer.idle)
    assert bench.shelf.writes == ["create L2 shop/web"]


def test_objects_of_other_edges_are_left_to_the_leader(bench: Bench) -> None:
    gone = bench.shelf.put(bgp(edge="edge9"))
    bench.shelf.put(bgp(edge="edge2"))
    assert bench.settle() == []
    bench.leading = True
    assert bench.settle() == [f"delete {gone}"]


def test_leader_deletes_what_a_silent_edge_told(bench: Bench) -> None:
    bench.leading = True
    stale = bench.shelf.put(bgp(edge="edge2"))
    two = bench.heartbeat("edge2")
    two.beat()
    assert bench.settle() == []
    bench.clock.advance(SILENCE_SECONDS - 1)
    two.beat()
    assert bench.settle() == []
    bench.clock.advance(SILENCE_SECONDS - 1)
    assert bench.settle() == []
    bench.clock.advance(1)
    assert bench.settle() == [f"delete {stale}"]


# -- requests -------------------------------------------------------------------------------------


@pytest.fixture
def api_server() -> Iterator[ScriptedApi]:
    yield from serving()


@pytest.fixture
def store(api_server: ScriptedApi, tmp_path: Path) -> StatusObjectStore:
    return StatusObjectStore(KubeApi(api_server.kubeconfig(tmp_path)), "metallb-system")


def test_object_is_made_with_labels_and_then_gets_its_status(
    api_server: ScriptedApi, store: StatusObjectStore
) -> None:
    path = f"{BASE}/servicel2statuses"
    api_server.on("POST", path, reply({"metadata": {"name": "l2-abcde"}}, 201))
    api_server.on("PATCH", f"{path}/l2-abcde/status", reply({}))
    store.create(l2())
    made, filled = (request[3] for request in api_server.requests)
    assert made == {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ServiceL2Status",
        "metadata": {
            "generateName": "l2-",
            "labels": {
                "metallb.io/node": "edge1",
                "metallb.io/service-name": "web",
                "metallb.io/service-namespace": "shop",
                "app.kubernetes.io/managed-by": "fairlead",
            },
        },
    }
    assert filled == {"status": l2().status()}


def test_lists_ask_for_objects_of_ours_only_and_follow_pages(
    api_server: ScriptedApi, store: StatusObjectStore
) -> None:
    path = f"{BASE}/servicebgpstatuses"
    one = {"metadata": {"name": "bgp-1", "labels": bgp().labels()}, "status": bgp().status()}
    api_server.on("GET", path, reply({"metadata": {"continue": "more"}, "items": [one]}))
    api_server.on("GET", path, reply({"metadata": {}, "items": [{"metadata": {"name": "b"}}]}))
    found = store.own(StatusKind.BGP, "edge1") or []
    assert [(item.metadata.name, item.service) for item in found] == [
        ("bgp-1", WEB),
        ("b", ObjectKey("", "")),
    ]
    assert found[0].tells(bgp())
    queries = [request[2] for request in api_server.requests]
    assert (
        queries[0]["labelSelector"] == f"{MANAGED_LABEL}=fairlead,!{GROUP_LABEL},{NODE_LABEL}=edge1"
    )
    assert queries[1]["continue"] == "more"
    api_server.on("GET", path, reply({"metadata": {}, "items": []}))
    store.of_others(StatusKind.BGP, ["edge2", "edge1"])
    selector = api_server.requests[-1][2]["labelSelector"]
    assert selector == f"{MANAGED_LABEL}=fairlead,!{GROUP_LABEL},{NODE_LABEL} notin (edge1,edge2)"


def test_another_group_lists_and_makes_its_own(api_server: ScriptedApi, tmp_path: Path) -> None:
    path = f"{BASE}/servicel2statuses"
    api_server.on("GET", path, reply({"metadata": {}, "items": []}))
    api_server.on("POST", path, reply({"metadata": {"name": "l2-1"}}))
    api_server.on("PATCH", f"{path}/l2-1/status", reply({}))
    other = StatusObjectStore(KubeApi(api_server.kubeconfig(tmp_path)), "metallb-system", "public")
    other.of_others(StatusKind.L2, ["edge1"])
    assert f"{GROUP_LABEL}=public," in api_server.requests[-1][2]["labelSelector"]
    other.create(l2())
    body = next(body for method, _, _, body, _ in api_server.requests if method == "POST")
    assert body["metadata"]["labels"][GROUP_LABEL] == "public"


def test_kind_that_is_not_served_and_object_that_is_gone_are_no_errors(
    api_server: ScriptedApi, store: StatusObjectStore
) -> None:
    assert store.own(StatusKind.L2, "edge1") is None
    assert store.of_others(StatusKind.L2, ["edge1"]) == []
    store.delete(StatusKind.L2, StatusObject(ObjectMeta(name="l2-gone")))
    assert api_server.requests[-1][:2] == ("DELETE", f"{BASE}/servicel2statuses/l2-gone")
