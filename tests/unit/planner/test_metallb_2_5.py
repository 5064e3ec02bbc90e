# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 2.5, row by row: pools edited while in use."""

import pytest

from fairlead.model.kube import Namespace
from fairlead.model.pool import LabelSelector, PoolSelection
from support.build import pool, svc
from support.story import Gone, Step, cleared, failed, got, more, not_in_config, play

P = pool("p", "10.0.0.0-10.0.0.3")
Q = pool("q", "10.0.1.0/30")
X = Step([P, svc("x", want="10.0.0.2")], x=("10.0.0.2 p", got("10.0.0.2")))
FREE = Step([P, svc("w"), svc("x"), svc("y")], w=("10.0.0.0 p", got("10.0.0.0")),
            x=("10.0.0.1 p", got("10.0.0.1")), y=("10.0.0.2 p", got("10.0.0.2")))  # fmt: skip
NONE = "no available IPs"
WEB = LabelSelector({"tier": "web"})
PREFER = {"ips": "10.96.0.1 fd00:96::1", "policy": "PreferDualStack"}
SINGLE, DUAL = pool("d", "10.0.2.1/32"), pool("d", "10.0.2.1/32", "fd00:2::1/128")
NOT_FOR_X = "pool p not compatible for ip assignment"


def selecting(selection: PoolSelection):
    return pool("p", "10.0.0.0-10.0.0.3", select=selection)


CASES = {
    "expanded: nothing moves": (FREE, Step([pool("p", "10.0.0.0/24")])),
    "expanded by another range: nothing moves": (
        FREE, Step([pool("p", "10.0.9.0/30", "10.0.0.0-10.0.0.3")]),
    ),
    "shrunk around the address: nothing moves": (X, Step([pool("p", "10.0.0.2/32")])),
    "shrunk away: ClearAssignment and a new IP": (
        FREE,
        Step([pool("p", "10.0.0.1-10.0.0.3")],
             w=("10.0.0.3 p", cleared("w", not_in_config("10.0.0.0")), got("10.0.0.3"))),
    ),
    "shrunk away, nothing left: empty status": (
        FREE,
        Step([pool("p", "10.0.0.1-10.0.0.2")],
             w=("", cleared("w", not_in_config("10.0.0.0")), failed("w", NONE))),
    ),
    "shrunk away, another pool has room: from there": (
        FREE,
        Step([Q, pool("p", "10.0.0.1-10.0.0.2")],
             w=("10.0.1.0 q", cleared("w", not_in_config("10.0.0.0")), got("10.0.1.0"))),
    ),
    "shrunk away from a request: the request fails, nothing is chosen instead": (
        X,
        Step([pool("p", "10.0.0.0/31")],
             x=("", cleared("x", not_in_config("10.0.0.2")),
                failed("x", not_in_config("10.0.0.2")))),
        Step([P], x=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "renamed: the address stays, the note changes silently": (
        X, Step([Gone("pool/p"), pool("new", "10.0.0.0/30")], x="10.0.0.2 new"),
    ),
    "split: the address stays, the note follows": (
        X,
        Step([pool("p", "10.0.0.0/31"), pool("p2", "10.0.0.2/31")], x="10.0.0.2 p2"),
    ),
    "merged: the address stays, the note follows": (
        Step([pool("a", "10.0.0.0/31"), pool("b", "10.0.0.2/31"), svc("x", want="10.0.0.3")],
             x=("10.0.0.3 b", got("10.0.0.3"))),
        Step([Gone("pool/b"), pool("a", "10.0.0.0/30")], x="10.0.0.3 a"),
    ),
    "deleted: ClearAssignment, from another pool": (
        FREE,
        Step([Q]),
        Step([Gone("pool/p")], **{
            name: (f"{new} q", cleared(name, not_in_config(old)), got(new))
            for name, old, new in (("w", "10.0.0.0", "10.0.1.0"), ("x", "10.0.0.1", "10.0.1.1"),
                                   ("y", "10.0.0.2", "10.0.1.2"))}),
    ),
    "all deleted: every status emptied, no Event": (
        FREE, Step([Gone("pool/p")], w="", x="", y=""),
    ),
    "all deleted and back: addresses are chosen anew": (
        FREE,
        Step([Gone("pool/p")], w="", x="", y=""),
        Step([P], w=("10.0.0.0 p", got("10.0.0.0")), x=("10.0.0.1 p", got("10.0.0.1")),
             y=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "avoidBuggyIPs turned on: .0 is evicted": (
        FREE,
        Step([pool("p", "10.0.0.0-10.0.0.3", avoid_buggy_ips=True)],
             w=("10.0.0.3 p", cleared("w", not_in_config("10.0.0.0")), got("10.0.0.3"))),
    ),
    "autoAssign turned off: nothing moves": (
        FREE, Step([pool("p", "10.0.0.0-10.0.0.3", auto_assign=False)]),
        Step([svc("z")], z=("", failed("z", NONE))),
    ),
    "a pool of higher priority comes: nothing moves": (
        FREE, Step([pool("a", "10.0.9.0/30", select=PoolSelection(1))]),
    ),
    "a dual-stack pool comes: nothing moves": (
        Step([SINGLE, svc("x", **PREFER)],
             x=("10.0.2.1 d", got("10.0.2.1"),
                "AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: "
                + not_in_config("10.0.2.1", "<nil>"))),
        Step([pool("better", "10.0.9.1/32", "fd00:9::1/128")]),
    ),
    "namespaces narrowed: holders move": (
        X, Step([Q, selecting(PoolSelection(namespaces=("other",)))],
                x=("", cleared("x", NOT_FOR_X), failed("x", NOT_FOR_X))),
    ),
    "selector that matches nothing: serves nobody, holders go elsewhere": (
        FREE,
        Step([Q, selecting(PoolSelection(service_selectors=(WEB,)))], **{
            name: (f"{new} q", cleared(name, NOT_FOR_X), got(new))
            for name, new in (("w", "10.0.1.0"), ("x", "10.0.1.1"), ("y", "10.0.1.2"))}),
    ),
    "selectors that admit the holder: nothing moves": (
        X, Step([selecting(PoolSelection(3, namespaces=("default",)))]),
    ),
    "labels of a Service changed: the holder moves": (
        Step([selecting(PoolSelection(service_selectors=(WEB,))), Q,
              svc("x", labels={"tier": "web"})], x=("10.0.0.0 p", got("10.0.0.0"))),
        Step([svc("x")], x=("10.0.1.0 q", cleared("x", NOT_FOR_X), got("10.0.1.0"))),
    ),
    "labels of a namespace changed: the holder moves": (
        Step([Namespace("default", {"tier": "web"}),
              selecting(PoolSelection(namespace_selectors=(WEB,))), Q, svc("x")],
             x=("10.0.0.0 p", got("10.0.0.0"))),
        Step([Namespace("default", {})],
             x=("10.0.1.0 q", cleared("x", NOT_FOR_X), got("10.0.1.0"))),
    ),
    "single extended to dual: the second comes, the first stays": (
        Step([pool("d", "10.0.2.1-10.0.2.2"), svc("x", **PREFER)],
             x=("10.0.2.1 d", got("10.0.2.1"),
                "AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: "
                + not_in_config("10.0.2.1", "<nil>"))),
        Step([pool("d", "10.0.2.1-10.0.2.2", "fd00:2::1/128")],
             x=("10.0.2.1 fd00:2::1 d", more("fd00:2::1"))),
    ),
    "dual shrunk to single: both cleared, another dual pool preferred": (
        Step([DUAL, pool("z", "10.0.9.1/32", "fd00:9::1/128"), svc("x", **PREFER)],
             x=("10.0.2.1 fd00:2::1 d", got("10.0.2.1", "fd00:2::1"))),
        Step([SINGLE],
             x=("10.0.9.1 fd00:9::1 z", cleared("x", not_in_config("10.0.2.1", "fd00:2::1")),
                got("10.0.9.1", "fd00:9::1"))),
    ),
    "an address moves from one pool to another that the holder may not use": (
        X,
        Step([pool("p", "10.0.0.0/31"),
              pool("z", "10.0.0.2/31", select=PoolSelection(namespaces=("other",)))],
             x=("", cleared("x", "pool z not compatible for ip assignment"),
                failed("x", "pool z not compatible for ip assignment"))),
    ),
    "a pool comes around an address that somebody wrote by hand": (
        Step([P, svc("x", holds="10.0.7.7", note="p")],
             x=("10.0.0.0 p", cleared("x", not_in_config("10.0.7.7")), got("10.0.0.0"))),
        Step([pool("z", "10.0.7.0/24")]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])
