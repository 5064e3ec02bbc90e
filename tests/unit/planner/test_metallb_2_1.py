# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 2.1, row by row: fields of an IPAddressPool, from the wire to an address."""

import pytest

from fairlead.cluster.pools import PoolHead, write_counters
from fairlead.cluster.writes import ObjectRef
from fairlead.model.kube import Namespace
from fairlead.model.names import ObjectKey
from fairlead.planner.pools import PoolIndex
from fairlead.planner.usage import UNBOUNDED, PoolUsage, UsageTable
from fairlead.snapshot.resources import parse_object
from support.build import INVENTORY, svc
from support.story import Step, failed, got, not_in_config, one, play


def crd(name: str, *addresses: str, **spec):
    """An IPAddressPool as the API server holds it."""
    return parse_object(
        "IPAddressPool",
        {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": {"name": name, "namespace": "metallb-system"},
            "spec": {"addresses": list(addresses), **spec},
        },
    )


def allocation(**fields):
    return {"serviceAllocation": fields}


def labels(**pairs: str):
    return {"matchLabels": pairs}


P = crd("p", "10.0.0.1-10.0.0.9")
SIX = "fd00:96::1"
NONE = "no available IPs"
WEB = {"tier": "web"}
TEAM = Namespace("team", {"tenant": "a"})


def first(name: str, *pools, address: str, pool: str, **service):
    """Service `name` gets an address from one of the pools."""
    return (
        Step([TEAM, *pools, svc(name, **service)], **{name: (f"{address} {pool}", got(address))}),
    )


CASES = {
    "addresses: CIDR, host bits are masked off": one(
        svc("x"), [crd("p", "10.0.0.77/30")], "10.0.0.76 p", got("10.0.0.76")
    ),
    "addresses: range, blanks around the dash": one(
        svc("x"), [crd("p", "10.0.0.7 - 10.0.0.9")], "10.0.0.7 p", got("10.0.0.7")
    ),
    "addresses: range over octets": one(
        svc("x", want="10.0.1.0"), [crd("p", "10.0.0.254-10.0.1.1")], "10.0.1.0 p", got("10.0.1.0")
    ),
    "addresses: IPv6 CIDR": one(
        svc("x", ips=SIX), [crd("p", "fd00::/120")], "fd00:: p", got("fd00::")
    ),
    "addresses: IPv6 range": one(
        svc("x", ips=SIX), [crd("p", "fd00::a-fd00::c")], "fd00::a p", got("fd00::a")
    ),
    "addresses: both families in one pool": one(
        svc("x", ips=f"10.96.0.1 {SIX}", policy="RequireDualStack"),
        [crd("p", "fd00::/120", "10.0.0.1/32")], "10.0.0.1 fd00:: p", got("10.0.0.1", "fd00::"),
    ),
    "addresses: a /32 is one address": (
        Step([crd("p", "10.0.0.5/32"), svc("x")], x=("10.0.0.5 p", got("10.0.0.5"))),
        Step([svc("y")], y=("", failed("y", NONE))),
    ),
    "addresses: first and last of a CIDR are given, too": (
        Step([crd("p", "10.0.0.0/31"), svc("x"), svc("y")], x=("10.0.0.0 p", got("10.0.0.0")),
             y=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "autoAssign absent is true": one(svc("x"), [P], "10.0.0.1 p", got("10.0.0.1")),
    "autoAssign false: not without being asked for": one(
        svc("x"), [crd("p", "10.0.0.1/32", autoAssign=False)], "", failed("x", NONE)
    ),
    "autoAssign false: by address": one(
        svc("x", want="10.0.0.1"), [crd("p", "10.0.0.1/32", autoAssign=False)], "10.0.0.1 p",
        got("10.0.0.1"),
    ),
    "autoAssign false: by pool": one(
        svc("x", want_pool="p"), [crd("p", "10.0.0.1/32", autoAssign=False)], "10.0.0.1 p",
        got("10.0.0.1"),
    ),
    "avoidBuggyIPs: .0 and .255 are passed over": (
        Step([crd("p", "10.0.0.255-10.0.1.1", avoidBuggyIPs=True), svc("x")],
             x=("10.0.1.1 p", got("10.0.1.1"))),
        Step([svc("y")], y=("", failed("y", NONE))),
    ),
    "avoidBuggyIPs: also for explicit requests": one(
        svc("x", want="10.0.0.255"), [crd("p", "10.0.0.0/24", avoidBuggyIPs=True)], "",
        failed("x", not_in_config("10.0.0.255")),
    ),
    "avoidBuggyIPs false: .0 is an address like any other": one(
        svc("x"), [crd("p", "10.0.0.0/24")], "10.0.0.0 p", got("10.0.0.0")
    ),
    "avoidBuggyIPs does not matter to IPv6": one(
        svc("x", ips=SIX), [crd("p", "fd00::/120", avoidBuggyIPs=True)], "fd00:: p", got("fd00::")
    ),
    "priority: lower number first": first(
        "x", crd("a", "10.0.1.1/32", **allocation(priority=2)),
        crd("b", "10.0.2.1/32", **allocation(priority=1)), address="10.0.2.1", pool="b",
    ),
    "priority: 0 and unset go last": first(
        "x", crd("a", "10.0.1.1/32", **allocation(priority=0)),
        crd("b", "10.0.2.1/32", **allocation(priority=9)), address="10.0.2.1", pool="b",
    ),
    "namespaces": first(
        "team/x", P, crd("a", "10.0.1.1/32", **allocation(namespaces=["team"])),
        address="10.0.1.1", pool="a",
    ),
    "namespaces: others get nothing": one(
        svc("x"), [crd("a", "10.0.1.1/32", **allocation(namespaces=["team"]))], "",
        failed("x", NONE),
    ),
    "namespaces: any text is a name, one that can't exist matches nobody": one(
        svc("x"), [crd("a", "10.0.1.1/32", **allocation(namespaces=["No Such"]))], "",
        failed("x", NONE),
    ),
    "namespaceSelectors": first(
        "team/x", P, crd("a", "10.0.1.1/32", **allocation(namespaceSelectors=[labels(tenant="a")])),
        address="10.0.1.1", pool="a",
    ),
    "namespaces and namespaceSelectors are OR-ed": first(
        "team/x", P,
        crd("a", "10.0.1.1/32", **allocation(
            namespaces=["other"], namespaceSelectors=[labels(tenant="b"), labels(tenant="a")])),
        address="10.0.1.1", pool="a",
    ),
    "namespaceSelectors by the name that Kubernetes puts on each": first(
        "team/x", P,
        crd("a", "10.0.1.1/32", **allocation(namespaceSelectors=[
            {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}, labels(tenant="a")])),
        address="10.0.1.1", pool="a",
    ),
    "serviceSelectors are OR-ed": first(
        "x", P,
        crd("a", "10.0.1.1/32", **allocation(serviceSelectors=[labels(tier="db"), labels(**WEB)])),
        address="10.0.1.1", pool="a", labels=WEB,
    ),
    "serviceSelectors by expression": first(
        "x", P,
        crd("a", "10.0.1.1/32", **allocation(serviceSelectors=[{"matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["db"]},
            {"key": "tier", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist"}]}])),
        address="10.0.1.1", pool="a", labels=WEB,
    ),
    "serviceSelectors are AND-ed with the namespace part": first(
        "team/x", P,
        crd("a", "10.0.1.1/32", **allocation(
            namespaces=["team"], serviceSelectors=[labels(tier="db")])),
        address="10.0.0.1", pool="p", labels=WEB,
    ),
    "serviceAllocation with only a priority matches all": first(
        "x", P, crd("a", "10.0.1.1/32", **allocation(priority=5)), address="10.0.1.1", pool="a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])


COUNTERS = {
    "assigned and available, by family": (crd("p", "10.0.0.0/29", "fd00::/125"), (1, 1, 7, 7)),
    "avoidBuggyIPs are not available": (
        crd("p", "10.0.0.0/24", "fd00::/125", avoidBuggyIPs=True),
        (1, 1, 253, 7),
    ),
    "v6 of 62 host bits or more saturates": (
        crd("p", "10.0.0.0/29", "fd00::/64", "fd01::/126"),
        (1, 1, 7, UNBOUNDED),
    ),
}


@pytest.mark.parametrize("row", COUNTERS)
def test_status_counters(row: str) -> None:
    pool, expected = COUNTERS[row]
    table = UsageTable(INVENTORY)
    table.use(PoolIndex([pool]), [svc("x", ips="a b", holds="10.0.0.1 fd00::1")])
    (usage,) = table.usage()
    numbers = (usage.assigned_ipv4, usage.assigned_ipv6, usage.available_ipv4, usage.available_ipv6)
    assert numbers == expected


class _Api:
    def __init__(self) -> None:
        self.bodies: list[object] = []

    def request(self, *_path, body, **_more) -> bytes:
        self.bodies.append(body)
        return b"{}"


@pytest.mark.parametrize(
    "edited", ["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"]
)
def test_manual_edits_are_reverted(edited: str) -> None:
    true = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 3, "availableIPv6": 0}
    ref = ObjectRef(ObjectKey("metallb-system", "p"), "u", "1", "IPAddressPool")
    api = _Api()
    usage = PoolUsage("p", 4, 0, 1, 0)
    assert not write_counters(api, PoolHead(ref, "1", true), usage)
    assert write_counters(api, PoolHead(ref, "1", {**true, edited: 99}), usage)
    assert api.bodies == [{"status": true}]
