# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 1.4, row by row: the steps of one sync, retries, restart (and design 9)."""

import pytest

from fairlead.model.pool import PoolSelection
from support.build import pool, svc
from support.story import (
    Gone,
    Status,
    Step,
    cleared,
    failed,
    got,
    in_use,
    more,
    not_in_config,
    play,
)

P = pool("p", "10.0.0.1-10.0.0.3")
ONE = pool("p", "10.0.0.1/32")
Q = pool("q", "10.0.1.1-10.0.1.3", auto_assign=False)
FOUR = pool("four", "10.0.4.1-10.0.4.2")
DUAL = pool("dual", "10.0.2.1-10.0.2.2", "fd00:2::1-fd00:2::2")
BOTH = "10.96.0.1 fd00:96::1"
PREFER = {"ips": BOTH, "policy": "PreferDualStack"}
X1 = {"x": ("10.0.0.1 p", got("10.0.0.1"))}
NONE = "no available IPs"
SAME = "IPFamilyForAddresses: same address family"

CASES = {
    "1. not type LoadBalancer: cleared": (
        Step([P, svc("x")], **X1),
        Step([svc("x", type="ClusterIP")], x=""),
    ),
    "2. no pools: cleared, no Event": (
        Step([P, svc("x")], **X1),
        Step([Gone("pool/p")], x=""),
    ),
    "2. no pools, then some: at once": (
        Step([svc("x")]),
        Step([P], **X1),
    ),
    "3. ClusterIPs gone: cleared, no Event": (
        Step([P, svc("x")], **X1),
        Step([svc("x", ips="")], x=""),
    ),
    "4. RequireDualStack with one ClusterIP: Warning, cleared": (
        Step([DUAL, svc("x")], x=("10.0.2.1 dual", got("10.0.2.1"))),
        Step([svc("x", policy="RequireDualStack")],
             x=("", ("not enough clusterips: Service requires dual stack but not enough clusterips "
                    "[10.96.0.1]"))),
    ),
    "5. two addresses of one family in status: Warning, cleared, anew": (
        Step([P, svc("x")], **X1),
        Step([Status("x", "10.0.0.2 10.0.0.3")],
             x=("10.0.0.1 p",
                ('nolbIPsIPFamily: Failed to retrieve LBIPs IPFamily for ["10.0.0.2" "10.0.0.3"]: '
                f'{SAME} ["10.0.0.2" "10.0.0.3"]'), got("10.0.0.1"))),
    ),
    "5. three addresses in status: Warning, cleared, anew": (
        Step([P, svc("x")], **X1),
        Step([Status("x", "10.0.0.2 10.0.0.3 fd00::1")],
             x=("10.0.0.1 p",
                ("nolbIPsIPFamily: Failed to retrieve LBIPs IPFamily for "
                '["10.0.0.2" "10.0.0.3" "fd00::1"]: IPFamilyForAddresses: invalid ips length 3 '
                '["10.0.0.2" "10.0.0.3" "fd00::1"]'), got("10.0.0.1"))),
    ),
    "6. family of status is not the wanted one: anew, silently given up": (
        Step([P, svc("x", holds="fd00:2::1", note="dual")], x=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "6. a single IP is tolerated for PreferDualStack": (
        Step([DUAL, svc("x", holds="fd00:2::2", note="dual", **PREFER)],
             x=("fd00:2::2 10.0.2.1 dual", more("10.0.2.1"))),
    ),
    "7. invalid text while an IP is held: Warning, kept": (
        Step([P, svc("x")], **X1),
        Step([svc("x", want="please")],
             x=("10.0.0.1 p", ("LoadBalancerFailed: invalid requested loadbalancer IPs: "
                              'invalid metallb.io/loadBalancerIPs: "please"'))),
    ),
    "8. re-claim: pool gone": (
        Step([P, Q, svc("x")], **X1),
        Step([Gone("pool/p")],
             x=("", cleared("x", not_in_config("10.0.0.1")), failed("x", NONE))),
    ),
    "8. re-claim: sharing does not fit any more": (
        Step([P, svc("w", share="k", want="10.0.0.1")], w=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x", share="k", ports="81")], **X1),
        Step([svc("x", share="other", ports="81")],
             x=("10.0.0.2 p", cleared("x", in_use("x", "w")), got("10.0.0.2"))),
    ),
    "9. another pool is asked for: moves, without ClearAssignment": (
        Step([P, Q, svc("x")], **X1),
        Step([svc("x", want_pool="q")], x=("10.0.1.1 q", got("10.0.1.1"))),
    ),
    "10. another address is asked for: moves, without ClearAssignment": (
        Step([P, svc("x")], **X1),
        Step([svc("x", want="10.0.0.3")], x=("10.0.0.3 p", got("10.0.0.3"))),
    ),
    "10. the request is taken back: the address stays": (
        Step([P, svc("x", want="10.0.0.3")], x=("10.0.0.3 p", got("10.0.0.3"))),
        Step([svc("x")]),
    ),
    "11. PreferDualStack holding one: the other family from the same pool": (
        Step([DUAL, svc("x", want="10.0.2.2")], x=("10.0.2.2 dual", got("10.0.2.2"))),
        Step([svc("x", **PREFER)], x=("10.0.2.2 fd00:2::1 dual", more("fd00:2::1"))),
    ),
    "11. PreferDualStack, pool without the other family: AdditionalAssignFailed, kept": (
        Step([FOUR, svc("x")], x=("10.0.4.1 four", got("10.0.4.1"))),
        Step([svc("x", **PREFER)],
             x=("10.0.4.1 four", "AdditionalAssignFailed: cannot assign additional IP in "
                "PreferDualStack: " + not_in_config("10.0.4.1", "<nil>"))),
    ),
    "12. nothing fits: AllocationFailed": (
        Step([Q, svc("x")], x=("", failed("x", NONE))),
    ),
    "12. something fits: IPAllocated": (Step([P, svc("x")], **X1),),
    # a valid request that can't be met: design 9, better than C12
    "a valid but unavailable IP keeps the working one": (
        Step([P, svc("w"), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("x", want="10.0.0.1")], x=("10.0.0.2 p", failed("x", in_use("x", "w")))),
        Step([Gone("w")], x=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    # retries
    "retry: that Service changes": (
        Step([P, svc("x", want="10.0.0.9")], x=("", failed("x", not_in_config("10.0.0.9")))),
        Step([svc("x", want="10.0.0.2")], x=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "retry: a pool grows": (
        Step([ONE, svc("w"), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("", failed("x", NONE))),
        Step([P], x=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "retry: a holder is deleted": (
        Step([ONE, svc("w"), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("", failed("x", NONE))),
        Step([Gone("w")], **X1),
    ),
    "retry: a holder changes its type": (
        Step([ONE, svc("w"), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("", failed("x", NONE))),
        Step([svc("w", type="ClusterIP")], w="", **X1),
    ),
    "retry: a holder moves away": (
        Step([ONE, Q, svc("w"), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("", failed("x", NONE))),
        Step([svc("w", want_pool="q")], w=("10.0.1.1 q", got("10.0.1.1")), **X1),
    ),
    "retry: a sharing key changes": (
        Step([ONE, svc("w", share="k"), svc("x", share="l", ports="81")],
             w=("10.0.0.1 p", got("10.0.0.1")), x=("", failed("x", NONE))),
        Step([svc("w", share="l")], **X1),
    ),
    "retry: a sharer's ports change (upstream forgets this one)": (
        Step([ONE, svc("w", share="k"), svc("x", share="k")],
             w=("10.0.0.1 p", got("10.0.0.1")), x=("", failed("x", NONE))),
        Step([svc("w", share="k", ports="81")], **X1),
    ),
    "retry: a holder's class changes (upstream forgets this one)": (
        Step([ONE, svc("w"), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("", failed("x", NONE))),
        Step([svc("w", load_balancer_class="other")], **X1),
    ),
    "a freed address goes to the oldest that waits": (
        Step([ONE, svc("w")], w=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("a", age=1), svc("b", age=3), svc("c", age=2)],
             **{name: ("", failed(name, NONE)) for name in "abc"}),
        Step([Gone("w")], b=("10.0.0.1 p", got("10.0.0.1"))),
        Step([Gone("b")], c=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "who waits for an address by name goes before the older that takes any": (
        Step([ONE, svc("w")], w=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("a", age=9)], a=("", failed("a", NONE))),
        Step([svc("b", want="10.0.0.1")], b=("", failed("b", in_use("b", "w")))),
        Step([Gone("w")], b=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "two Services that want one address: the older has it, the other waits": (
        Step([P, svc("a", want="10.0.0.2"), svc("b", want="10.0.0.2", age=1)],
             b=("10.0.0.2 p", got("10.0.0.2")), a=("", failed("a", in_use("a", "b")))),
        Step([svc("b")]),
        Step([Gone("b")], a=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "two Services swap addresses": (
        Step([P, svc("x"), svc("y")], x=("10.0.0.1 p", got("10.0.0.1")),
             y=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("x", want="10.0.0.2"), svc("y", want="10.0.0.1")],
             x=("10.0.0.2 p", got("10.0.0.2")), y=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    # start-up
    "start-up: those that hold go first, whatever their age": (
        Step([P, svc("old", age=9), svc("young", holds="10.0.0.1")],
             old=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "start-up: two holders of one address, the older keeps it": (
        Step([P, svc("a", holds="10.0.0.2"), svc("b", holds="10.0.0.2", age=1)],
             a=("10.0.0.1 p", cleared("a", in_use("a", "b")), got("10.0.0.1"))),
    ),
    "start-up: a holder whose pool admits it no more moves": (
        Step([pool("p", "10.0.0.0/30", select=PoolSelection(namespaces=("other",))), FOUR,
              svc("x", holds="10.0.0.1")],
             x=("10.0.4.1 four", cleared("x", "pool p not compatible for ip assignment"),
                got("10.0.4.1"))),
    ),
    # deletion
    "deleted while pending: it just disappears": (
        Step([Q, svc("x")], x=("", failed("x", NONE))),
        Step([Gone("x")]),
        Step([P]),
    ),
    "deleted while holding: the next one has it": (
        Step([P, svc("x")], **X1),
        Step([Gone("x")]),
        Step([svc("y")], y=("10.0.0.1 p", got("10.0.0.1"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])
