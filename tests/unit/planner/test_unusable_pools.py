# SPDX-License-Identifier: Apache-2.0
"""Pool objects that can't be used: one by one, with and without a past (2.2, decision 0013)."""

from typing import Any

import msgspec
import pytest

from fairlead.model.names import ObjectKey
from fairlead.model.pool import Pool
from fairlead.planner.incremental import PlannerState
from fairlead.planner.plan import make_plan
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from property.strategies_cluster import applied
from support.build import INVENTORY, pool, svc, texts

PAST = pool("p", "10.0.0.0/29")
OTHER = pool("q", "10.0.1.0/29")
OVERLAPS = pool("p", "10.0.1.4-10.0.1.9")
IN_INVENTORY = msgspec.structs.replace(
    INVENTORY, pools=(Pool(name="lan", ranges=pool("lan", "10.9.0.8/29").ranges),)
)


class Cluster:
    """A planner that lives on, and its twin that was just restarted."""

    def __init__(self, *pools: Pool, inventory=INVENTORY) -> None:
        self.inventory = inventory
        self.pools: dict[str, Pool | None] = {one.name: one for one in pools}
        self.services: dict[ObjectKey, Any] = {}
        self.state = self.restarted()

    def restarted(self) -> PlannerState:
        state = PlannerState(self.inventory)
        usable = [one for one in self.pools.values() if one is not None]
        bad = [ObjectKey("metallb-system", n) for n, one in self.pools.items() if one is None]
        state.replace("IPAddressPool", usable, bad)
        state.replace("Service", self.services.values())
        state.decisions()
        return state

    def put_pool(self, name: str, value: Pool | None) -> None:
        self.pools[name] = value
        if value is None:
            self.state.put_unreadable("IPAddressPool", ObjectKey("metallb-system", name))
        else:
            self.state.put(value)
        self.state.decisions()

    def put(self, *services) -> list[str]:
        """Apply Services and write what is decided; Events of the last decisions."""
        for service in services:
            self.services[service.key] = service
            self.state.put(service)
        said = []
        for plan in self.state.take_decisions():
            said += [f"{plan.key.name} {text}" for text in texts(plan)]
            self.services[plan.key] = applied(self.services[plan.key], plan)
            self.state.put(self.services[plan.key])
        return said

    def delete(self, name: str) -> None:
        key = ObjectKey("default", name)
        del self.services[key]
        self.state.remove("Service", key)

    def restart(self) -> None:
        self.state = self.restarted()

    def holds(self, name: str) -> str:
        service = self.services[ObjectKey("default", name)]
        note = service.annotations.get("metallb.io/ip-allocated-from-pool", "-")
        return " ".join([*(str(a) for a, _ in service.ingress), note])

    def carried(self) -> list[str]:
        return [str(vip.address) for vip in self.state.edge_plan("edge1").addresses]


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(PAST)
    made.put(svc("x", holds="10.0.0.3"), svc("y"))
    assert (made.holds("x"), made.holds("y")) == ("10.0.0.3 p", "10.0.0.0 p")
    return made


@pytest.mark.parametrize("bad", [None, OVERLAPS], ids=["unreadable", "overlapping"])
class TestVersionBeforeStaysInForce:
    """While the agent runs."""

    def test_holders_and_newcomers_are_served(self, cluster: Cluster, bad) -> None:
        cluster.put_pool("q", OTHER)
        cluster.put_pool("p", bad)
        assert cluster.put(svc("z", want="10.0.0.7")) == ['z IPAllocated: Assigned IP ["10.0.0.7"]']
        assert cluster.holds("x") == "10.0.0.3 p"

    def test_repair_takes_effect(self, cluster: Cluster, bad) -> None:
        cluster.put_pool("q", OTHER)
        cluster.put_pool("p", bad)
        cluster.put_pool("p", pool("p", "10.0.0.0/31"))
        cluster.put()
        assert cluster.holds("x") == "10.0.0.1 p"
        assert cluster.state.pool_errors == ()

    def test_deleting_the_object_ends_it(self, cluster: Cluster, bad) -> None:
        cluster.put_pool("q", OTHER)
        cluster.put_pool("p", bad)
        cluster.state.remove("IPAddressPool", ObjectKey("metallb-system", "p"))
        cluster.put()
        assert cluster.holds("x") == "10.0.1.0 q"


class TestAfterARestart:
    """No version is known: nothing is given, and nobody loses what he has."""

    def test_holders_keep_their_addresses_and_edges_carry_them(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        assert cluster.put() == []
        assert (cluster.holds("x"), cluster.holds("y")) == ("10.0.0.3 p", "10.0.0.0 p")
        assert cluster.carried() == ["10.0.0.0", "10.0.0.3"]

    def test_newcomers_get_nothing_from_it(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        said = cluster.put(svc("a"), svc("b", want="10.0.0.5"), svc("c", want_pool="p"))
        whys = [text.partition('": ')[2] for text in said]
        assert whys == [
            "no available IPs",
            '["10.0.0.5"] is not allowed in config',
            'unknown pool "p"',
        ]

    def test_an_address_given_back_is_not_given_again(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        cluster.delete("y")
        assert "no available IPs" in cluster.put(svc("late", age=20))[0]
        assert cluster.carried() == ["10.0.0.3"]

    def test_repair_gives_normal_life_back(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        cluster.put(svc("late"))
        cluster.put_pool("p", PAST)
        assert cluster.put() == ['late IPAllocated: Assigned IP ["10.0.0.1"]']
        assert cluster.holds("x") == "10.0.0.3 p"

    def test_repair_that_shrinks_moves_as_any_shrinking(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        cluster.put()
        cluster.put_pool("p", pool("p", "10.0.0.0/31"))
        assert [text.partition(":")[0] for text in cluster.put()] == [
            "x ClearAssignment",
            "x IPAllocated",
        ]

    def test_deleting_the_object_clears_its_holders(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        cluster.put()
        cluster.state.remove("IPAddressPool", ObjectKey("metallb-system", "p"))
        cluster.put()
        assert cluster.holds("x") == "-"
        assert cluster.carried() == []

    def test_overlap_with_an_older_pool_counts_alike(self, cluster: Cluster) -> None:
        old = msgspec.structs.replace(OTHER, created="2026-01-01T00:00:00Z")
        young = msgspec.structs.replace(OVERLAPS, created="2026-01-02T00:00:00Z")
        cluster.put_pool("q", old)
        cluster.put_pool("p", young)
        cluster.restart()
        assert cluster.put() == []
        assert cluster.holds("x") == "10.0.0.3 p"
        assert [error.name for error in cluster.state.pool_errors] == ["p"]

    def test_address_that_another_pool_has_now_is_that_pool_s(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.put_pool("r", pool("r", "10.0.0.2-10.0.0.5"))
        cluster.restart()
        assert cluster.put() == []
        assert (cluster.holds("x"), cluster.holds("y")) == ("10.0.0.3 r", "10.0.0.0 p")

    def test_who_asks_for_another_address_gets_it(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.put_pool("q", OTHER)
        cluster.restart()
        said = cluster.put(svc("x", holds="10.0.0.3", note="p", want="10.0.1.2"))
        assert said == ['x IPAllocated: Assigned IP ["10.0.1.2"]']

    def test_sharing_rules_hold_among_the_held_over(self, cluster: Cluster) -> None:
        cluster.put_pool("p", None)
        cluster.restart()
        cluster.put(svc("z", holds="10.0.0.3", note="p", ports="81"))
        assert cluster.holds("x") == "10.0.0.3 p"
        assert cluster.holds("z") == "-"

    def test_a_note_is_no_key_to_addresses_of_edges(self) -> None:
        cluster = Cluster()
        cluster.put_pool("p", None)
        cluster.put(svc("evil", holds="10.9.0.11", note="p"))
        assert cluster.holds("evil") == "-"
        assert cluster.carried() == []

    def test_other_family_is_not_added_from_a_pool_that_nobody_knows(self) -> None:
        cluster = Cluster()
        cluster.put_pool("p", None)
        dual = svc(
            "x", ips="10.96.0.1 fd00::1", policy="PreferDualStack", holds="10.0.0.1", note="p"
        )
        assert cluster.put(dual) == []
        assert cluster.holds("x") == "10.0.0.1 p"


def test_name_of_an_inventory_pool_is_refused_and_holders_of_the_object_move() -> None:
    cluster = Cluster(pool("lan", "10.0.0.0/29"), inventory=IN_INVENTORY)
    (error,) = cluster.state.pool_errors
    assert (error.field, error.message) == (
        "metadata.name",
        "a pool named 'lan' is in the inventory already",
    )
    cluster.put(svc("x", holds="10.0.0.1", note="lan"))
    assert cluster.holds("x") == "10.9.0.8 lan"


def test_plan_of_manifests_keeps_holders_of_a_bad_pool_and_names_it() -> None:
    def document(kind: str, number: int, **fields: Any) -> Document:
        version = "v1" if kind == "Service" else "metallb.io/v1beta1"
        return Document("f.yaml", number, {"apiVersion": version, "kind": kind, **fields})

    service = {
        "metadata": {
            "name": "x",
            "namespace": "default",
            "uid": "u",
            "annotations": {"metallb.io/ip-allocated-from-pool": "p"},
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.0.1"],
            "ports": [{"port": 80, "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.3"}]}},
    }
    snapshot = snapshot_from_documents(
        [
            document("IPAddressPool", 1, metadata={"name": "p"}, spec={"addresses": ["10.0.0.9"]}),
            document("Service", 2, **service),
        ],
        pool_namespace="metallb-system",
    )
    plan = make_plan(snapshot, INVENTORY)
    assert [str(a) for a in plan.services[0].addresses] == ["10.0.0.3"]
    assert [(e.name, e.field, e.document) for e in plan.errors] == [("p", "spec.addresses[0]", 1)]
    assert [str(vip.address) for vip in plan.edges["edge1"].addresses] == ["10.0.0.3"]
