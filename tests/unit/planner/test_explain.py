# SPDX-License-Identifier: Apache-2.0
"""`explain`: one row per reason, and the schema that says what an explanation holds."""

import json
from importlib.resources import files
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from fairlead.diff.plans import EdgeChange, FieldChange, ItemChange, PlanDiff, ServiceChange
from fairlead.model import explanation
from fairlead.model.explanation import Explanation
from fairlead.model.inventory import Inventory
from fairlead.model.kube import EndpointSlice, Node, Service, Taint
from fairlead.model.names import Forwarding, ObjectKey
from fairlead.model.plan import ObjectError
from fairlead.model.pool import LabelSelector, Pool, PoolSelection
from fairlead.model.snapshot import Snapshot
from fairlead.planner.explain import UnknownServiceError, explain
from support.build import INVENTORY, eps, node, pool, svc

NODES = (node("n1", "192.0.2.101"), node("n2", "192.0.2.102"))
LAN = pool("lan", "10.0.0.1-10.0.0.3")
KEY = ObjectKey("default", "x")
EXCLUDE = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}


def told(
    *services: Service,
    pools: tuple[Pool, ...] = (LAN,),
    slices: tuple[EndpointSlice, ...] = (),
    nodes: tuple[Node, ...] = NODES,
    config: Inventory = INVENTORY,
    **known: Any,
) -> Explanation:
    """The explanation of Service x."""
    snapshot = Snapshot(services=services, slices=slices, nodes=nodes, pools=pools, **known)
    return explain(snapshot, config, KEY)[0]


def steps(story: Explanation) -> list[str]:
    """Steps but the wishes, in short."""
    return [
        f"{s.phase} {s.outcome} {s.pool or '-'} {' '.join(s.addresses)}: {s.message}"
        for s in story.address.steps
        if s.phase != "wish"
    ]


CHOICES = {
    # what -> (Services, pools, steps)
    "first free": (
        [svc("x")],
        [LAN],
        ["choice looked lan 10.0.0.1: offers", "choice yes lan 10.0.0.1: taken"],
    ),
    "pools that are not looked at": (
        [svc("x")],
        [
            pool("byname", "10.1.0.1/32", auto_assign=False),
            pool("theirs", "10.2.0.1/32", select=PoolSelection(namespaces=("other",))),
            pool(
                "labelled",
                "10.3.0.1/32",
                select=PoolSelection(service_selectors=(LabelSelector({"a": "b"}),)),
            ),
        ],
        [
            "choice no byname : autoAssign is false",
            "choice no labelled : serviceAllocation does not select the labels of the Service",
            "choice no theirs : serviceAllocation does not select namespace 'default'",
            "choice no - : no available IPs",
        ],
    ),
    "no range of the family": (
        [svc("x")],
        [pool("six", "fd00::1-fd00::9")],
        ["choice no six : has no IPv4 range", "choice no - : no available IPs"],
    ),
    "a request that is met": (
        [svc("x", want="10.0.0.2")],
        [LAN],
        ["request yes lan 10.0.0.2: granted"],
    ),
    "a request outside": (
        [svc("x", want="10.9.9.9")],
        [LAN],
        ['request no - : ["10.9.9.9"] is not allowed in config'],
    ),
    "a request that can't be read": (
        [svc("x", want="nonsense")],
        [LAN],
        ['request no - : invalid metallb.io/loadBalancerIPs: "nonsense"'],
    ),
    "an unknown pool": (
        [svc("x", want_pool="nowhere")],
        [LAN],
        ['choice no - : unknown pool "nowhere"'],
    ),
    "a pool whose selectors exclude it": (
        [svc("x", want_pool="theirs")],
        [pool("theirs", "10.2.0.1/32", select=PoolSelection(namespaces=("other",)))],
        [
            "choice looked theirs 10.2.0.1: offers",
            "choice no theirs : serviceAllocation does not select namespace 'default'",
            "choice no - : pool theirs not compatible for ip assignment",
        ],
    ),
    "held and kept": (
        [svc("x", holds="10.0.0.3")],
        [LAN],
        ["held yes lan 10.0.0.3: still allowed"],
    ),
    "held outside every pool": (
        [svc("x", holds="10.9.9.9")],
        [LAN],
        [
            'held no - 10.9.9.9: ["10.9.9.9"] is not allowed in config',
            "choice looked lan 10.0.0.1: offers",
            "choice yes lan 10.0.0.1: taken",
        ],
    ),
    "held of another family": (
        [svc("x", holds="fd00::1")],
        [LAN],
        [
            "held no - fd00::1: not of the families that it wants, or not readable",
            "choice looked lan 10.0.0.1: offers",
            "choice yes lan 10.0.0.1: taken",
        ],
    ),
    "a second family": (
        [svc("x", holds="10.0.0.1", ips="10.96.0.1 fd00:96::1", policy="PreferDualStack")],
        [pool("lan", "10.0.0.1-10.0.0.3", "fd00::1-fd00::3")],
        ["held yes lan 10.0.0.1: still allowed", "second-family yes lan fd00::1: added"],
    ),
    "no second family": (
        [svc("x", holds="10.0.0.1", ips="10.96.0.1 fd00:96::1", policy="PreferDualStack")],
        [LAN],
        [
            "held yes lan 10.0.0.1: still allowed",
            'second-family no lan : ["10.0.0.1" "<nil>"] is not allowed in config',
        ],
    ),
}


@pytest.mark.parametrize("row", CHOICES)
def test_steps_of_an_allocation(row: str) -> None:
    services, pools, expected = CHOICES[row]
    assert steps(told(*services, pools=tuple(pools))) == expected


def test_an_address_of_a_pool_that_cannot_be_used_is_held_over() -> None:
    broken = ObjectError(
        kind="IPAddressPool", namespace="metallb-system", name="lan", message="reversed"
    )
    story = told(svc("x", holds="10.0.0.1", note="lan"), pools=(), errors=(broken,))
    assert steps(story) == ["held yes lan 10.0.0.1: kept while the pool object can't be used"]


def test_addresses_passed_over_say_who_has_them() -> None:
    config = msgspec.structs.replace(
        INVENTORY,
        edges=(msgspec.structs.replace(INVENTORY.edges[0], address=ip_address("10.0.0.1")),),
    )
    others = [svc("held", holds="10.0.0.2", age=3), svc("named", want="10.0.0.3", age=-1)]
    story = told(
        svc("x"),
        *others,
        pools=(pool("lan", "10.0.0.0-10.0.0.9", avoid_buggy_ips=True),),
        config=config,
    )
    (offer,) = [step for step in story.address.steps if step.message == "offers"]
    assert [(one.address, one.why) for one in offer.passed] == [
        ("10.0.0.0", "avoidBuggyIPs: it ends in .0 or .255"),
        ("10.0.0.1", "it is an edge's, a router's or the VRRP group's own"),
        ("10.0.0.2", "in use by default/held"),
        ("10.0.0.3", "in use by default/named"),
    ]
    assert (offer.addresses, offer.more) == (("10.0.0.4",), 0)


def test_a_full_pool_lists_the_first_holders_and_counts_the_others() -> None:
    holders = [svc(f"h{n:02}", holds=f"10.0.0.{n}", age=3) for n in range(1, 21)]
    story = told(svc("x"), *holders, pools=(pool("lan", "10.0.0.1-10.0.0.20"),))
    (full,) = [step for step in story.address.steps if step.pool == "lan"]
    assert full.message == "has no IPv4 address left"
    assert [one.why for one in full.passed] == [f"in use by default/h{n:02}" for n in range(1, 9)]
    assert full.more == 12


def test_company_on_a_shared_address_is_named() -> None:
    story = told(
        svc("x", share="k", want="10.0.0.1"), svc("y", share="k", want="10.0.0.1", ports="81")
    )
    assert [(one.address, one.service) for one in story.address.shared_with] == [
        ("10.0.0.1", "default/y")
    ]


LOCAL = svc("x", local=True, holds="10.0.0.1", note="lan")
CLUSTER = svc("x", holds="10.0.0.1", note="lan")
UDP = svc("x", local=True, holds="10.0.0.1", note="lan", ports="53/UDP")
NO_HOLD = msgspec.structs.replace(INVENTORY, hold_unready=False)
ONE_NODE = msgspec.structs.replace(INVENTORY, nodes_per_service=1)
POD = msgspec.structs.replace(INVENTORY, forwarding=Forwarding.POD)

CARRY_ON = "no node that may serve has a ready one, so those that terminate carry on"

TARGETS = {
    # what -> (Service, endpoints, nodes, inventory, "node weight: why" of each target)
    "ready": (LOCAL, ["10.244.0.1@n1", "10.244.0.2@n1"], NODES, INVENTORY, ["n1 2: 2 ready"]),
    "unready is held": (
        LOCAL,
        ["10.244.0.1@n1", "10.244.0.2@n2 unready"],
        NODES,
        INVENTORY,
        ["n1 1: 1 ready", "n2 0: 1 unready; takes nothing new, held connections live on"],
    ),
    "unready is removed": (
        LOCAL,
        ["10.244.0.1@n1", "10.244.0.2@n2 unready"],
        NODES,
        NO_HOLD,
        ["n1 1: 1 ready", "n2 None: 1 unready; removed: hold_unready is off"],
    ),
    "unready under UDP": (
        UDP,
        ["10.244.0.1@n1", "10.244.0.2@n2 unready"],
        NODES,
        INVENTORY,
        ["n1 1: 1 ready", "n2 None: 1 unready; removed: UDP entries would stay on it"],
    ),
    "terminated": (
        LOCAL,
        ["10.244.0.1@n1", "10.244.0.2@n2 gone"],
        NODES,
        INVENTORY,
        ["n1 1: 1 ready", "n2 None: its endpoints have terminated"],
    ),
    "terminating carries on": (
        LOCAL,
        ["10.244.0.1@n1 draining"],
        NODES,
        INVENTORY,
        [
            f"n1 1: 1 draining; {CARRY_ON}",
        ],
    ),
    "no Node": (
        LOCAL,
        ["10.244.0.1@elsewhere"],
        NODES,
        INVENTORY,
        ["elsewhere None: no Node of this name (1 ready)"],
    ),
    "no nodeName": (
        LOCAL,
        ["10.244.0.1@"],
        NODES,
        INVENTORY,
        [" None: endpoints without a nodeName (1 ready)"],
    ),
    "excluded by label": (
        LOCAL,
        ["10.244.0.1@n1"],
        (node("n1", "192.0.2.101", labels=EXCLUDE),),
        INVENTORY,
        [f"n1 None: it carries the label {next(iter(EXCLUDE))}"],
    ),
    "about to be deleted": (
        LOCAL,
        ["10.244.0.1@n1"],
        (node("n1", "192.0.2.101", taints=(Taint("karpenter.sh/disrupted", ""),)),),
        INVENTORY,
        ["n1 None: it carries the taint karpenter.sh/disrupted"],
    ),
    "network unavailable": (
        LOCAL,
        ["10.244.0.1@n1"],
        (node("n1", "192.0.2.101", network_unavailable=True),),
        INVENTORY,
        ["n1 None: its condition NetworkUnavailable is true"],
    ),
    "no address of the family": (
        LOCAL,
        ["10.244.0.1@n1"],
        (node("n1", "fd00::101"),),
        INVENTORY,
        ["n1 None: it has no IPv4 address"],
    ),
    "NotReady matters to policy Cluster": (
        CLUSTER,
        ["10.244.0.1@n2"],
        (NODES[0], node("n2", "192.0.2.102", ready=False)),
        INVENTORY,
        ["n1 1: may serve any endpoint: all nodes alike", "n2 None: it is NotReady"],
    ),
    "NotReady does not matter to policy Local": (
        LOCAL,
        ["10.244.0.1@n2"],
        (node("n2", "192.0.2.102", ready=False),),
        INVENTORY,
        ["n2 1: 1 ready"],
    ),
    "more nodes than a Service gets": (
        CLUSTER,
        ["10.244.0.1@n1"],
        NODES,
        ONE_NODE,
        [
            "n1 1: may serve any endpoint: all nodes alike",
            "n2 None: not among the 1 nodes chosen for this Service (nodes_per_service)",
        ],
    ),
    "pods": (
        CLUSTER,
        ["10.244.0.1@n1", "10.244.0.2@n2 unready", "10.244.0.3@n2 gone"],
        NODES,
        POD,
        [
            "n1 1: the pod is ready",
            "n2 0: the pod is unready",
            "n2 None: pod 10.244.0.3 is terminated",
        ],
    ),
}


@pytest.mark.parametrize("row", TARGETS)
def test_real_servers_and_who_is_left_out(row: str) -> None:
    service, endpoints, nodes, config, expected = TARGETS[row]
    ports = "53/UDP" if service is UDP else "80"
    story = told(
        service, slices=(eps("x", *endpoints, ports=ports),), nodes=tuple(nodes), config=config
    )
    (server,) = story.virtual_servers
    assert [f"{t.node} {t.weight}: {t.why}" for t in server.targets] == expected


REMARKS = {
    # what -> (slices, what is known, remark)
    "no slices in the input": ((), {"slices_known": False}, "no EndpointSlices in the input"),
    "no slice of its own": ((), {}, "the Service has no EndpointSlice"),
    "no slice with the port": (
        (eps("x", "10.244.0.1@n1", ports="81:other"),),
        {},
        "no EndpointSlice of this family carries the port",
    ),
    "nothing healthy": (
        (eps("x", "10.244.0.1@n1 unready"),),
        {},
        "no endpoint is ready, and none that terminates still serves",
    ),
    "no nodes in the input": (
        (eps("x", "10.244.0.1@n1"),),
        {"nodes_known": False, "nodes": ()},
        "no Nodes in the input",
    ),
    "no node may serve": (
        (eps("x", "10.244.0.1@n1"),),
        {"nodes": (node("n1", "192.0.2.101", ready=False),)},
        "no node of those below may serve",
    ),
}


@pytest.mark.parametrize("row", REMARKS)
def test_a_virtual_server_without_real_servers_says_why(row: str) -> None:
    slices, known, remark = REMARKS[row]
    (server,) = told(CLUSTER, slices=slices, **known).virtual_servers
    assert (server.served, server.remark) == (True, remark)


def test_slices_that_do_not_count_say_why() -> None:
    slices = (
        eps("x", "fd00:244::1@n1", name="x-six"),
        eps("x", "10.244.0.1@n1", ports="81:other", name="x-other"),
        eps("x", "10.244.0.1@n1", "10.244.0.2@n1 draining", "10.244.0.3@n1 gone", name="x-right"),
    )
    (server,) = told(CLUSTER, slices=slices).virtual_servers
    assert [(one.name, one.port, one.left_out) for one in server.slices] == [
        ("x-other", None, "it has no TCP port without a name"),
        ("x-right", 80, ""),
        ("x-six", None, "it is IPv6"),
    ]
    right = server.slices[1]
    assert (right.ready, right.draining, right.unready, right.gone) == (1, 1, 0, 1)


def test_a_port_without_a_virtual_server_says_why() -> None:
    config = msgspec.structs.replace(INVENTORY, forwarding=Forwarding.MASQUERADE)
    (server,) = told(CLUSTER, config=config).virtual_servers
    assert not server.served
    assert server.remark.startswith("forwarding mode masquerade needs a nodePort for TCP/80")


def test_the_gate_is_opened_by_company_that_can_answer() -> None:
    both = [
        svc("x", share="k", want="10.0.0.1"),
        svc("y", share="k", want="10.0.0.1", ports="81"),
    ]
    story = told(*both, slices=(eps("y", "10.244.0.1@n1", ports="81"),))
    (gate,) = story.gates
    assert (gate.open, gate.answering) == (True, ("default/y",))
    assert {one.announced for one in story.announcements if one.way == "vrrp"} == {True}


FOREIGN = {
    "another type": (svc("x", type="ClusterIP"), 'its type is "ClusterIP", not LoadBalancer'),
    "another class": (
        svc("x", load_balancer_class="theirs"),
        'it has loadBalancerClass "theirs"; served are those without one',
    ),
}


@pytest.mark.parametrize("row", FOREIGN)
def test_a_service_that_is_not_ours_says_why(row: str) -> None:
    service, why = FOREIGN[row]
    story = told(service)
    assert not story.ours
    assert why in story.summary
    assert not story.virtual_servers
    assert not story.announcements


def test_an_unknown_service_is_a_sentence_with_a_guess() -> None:
    snapshot = Snapshot(services=(svc("shop/web"), svc("shop/wob")))
    with pytest.raises(UnknownServiceError, match=r"no Service default/web .* mean shop/web\?$"):
        explain(snapshot, INVENTORY, ObjectKey("default", "web"))
    with pytest.raises(UnknownServiceError, match=r"no Service a/b in the input$"):
        explain(Snapshot(), INVENTORY, ObjectKey("a", "b"))


STRUCTS = {
    "explanation": [
        value
        for value in vars(explanation).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
    ],
    "plandiff": [PlanDiff, ServiceChange, EdgeChange, ItemChange, FieldChange],
}


@pytest.mark.parametrize("name", STRUCTS)
def test_schemas_name_every_field(name: str) -> None:
    schema = json.loads(files("fairlead").joinpath(f"schema/{name}.schema.json").read_text())
    found = {**schema["$defs"], "": schema}
    for struct in STRUCTS[name]:
        place = found.get(struct.__name__, found[""])
        assert list(place["properties"]) == list(struct.__struct_fields__), struct
        assert place["required"] == list(struct.__struct_fields__)
        assert place["additionalProperties"] is False
