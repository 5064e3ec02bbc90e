# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 2.3, row by row: the order of automatic choice (design 9: never random)."""

import pytest

from fairlead.model.kube import Namespace
from fairlead.model.names import Family
from fairlead.model.pool import LabelSelector, PoolSelection
from support.build import pool, svc
from support.story import Gone, Step, failed, got, more, one, play

BOTH = "10.96.0.1 fd00:96::1"
REQUIRE = {"ips": BOTH, "policy": "RequireDualStack"}
PREFER = {"ips": BOTH, "policy": "PreferDualStack"}
WEB = LabelSelector({"tier": "web"})
NONE = "no available IPs"
NO_SECOND = (
    "AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: "
    '["{}" "<nil>"] is not allowed in config'
)


def pinned(name: str, address: str, priority: int = 0, **fields):
    """A pool of one address for namespace `default`."""
    given = {"namespaces": ("default",), **fields}
    return pool(name, f"{address}/32", select=PoolSelection(priority, **given))


A, B, C = "10.0.1.1", "10.0.2.1", "10.0.3.1"
OPEN_A, OPEN_B = pool("a", f"{A}/32"), pool("b", f"{B}/32")
DUAL = pool("dual", "10.0.9.1-10.0.9.2", "fd00:9::1-fd00:9::2")

CASES = {
    # 1
    "1. what is held is given again": (
        Step([OPEN_A, OPEN_B, svc("x", holds=B, note="b")]),
        Step([svc("x", ports="81")]),
    ),
    # 2
    "2. pinned: by namespace, before the open ones": one(
        svc("x"), [OPEN_A, pinned("z", C)], f"{C} z", got(C)
    ),
    "2. pinned: by label, before the open ones": one(
        svc("x", labels={"tier": "web"}),
        [OPEN_A, pool("z", f"{C}/32", select=PoolSelection(service_selectors=(WEB,)))],
        f"{C} z", got(C),
    ),
    "2. pinned and not autoAssign: passed over": one(
        svc("x"),
        [OPEN_A, pool("z", f"{C}/32", select=PoolSelection(1), auto_assign=False)],
        f"{A} a", got(A),
    ),
    "2. pinned: ascending priority, of namespace and label together": (
        Step([pinned("n", A, 10), pool("s", f"{B}/32", select=PoolSelection(
            9, service_selectors=(WEB,))), pinned("both", C, 5, service_selectors=(WEB,)),
            svc("x", labels={"tier": "web"})], x=(f"{C} both", got(C))),
        Step([svc("y", labels={"tier": "web"})], y=(f"{B} s", got(B))),
        Step([svc("z", labels={"tier": "web"})], z=(f"{A} n", got(A))),
    ),
    "2. pinned: 0 is last": one(
        svc("x"), [pinned("a", A, 0), pinned("b", B, 50)], f"{B} b", got(B)
    ),
    "2. ties of equal priority: by name": one(
        svc("x"), [pinned("b", B, 5), pinned("a", A, 5)], f"{A} a", got(A)
    ),
    "2. ties of priority 0: by name": one(
        svc("x"), [pinned("b", B), pinned("a", A)], f"{A} a", got(A)
    ),
    "2. ties of a label and a namespace: by name": one(
        svc("x", labels={"tier": "web"}),
        [pool("b", f"{B}/32", select=PoolSelection(3, service_selectors=(WEB,))),
         pinned("a", A, 3)], f"{A} a", got(A),
    ),
    # 3
    "3. open pools by name": one(svc("x"), [OPEN_B, OPEN_A], f"{A} a", got(A)),
    "3. open and not autoAssign: passed over": one(
        svc("x"), [pool("a", f"{A}/32", auto_assign=False), OPEN_B], f"{B} b", got(B)
    ),
    # 4
    "4. a pool whose selection does not match is never used": one(
        svc("x"), [pinned("a", A, namespaces=("other",))], "", failed("x", NONE)
    ),
    "4. a namespace selector that matches nothing serves nobody": one(
        svc("x"),
        [pool("a", f"{A}/32", select=PoolSelection(namespace_selectors=(WEB,)))], "",
        failed("x", NONE),
    ),
    "4. full pinned falls through to the next pinned, then to the open": (
        Step([pinned("a", A, 1), pinned("b", B, 2), pool("o", f"{C}/32"), svc("x")],
             x=(f"{A} a", got(A))),
        Step([svc("y")], y=(f"{B} b", got(B))),
        Step([svc("z")], z=(f"{C} o", got(C))),
        Step([svc("zz")], zz=("", failed("zz", NONE))),
    ),
    # 5
    "5. inside a pool: ranges in the order of the spec": (
        Step([pool("a", "10.0.5.9/32", "10.0.5.1/32"), svc("x")],
             x=("10.0.5.9 a", got("10.0.5.9"))),
        Step([svc("y")], y=("10.0.5.1 a", got("10.0.5.1"))),
    ),
    "5. inside a range: ascending, gaps first": (
        Step([pool("a", "10.0.5.1-10.0.5.3"), svc("x"), svc("y")],
             x=("10.0.5.1 a", got("10.0.5.1")), y=("10.0.5.2 a", got("10.0.5.2"))),
        Step([Gone("x")]),
        Step([svc("z")], z=("10.0.5.1 a", got("10.0.5.1"))),
    ),
    "5. with a key: an address in use, if that comes first": (
        Step([pool("a", "10.0.5.1-10.0.5.3"), svc("x", share="k")],
             x=("10.0.5.1 a", got("10.0.5.1"))),
        Step([svc("y", share="k", ports="81")], y=("10.0.5.1 a", got("10.0.5.1"))),
        Step([svc("z", share="k", ports="81")], z=("10.0.5.2 a", got("10.0.5.2"))),
    ),
    "5. with a key: a free address that comes before": (
        Step([pool("a", "10.0.5.1-10.0.5.3"), svc("x", share="k", want="10.0.5.2")],
             x=("10.0.5.2 a", got("10.0.5.2"))),
        Step([svc("y", share="k", ports="81")], y=("10.0.5.1 a", got("10.0.5.1"))),
    ),
    "5. sharers find room in a full pool, others do not": (
        Step([OPEN_A, svc("x", share="k")], x=(f"{A} a", got(A))),
        Step([svc("y", ports="81")], y=("", failed("y", NONE))),
        Step([svc("z", share="k", ports="81")], z=(f"{A} a", got(A))),
    ),
    # 6
    "6. RequireDualStack: both from one pool": one(
        svc("x", **REQUIRE), [OPEN_A, pool("six", "fd00::1/128"), DUAL],
        "10.0.9.1 fd00:9::1 dual", got("10.0.9.1", "fd00:9::1"),
    ),
    "6. RequireDualStack: one family of the pool used up": (
        Step([pool("d", f"{A}/32", "fd00::1-fd00::2"), svc("w")], w=(f"{A} d", got(A))),
        Step([svc("x", **REQUIRE)], x=("", failed("x", NONE))),
        Step([Gone("w")], x=(f"{A} fd00::1 d", got(A, "fd00::1"))),
    ),
    "6. PreferDualStack: first pool that gives both": one(
        svc("x", **PREFER), [OPEN_A, DUAL], "10.0.9.1 fd00:9::1 dual",
        got("10.0.9.1", "fd00:9::1"),
    ),
    "6. PreferDualStack: else the first that gives the primary family": one(
        svc("x", **PREFER), [pool("a6", "fd00::1/128"), OPEN_B], f"{B} b",
        got(B), NO_SECOND.format(B),
    ),
    "6. PreferDualStack, IPv6 primary": one(
        svc("x", **PREFER, ip_families=(Family.IPV6, Family.IPV4)),
        [OPEN_A, pool("six", "fd00::1/128")], "fd00::1 six", got("fd00::1"),
        NO_SECOND.format("fd00::1"),
    ),
    "6. PreferDualStack: else the secondary family": one(
        svc("x", **PREFER), [pool("six", "fd00::1/128")], "fd00::1 six",
        got("fd00::1"), NO_SECOND.format("fd00::1"),
    ),
    "6. PreferDualStack: a pinned single before an open dual": one(
        svc("x", **PREFER), [DUAL, pinned("z", C)], f"{C} z", got(C), NO_SECOND.format(C)
    ),
    "6. PreferDualStack: the second comes when the pool has room again": (
        Step([pool("d", "10.0.5.1-10.0.5.2", "fd00::1/128"), svc("w", ips="fd00:96::9")],
             w=("fd00::1 d", got("fd00::1"))),
        Step([svc("x", **PREFER)],
             x=("10.0.5.1 d", got("10.0.5.1"), NO_SECOND.format("10.0.5.1"))),
        Step([Gone("w")], x=("10.0.5.1 fd00::1 d", more("fd00::1"))),
    ),
    "6. single stack finds its family in a dual pool": one(
        svc("x", ips="fd00:96::1"), [OPEN_A, DUAL], "fd00:9::1 dual", got("fd00:9::1")
    ),
    # explicit
    "explicit IP: autoAssign does not matter": one(
        svc("x", want=A), [pool("a", f"{A}/32", auto_assign=False)], f"{A} a", got(A)
    ),
    "explicit IP: priority does not matter": one(
        svc("x", want=A), [pinned("a", A, 9), pinned("b", B, 1)], f"{A} a", got(A)
    ),
    "explicit IPs: all in one pool": one(
        svc("x", want="10.0.9.2,fd00:9::2", **REQUIRE), [DUAL], "10.0.9.2 fd00:9::2 dual",
        got("10.0.9.2", "fd00:9::2"),
    ),
    "pool annotation: autoAssign and priority do not matter": one(
        svc("x", want_pool="a"),
        [pool("a", f"{A}/32", auto_assign=False, select=PoolSelection(9)), pinned("b", B, 1)],
        f"{A} a", got(A),
    ),
    "pool annotation, PreferDualStack: one family if the pool has only that": one(
        svc("x", want_pool="a", **PREFER), [OPEN_A, DUAL], f"{A} a", got(A), NO_SECOND.format(A)
    ),
    # design 9
    "explicit requests are served before automatic ones": (
        Step([pool("a", "10.0.5.1-10.0.5.2"), svc("old", age=9), svc("young", want="10.0.5.1")],
             old=("10.0.5.2 a", got("10.0.5.2")), young=("10.0.5.1 a", got("10.0.5.1"))),
    ),
    "automatic choice avoids what some Service names": (
        Step([pool("a", "10.0.5.1-10.0.5.3"), svc("w", want="10.0.5.1", want_pool="no")],
             w=("", failed("w", 'requested loadBalancer IP(s) ["10.0.5.1"] is not compatible '
                                "with requested address pool no"))),
        Step([svc("x")], x=("10.0.5.2 a", got("10.0.5.2"))),
    ),
    "a named address is taken where nothing else is left": (
        Step([OPEN_A, svc("w", want=A, want_pool="no")],
             w=("", failed("w", f'requested loadBalancer IP(s) ["{A}"] is not compatible '
                                "with requested address pool no"))),
        Step([svc("x")], x=(f"{A} a", got(A))),
    ),
    "oldest first": (
        Step([OPEN_A, OPEN_B, svc("a"), svc("b", age=1), svc("c", age=2)],
             c=(f"{A} a", got(A)), b=(f"{B} b", got(B)), a=("", failed("a", NONE))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play((Step([Namespace("default", {})]), *CASES[row]))
