# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 1.1, row by row: annotations."""

import pytest

from support.build import pool, svc
from support.story import Gone, Status, Step, failed, got, old_key, one, play

P = pool("p", "10.0.0.1-10.0.0.4")
Q = pool("q", "10.0.1.1-10.0.1.4", auto_assign=False)
DUAL = pool("dual", "10.0.2.1-10.0.2.2", "fd00:2::1-fd00:2::2")
NEW, OLD = "metallb.io/", "metallb.universe.tf/"
BOTH = {"ips": "10.96.0.1 fd00:96::1", "policy": "RequireDualStack"}


def noted(**values: str) -> dict[str, str]:
    """Annotations: `new_x` and `old_x` for x under either prefix."""
    prefixes = {"new": NEW, "old": OLD}
    names = {"pool": "address-pool", "ips": "loadBalancerIPs", "share": "allow-shared-ip"}
    return {prefixes[key[:3]] + names[key[4:]]: value for key, value in values.items()}


CASES = {
    "address-pool allocates only from this pool": one(
        svc("x", want_pool="q"), [P, Q], "10.0.1.1 q", got("10.0.1.1")
    ),
    "address-pool skips autoAssign": one(
        svc("x", want_pool="q"), [Q], "10.0.1.1 q", got("10.0.1.1")
    ),
    "address-pool under the old prefix": one(
        svc("x", annotations=noted(old_pool="q")), [P, Q], "10.0.1.1 q",
        got("10.0.1.1"), old_key("address-pool"),
    ),
    "loadBalancerIPs: one address": one(
        svc("x", want="10.0.0.3"), [P], "10.0.0.3 p", got("10.0.0.3")
    ),
    "loadBalancerIPs: two of different families, blanks around the comma": one(
        svc("x", want=" 10.0.2.2 , fd00:2::2 ", **BOTH), [DUAL], "10.0.2.2 fd00:2::2 dual",
        got("10.0.2.2", "fd00:2::2"),
    ),
    "loadBalancerIPs: the pair's order is kept": one(
        svc("x", want="fd00:2::2,10.0.2.2", **BOTH), [DUAL], "fd00:2::2 10.0.2.2 dual",
        got("fd00:2::2", "10.0.2.2"),
    ),
    "loadBalancerIPs under the old prefix": one(
        svc("x", annotations=noted(old_ips="10.0.0.3")), [P], "10.0.0.3 p",
        got("10.0.0.3"), old_key("loadBalancerIPs"),
    ),
    "allow-shared-ip: any text is a key": (
        Step([P, svc("x", share="any text, really!", want="10.0.0.2")],
             x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("y", share="any text, really!", want="10.0.0.2", ports="81")],
             y=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "allow-shared-ip: the old prefix shares with the new one": (
        Step([P, svc("x", share="k", want="10.0.0.2")], x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("y", annotations=noted(old_share="k"), want="10.0.0.2", ports="81")],
             y=("10.0.0.2 p", got("10.0.0.2"), old_key("allow-shared-ip"))),
    ),
    "allow-shared-ip: empty is no key": (
        Step([P, svc("x", annotations=noted(new_share=""), want="10.0.0.2")],
             x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("y", annotations=noted(new_share=""), want="10.0.0.2", ports="81")],
             y=("", failed("y", 'can\'t change sharing key for "default/y", '
                                "address also in use by default/x"))),
    ),
    "ip-allocated-from-pool names the pool and goes with the address": (
        Step([P, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x", type="ClusterIP")], x=""),
    ),
    "ip-allocated-from-pool: a false note is put right": (
        Step([P, svc("x", holds="10.0.0.2", note="elsewhere")], x="10.0.0.2 p"),
    ),
    "metallb.io wins over metallb.universe.tf": one(
        svc("x", annotations=noted(new_ips="10.0.0.3", old_ips="10.0.0.4")), [P], "10.0.0.3 p",
        got("10.0.0.3"), old_key("loadBalancerIPs"),
    ),
    "metallb.io wins even when its value is empty": one(
        svc("x", annotations=noted(new_pool="", old_pool="q")), [P, Q], "10.0.0.1 p",
        got("10.0.0.1"), old_key("address-pool"),
    ),
    "deprecatedAnnotation names every old key, known or not": one(
        svc("x", annotations={OLD + "b": "1", OLD + "a": "2", "metallb.universe.tf.x": "3"}), [P],
        "10.0.0.1 p", got("10.0.0.1"),
        "deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf.x",
        old_key("a"), old_key("b"),
    ),
    "deprecatedAnnotation only on a sync that changes the Service": (
        Step([P, svc("x", annotations=noted(old_pool="p"))],
             x=("10.0.0.1 p", got("10.0.0.1"), old_key("address-pool"))),
        Step([svc("x", annotations=noted(old_pool="p"), ports="81")]),
        Step([svc("x", annotations=noted(old_ips="10.0.0.2"))],
             x=("10.0.0.2 p", got("10.0.0.2"), old_key("loadBalancerIPs"))),
    ),
    "no finalizer holds a Service: deletion frees at once": (
        Step([pool("p", "10.0.0.1/32"), svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("y")], y=("", failed("y", "no available IPs"))),
        Step([Gone("x")], y=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "annotation and status belong together: one without the other is completed": (
        Step([P, svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
        Step([Status("x", "")], x=("10.0.0.1 p", got("10.0.0.1"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])
