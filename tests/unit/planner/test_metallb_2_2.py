# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 2.2, row by row: what makes a pool invalid, and that only that one suffers.

Each row edits a pool that serves into one that can't: its version before stays in force, the other
pool goes on, the object is named with field and reason, and repairing it ends the trouble.
"""

from queue import SimpleQueue
from typing import Any

import msgspec
import pytest

from fairlead.agent.planning import EdgePlanning
from fairlead.cluster.decode import Decoders
from fairlead.cluster.feed import targets
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import Pool
from fairlead.planner.plan import make_plan
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from support.build import svc

INVENTORY = inventory_from_dict(
    {
        "edges": [{"name": "edge1", "address": "10.9.0.11"}],
        "pools": [{"name": "lan", "addresses": ["10.9.0.64/28"]}],
    }
)
(POOLS,) = [target for target in targets("metallb-system") if target.kind == "IPAddressPool"]
KEY = ObjectKey("metallb-system", "p")


def crd(*addresses: Any, name: str = "p", namespace: str = "metallb-system", **spec: Any) -> Any:
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"addresses": list(addresses), **spec},
    }


def select(**fields: Any) -> Any:
    return crd("10.0.0.0/29", serviceAllocation=fields)


def expression(**fields: Any) -> Any:
    return select(serviceSelectors=[{"matchExpressions": [fields]}])


GOOD, OTHER = crd("10.0.0.0/29"), crd("10.0.1.0/29", name="q")
WEB = {"matchLabels": {"tier": "web"}}
A, S = "spec.addresses", "spec.serviceAllocation"
E = f"{S}.serviceSelectors[0].matchExpressions[0]"
ROWS = {
    "no addresses": (crd(), A, "needs at least one"),
    "spec missing": ({**GOOD, "spec": None}, A, "needs at least one"),
    "bad CIDR": (crd("10.0.0.0/29", "1.2.3./24"), f"{A}[1]", "not a CIDR"),
    "prefix > 32": (crd("10.0.0.0/33"), f"{A}[0]", "not a CIDR"),
    "a bare IP": (crd("10.0.0.1"), f"{A}[0]", "write 10.0.0.1/32"),
    "blank before a CIDR": (crd(" 10.0.0.0/29"), f"{A}[0]", "not a CIDR"),
    "start after end": (crd("10.0.0.9-10.0.0.1"), f"{A}[0]", "reversed"),
    "range: start is no IP": (crd("10.0.0.-10.0.0.1"), f"{A}[0]", "not an IP address"),
    "range: end is no IP": (crd("10.0.0.1-10"), f"{A}[0]", "not an IP address"),
    "range from one family to the other": (crd("10.0.0.1-fd00::1"), f"{A}[0]", "other"),
    "overlap inside the pool": (crd("10.0.0.0/29", "10.0.0.4/32"), f"{A}[1]", "same pool"),
    "the same CIDR twice": (crd("10.0.0.0/29", "10.0.0.0/29"), f"{A}[1]", "same pool"),
    "overlap with another pool": (
        crd("10.0.0.0/29", "10.0.1.4-10.0.1.9"),
        f"{A}[1]",
        "overlaps with already defined '10.0.1.0/29' of pool 'q'",
    ),
    "overlap with the inventory": (
        crd("10.9.0.0/24"),
        f"{A}[0]",
        "overlaps with already defined '10.9.0.64/28' of pool 'lan'",
    ),
    "address is a number": (crd(7), f"{A}[0]", "Expected `str`"),
    "autoAssign is text": (crd("10.0.0.0/29", autoAssign="no"), "spec.autoAssign", "bool"),
    "duplicate namespace": (select(namespaces=["a", "a"]), f"{S}.namespaces[1]", "twice"),
    "duplicate namespaceSelector": (
        select(namespaceSelectors=[WEB, WEB]),
        f"{S}.namespaceSelectors[1]",
        "twice",
    ),
    "duplicate serviceSelector": (
        select(serviceSelectors=[WEB, WEB]),
        f"{S}.serviceSelectors[1]",
        "twice",
    ),
    "duplicate matchExpression": (
        select(serviceSelectors=[{"matchExpressions": [{"key": "a", "operator": "Exists"}] * 2}]),
        f"{S}.serviceSelectors[0].matchExpressions[1]",
        "twice",
    ),
    "duplicate value": (
        expression(key="a", operator="In", values=["b", "b"]),
        f"{E}.values[1]",
        "twice",
    ),
    "selector: unknown operator": (expression(key="a", operator="Is"), f"{E}.operator", "not one"),
    "selector: In without values": (expression(key="a", operator="In"), f"{E}.values", "needs"),
    "selector: Exists with values": (
        expression(key="a", operator="Exists", values=["b"]),
        f"{E}.values",
        "takes no values",
    ),
    "selector: key is none": (expression(key="a b", operator="Exists"), f"{E}.key", "key"),
    "selector: key with a bad domain": (expression(key="_/a", operator="Exists"), f"{E}.key", ""),
    "selector: value is none": (
        expression(key="a", operator="In", values=["b", "-"]),
        f"{E}.values[1]",
        "not the value of a label",
    ),
    "selector: matchLabels with a bad value": (
        select(namespaceSelectors=[{"matchLabels": {"a": "b c"}}]),
        f"{S}.namespaceSelectors[0].matchLabels[a]",
        "not the value of a label",
    ),
    "priority is negative": (select(priority=-1), f"{S}.priority", "negative"),
}


def watched(data: Any) -> Pool | ObjectError:
    """What the watch makes of an object."""
    found: Pool | ObjectError = Decoders(POOLS).one(msgspec.json.encode(data))
    return found


class Agent:
    """The planner behind the watch."""

    def __init__(self) -> None:
        self.planning = EdgePlanning(INVENTORY, INVENTORY.edges[0])
        self.bad: dict[ObjectKey, ObjectError] = {}
        self.queue: SimpleQueue[Any] = SimpleQueue()

    def put(self, data: Any) -> None:
        found = watched(data)
        if isinstance(found, ObjectError):
            key = ObjectKey(found.namespace, found.name)
            self.bad[key] = found
            self.planning.put_unreadable("IPAddressPool", key)
        else:
            self.bad.pop(found.key, None)
            self.planning.put("IPAddressPool", found.key, found)
        self.planning.take_delta()

    def errors(self) -> list[ObjectError]:
        return [*self.bad.values(), *self.planning.pool_errors()]

    def address(self, name: str, pool: str) -> str:
        service = svc(name, want_pool=pool)
        self.planning.put("Service", service.key, service)
        by_key = {one.service.key: one.status for one in self.planning.take_decisions()}
        status = by_key[service.key]
        return status.ingress[0][0] if status else ""


@pytest.mark.parametrize("row", ROWS)
def test_the_version_before_stays_in_force_and_the_object_is_named(row: str) -> None:
    bad, field, says = ROWS[row]
    agent = Agent()
    for good in (GOOD, OTHER):
        agent.put(good)
    assert agent.errors() == []
    agent.put(bad)
    (error,) = agent.errors()
    assert (error.kind, error.namespace, error.name) == ("IPAddressPool", *KEY)
    assert error.field == field
    assert says in error.message
    assert agent.address("x", "p") == "10.0.0.0"
    assert agent.address("y", "q") == "10.0.1.0"
    agent.put(GOOD)
    assert agent.errors() == []
    assert agent.address("z", "p") == "10.0.0.1"


@pytest.mark.parametrize("row", ROWS)
def test_plan_names_it_with_its_place_and_plans_the_rest(row: str) -> None:
    bad, field, says = ROWS[row]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    }
    documents = [Document("f.yaml", n, d) for n, d in enumerate((service, OTHER, bad), start=1)]
    # By age the other pool comes first, as by the time at which it was applied.
    documents[1].content["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    snapshot = snapshot_from_documents(documents, pool_namespace="metallb-system")
    plan = make_plan(snapshot, INVENTORY)
    (error,) = plan.errors
    assert (error.file, error.document, error.name, error.field) == ("f.yaml", 3, "p", field)
    assert says in error.message
    assert str(plan.services[0].addresses[0]) == "10.9.0.64"


def test_name_of_an_inventory_pool_is_taken() -> None:
    agent = Agent()
    agent.put(crd("10.0.5.0/29", name="lan"))
    (error,) = agent.errors()
    assert (error.name, error.field) == ("lan", "metadata.name")
    assert agent.address("x", "lan") == "10.9.0.64"


def test_pool_in_another_namespace_is_named_and_gives_nothing() -> None:
    agent = Agent()
    agent.put(crd("10.0.5.0/29", namespace="shop"))
    (error,) = agent.errors()
    assert (error.namespace, error.field) == ("shop", "metadata.namespace")
    assert [pool.name for pool in agent.planning.pools()] == ["lan"]


def test_a_pool_that_was_never_valid_gives_nothing_and_hinders_nobody() -> None:
    agent = Agent()
    agent.put(OTHER)
    agent.put(crd("junk"))
    assert agent.address("x", "p") == ""
    assert agent.address("y", "q") == "10.0.1.0"


def test_two_pools_that_come_overlapping_the_older_is_used() -> None:
    agent = Agent()
    for name, created in (("a", "2026-01-02T00:00:00Z"), ("b", "2026-01-01T00:00:00Z")):
        data = crd("10.0.5.0/29", name=name)
        data["metadata"]["creationTimestamp"] = created
        found = watched(data)
        assert isinstance(found, Pool)
        agent.planning.put("IPAddressPool", found.key, found)
    agent.planning.take_delta()
    assert [error.name for error in agent.errors()] == ["a"]
