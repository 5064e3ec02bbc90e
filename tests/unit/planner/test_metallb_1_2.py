# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 1.2, row by row: which fields of a Service count, and which do not."""

import msgspec
import pytest

from fairlead.model.names import Family
from support.build import INVENTORY, fresh, pool, svc
from support.story import Gone, Status, Step, failed, got, in_use, more, one, play

P = pool("p", "10.0.0.1-10.0.0.4")
P6 = pool("six", "fd00::1-fd00::4")
DUAL = pool("dual", "10.0.2.1-10.0.2.2", "fd00:2::1-fd00:2::2")
ONE = pool("p", "10.0.0.1/32")
FOUR, SIX = "10.96.0.1", "fd00:96::1"
BOTH, BOTH6 = f"{FOUR} {SIX}", f"{SIX} {FOUR}"
FIRST6 = (Family.IPV6, Family.IPV4)
PREFER, REQUIRE = "PreferDualStack", "RequireDualStack"
APP, OTHER = {"app": "one"}, {"app": "two"}
NO_SECOND = (
    "AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: "
    '["{}" "<nil>"] is not allowed in config'
)

CASES = {
    # type
    "type: another type frees the address, and who waits gets it": (
        Step([ONE, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("y")], y=("", failed("y", "no available IPs"))),
        Step([svc("x", type="NodePort")], x="", y=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "type: away and back gets an address anew": (
        Step([P, svc("x", want="10.0.0.3")], x=("10.0.0.3 p", got("10.0.0.3"))),
        Step([svc("x", type="ClusterIP", want="10.0.0.3")], x=""),
        Step([svc("x", want="10.0.0.3")], x=("10.0.0.3 p", got("10.0.0.3"))),
    ),
    "type: status left on another type is cleared silently": (
        Step([P, svc("x", type="ClusterIP", holds="10.0.0.2")], x=""),
    ),
    # loadBalancerIP
    "loadBalancerIP: same role as the annotation": one(
        svc("x", load_balancer_ip="10.0.0.3"), [P], "10.0.0.3 p", got("10.0.0.3")
    ),
    "loadBalancerIP and annotation: refused, even if they agree": one(
        svc("x", load_balancer_ip="10.0.0.3", want="10.0.0.3"), [P], "",
        failed("x", "service can not have both metallb.io/loadBalancerIPs and "
                    "svc.Spec.LoadBalancerIP"),
    ),
    # clusterIPs
    "clusterIPs empty: cleared without an Event": (
        Step([P, svc("x", ips="", holds="10.0.0.1")], x=""),
    ),
    "clusterIPs that are none: Warning, and nothing else is done": (
        Step([P, svc("x", ips="junk", holds="10.0.0.2")],
             x=("10.0.0.2 p",
                ('noclusterIPsIPFamily: Failed to retrieve ClusterIPs IPFamily for ["junk"] junk: '
                'IPFamilyForAddresses: Invalid address ["junk"]'))),
    ),
    "clusterIPs that are none and nothing held: refused": one(
        svc("x", ips="junk"), [P], "",
        failed("x", 'IPFamilyForAddresses: Invalid address ["junk"]'),
    ),
    "clusterIPs decide the family: IPv4": one(
        svc("x"), [DUAL], "10.0.2.1 dual", got("10.0.2.1")
    ),
    "clusterIPs decide the family: IPv6": one(
        svc("x", ips=SIX), [DUAL], "fd00:2::1 dual", got("fd00:2::1")
    ),
    # ipFamilyPolicy, each order of ipFamilies
    "SingleStack: one of the ClusterIP's family, whatever ipFamilies says": one(
        svc("x", ips=SIX, ip_families=(Family.IPV6,)), [P, P6], "fd00::1 six", got("fd00::1")
    ),
    "RequireDualStack: two from one pool": one(
        svc("x", ips=BOTH, policy=REQUIRE), [P, P6, DUAL], "10.0.2.1 fd00:2::1 dual",
        got("10.0.2.1", "fd00:2::1"),
    ),
    "RequireDualStack, IPv6 first: the pair is still written IPv4 first": one(
        svc("x", ips=BOTH6, policy=REQUIRE, ip_families=FIRST6), [DUAL], "10.0.2.1 fd00:2::1 dual",
        got("10.0.2.1", "fd00:2::1"),
    ),
    "RequireDualStack: nothing from two pools": one(
        svc("x", ips=BOTH, policy=REQUIRE), [P, P6], "", failed("x", "no available IPs")
    ),
    "RequireDualStack with one ClusterIP: Warning": one(
        svc("x", policy=REQUIRE), [DUAL], "",
        "not enough clusterips: Service requires dual stack but not enough clusterips [10.96.0.1]",
    ),
    "PreferDualStack: two if a pool has both": one(
        svc("x", ips=BOTH, policy=PREFER), [pool("a", "10.0.9.1/32"), DUAL],
        "10.0.2.1 fd00:2::1 dual", got("10.0.2.1", "fd00:2::1"),
    ),
    "PreferDualStack: else IPv4": one(
        svc("x", ips=BOTH, policy=PREFER), [P, P6], "10.0.0.1 p",
        got("10.0.0.1"), NO_SECOND.format("10.0.0.1"),
    ),
    "PreferDualStack, ipFamilies IPv6 first: else IPv6": one(
        svc("x", ips=BOTH6, policy=PREFER, ip_families=FIRST6), [P, P6], "fd00::1 six",
        got("fd00::1"), NO_SECOND.format("fd00::1"),
    ),
    "PreferDualStack, ipFamilies IPv4 first: else IPv4": one(
        svc("x", ips=BOTH, policy=PREFER, ip_families=FIRST6[::-1]), [P, P6], "10.0.0.1 p",
        got("10.0.0.1"), NO_SECOND.format("10.0.0.1"),
    ),
    "PreferDualStack: else the other family": one(
        svc("x", ips=BOTH, policy=PREFER), [P6], "fd00::1 six",
        got("fd00::1"), NO_SECOND.format("fd00::1"),
    ),
    "PreferDualStack with one ClusterIP is a single stack": one(
        svc("x", policy=PREFER), [DUAL], "10.0.2.1 dual", got("10.0.2.1")
    ),
    # family changes on a live Service
    "single becomes preferred dual: the first stays, the second comes": (
        Step([DUAL, svc("x", want="10.0.2.2")], x=("10.0.2.2 dual", got("10.0.2.2"))),
        Step([svc("x", want="10.0.2.2", ips=BOTH, policy=PREFER)],
             x=("10.0.2.2 fd00:2::1 dual", more("fd00:2::1"))),
    ),
    "single becomes required dual: a new pair": (
        Step([DUAL, svc("x")], x=("10.0.2.1 dual", got("10.0.2.1"))),
        Step([svc("x", ips=BOTH, policy=REQUIRE)],
             x=("10.0.2.1 fd00:2::1 dual", got("10.0.2.1", "fd00:2::1"))),
    ),
    "single becomes required dual where no pool has both: cleared and refused": (
        Step([P, P6, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x", ips=BOTH, policy=REQUIRE)], x=("", failed("x", "no available IPs"))),
    ),
    "dual becomes single: anew, one": (
        Step([DUAL, svc("x", ips=BOTH, policy=PREFER)],
             x=("10.0.2.1 fd00:2::1 dual", got("10.0.2.1", "fd00:2::1"))),
        Step([svc("x")], x=("10.0.2.1 dual", got("10.0.2.1"))),
    ),
    "required becomes preferred: nothing changes": (
        Step([DUAL, svc("x", ips=BOTH, policy=REQUIRE)],
             x=("10.0.2.1 fd00:2::1 dual", got("10.0.2.1", "fd00:2::1"))),
        Step([svc("x", ips=BOTH, policy=PREFER)]),
    ),
    # other fields
    "externalTrafficPolicy does not matter to a sole holder": (
        Step([P, svc("x", local=True, selector=APP)], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x")]),
    ),
    "externalTrafficPolicy is part of what may be shared": (
        Step([P, svc("x", share="k", want="10.0.0.1", local=True, selector=APP)],
             x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("y", share="k", want="10.0.0.1", ports="81", selector=APP)],
             y=("", failed("y", in_use("y", "x")))),
    ),
    "ports: TCP, UDP and SCTP in one Service": one(
        svc("x", ports="53 53/UDP 53/SCTP"), [P], "10.0.0.1 p", got("10.0.0.1")
    ),
    "ports: changing them moves nothing": (
        Step([P, svc("x", want="10.0.0.2")], x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("x", want="10.0.0.2", ports="8080 53/UDP")]),
    ),
    "selector only matters to sharing under policy Local": (
        Step([P, svc("x", selector=APP)], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x", selector=OTHER)]),
    ),
    # status
    "status: what is recorded is kept over a restart": (
        Step([P, svc("x", holds="10.0.0.3"), svc("y", holds="10.0.0.1")]),
    ),
    "status: addresses that MetalLB gave are taken over with its note": (
        Step([P, svc("x", holds="10.0.0.4", annotations={
            "metallb.universe.tf/loadBalancerIPs": "10.0.0.4"})]),
    ),
    "status ipMode Proxy is reset to VIP": (
        Step([P, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([Status("x", "10.0.0.1", mode="Proxy")]),
    ),
    "status ipMode absent means VIP": (
        Step([P, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([Status("x", "10.0.0.1", mode="")]),
    ),
    "deleted while pending: it just disappears": (
        Step([ONE, svc("x"), svc("y")], x=("10.0.0.1 p", got("10.0.0.1")),
             y=("", failed("y", "no available IPs"))),
        Step([Gone("y")]),
    ),
    "a manifest that no API server has seen": one(
        fresh(svc("x")), [P], "10.0.0.1 p", got("10.0.0.1")
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])


NOT_READ = {
    "sessionAffinity": {"affinity_seconds": 60},
    "allocateLoadBalancerNodePorts": {"allocate_node_ports": False},
    "loadBalancerSourceRanges": {"source_ranges": ("192.0.2.0/24",)},
}


@pytest.mark.parametrize("row", NOT_READ)
def test_not_read_at_all(row: str) -> None:
    play((
        Step([P, svc("x", want="10.0.0.2")], x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("x", want="10.0.0.2", **NOT_READ[row])]),
    ))  # fmt: skip


CLASSES = {
    "nil and none: ours": (None, None, True),
    "nil, ours is foo: ignored": (None, "foo", False),
    "foo, ours is none: ignored": ("foo", None, False),
    "foo, ours is bar: ignored": ("foo", "bar", False),
    "foo and foo: ours": ("foo", "foo", True),
}


@pytest.mark.parametrize("row", CLASSES)
def test_load_balancer_class(row: str) -> None:
    theirs, own, handled = CLASSES[row]
    inventory = msgspec.structs.replace(INVENTORY, load_balancer_class=own)
    service = svc("x", load_balancer_class=theirs)
    expect = {"x": ("10.0.0.1 p", got("10.0.0.1"))} if handled else {}
    play((Step([P, service], **expect),), inventory)


def test_ignored_means_never_touched_not_even_cleared() -> None:
    foreign = svc("x", holds="192.0.2.9", note="theirs", load_balancer_class="theirs")
    play((Step([P, foreign]), Step([svc("y")], y=("10.0.0.1 p", got("10.0.0.1")))))
