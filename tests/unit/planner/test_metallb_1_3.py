# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 1.3, row by row: every way of asking wrongly, and its sentence.

Each row is played twice: by a Service that holds nothing, and by one that holds an address, which
keeps it (design 9) where upstream would clear it first.
"""

import pytest

from fairlead.model.pool import PoolSelection
from support.build import pool, svc
from support.story import Step, failed, got, in_use, not_in_config, play

P = pool("p", "10.0.0.1-10.0.0.4")
FULL = pool("full", "10.0.8.8/32", auto_assign=False)
BUGGY = pool("buggy", "10.0.3.0/30", avoid_buggy_ips=True, auto_assign=False)
OTHERS = pool("others", "10.0.4.0/30", select=PoolSelection(namespaces=("other",)))
DUAL = pool("dual", "10.0.2.1-10.0.2.2", "fd00:2::1-fd00:2::2", auto_assign=False)
HOLDER = svc("full", holds="10.0.8.8", note="full", share="k")
POOLS = [P, FULL, BUGGY, OTHERS, DUAL]
BOTH = {"ips": "10.96.0.1 fd00:96::1"}
PREFER, REQUIRE = {**BOTH, "policy": "PreferDualStack"}, {**BOTH, "policy": "RequireDualStack"}


def family(*addresses: str) -> str:
    listed = " ".join(f'"{address}"' for address in addresses)
    return f"requested loadBalancer IP(s) [{listed}] does not match the ipFamily of the service"


# What is asked for, why it is refused, and whether it can't even be understood.
ROWS = {
    "annotation is no IP": (
        {"want": "10.0.0.300"},
        'invalid metallb.io/loadBalancerIPs: "10.0.0.300"',
        True,
    ),
    "annotation: one of two is no IP": (
        {"want": "10.0.0.1,x"},
        'invalid metallb.io/loadBalancerIPs: "10.0.0.1,x"',
        True,
    ),
    "annotation ends with a comma": (
        {"want": "10.0.0.1,"},
        'invalid metallb.io/loadBalancerIPs: "10.0.0.1,"',
        True,
    ),
    "spec.loadBalancerIP is no IP": (
        {"load_balancer_ip": "t"},
        'invalid spec.loadBalancerIP "t"',
        True,
    ),
    "both ways at once": (
        {"want": "10.0.0.1", "load_balancer_ip": "10.0.0.1"},
        "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
        True,
    ),
    "three IPs": (
        {"want": "10.0.0.1,10.0.0.2,fd00:2::1"},
        'IPFamilyForAddresses: invalid ips length 3 ["10.0.0.1" "10.0.0.2" "fd00:2::1"]',
        True,
    ),
    "two of the same family": (
        {"want": "10.0.0.1,10.0.0.2"},
        'IPFamilyForAddresses: same address family ["10.0.0.1" "10.0.0.2"]',
        True,
    ),
    "family differs from ClusterIPs": ({"want": "fd00:2::1"}, family("fd00:2::1"), False),
    "two IPs for a single stack": (
        {"want": "10.0.2.1,fd00:2::1"},
        family("10.0.2.1", "fd00:2::1"),
        False,
    ),
    "IP and pool disagree": (
        {"want": "10.0.0.2", "want_pool": "dual"},
        (
            'requested loadBalancer IP(s) ["10.0.0.2"] is not compatible with requested '
            "address pool dual"
        ),
        False,
    ),
    "unknown pool": ({"want_pool": "x"}, 'unknown pool "x"', False),
    "pool's selectors exclude this Service": (
        {"want_pool": "others"},
        "pool others not compatible for ip assignment",
        False,
    ),
    "IP of a pool whose selectors exclude this Service": (
        {"want": "10.0.4.1"},
        "pool others not compatible for ip assignment",
        False,
    ),
    "pool exhausted": ({"want_pool": "full"}, "no available IPs in pool full", False),
    "explicit IP in no pool": ({"want": "192.0.2.77"}, not_in_config("192.0.2.77"), False),
    "buggy IP in an avoidBuggyIPs pool": ({"want": "10.0.3.0"}, not_in_config("10.0.3.0"), False),
    "IP held by someone who shares differently": ({"want": "10.0.8.8"}, in_use("x", "full"), False),
    "same port on a shared IP": (
        {"want": "10.0.8.8", "share": "k"},
        'port TCP/80 is already in use on "10.0.8.8"',
        False,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_refused_while_nothing_is_held(row: str) -> None:
    asks, why, _ = ROWS[row]
    play((Step([*POOLS, HOLDER]), Step([svc("x", **asks)], x=("", failed("x", why)))))


@pytest.mark.parametrize("row", ROWS)
def test_asked_for_while_an_address_is_held_keeps_it(row: str) -> None:
    asks, why, unreadable = ROWS[row]
    says = f"LoadBalancerFailed: invalid requested loadbalancer IPs: {why}"
    play(
        (
            Step([*POOLS, HOLDER]),
            Step([svc("x")], x=("10.0.0.1 p", got("10.0.0.1"))),
            Step([svc("x", **asks)], x=("10.0.0.1 p", says if unreadable else failed("x", why))),
            Step([svc("x")]),
        )
    )


ALONE = {
    "one IP for a dual stack": (svc("x", want="10.0.2.1", **REQUIRE), [DUAL], family("10.0.2.1")),
    "one IP for a preferred dual stack": (
        svc("x", want="10.0.2.1", **PREFER),
        [DUAL],
        family("10.0.2.1"),
    ),
    "pair from two pools": (
        svc("x", want="10.0.0.1,fd00:2::1", **REQUIRE),
        [P, DUAL],
        not_in_config("10.0.0.1", "fd00:2::1"),
    ),
    "pool lacks the requested family": (
        svc("x", want_pool="p", ips="fd00:96::1"),
        [P, DUAL],
        "no available IPs in pool p",
    ),
    "pool lacks one of two families": (
        svc("x", want_pool="p", **REQUIRE),
        [P, DUAL],
        "no available IPs in pool p for dual IPFamily",
    ),
    "nothing fits anywhere": (svc("x"), [DUAL, OTHERS], "no available IPs"),
    "no pool has the family": (svc("x", ips="fd00:96::1"), [P], "no available IPs"),
    "text with a line break stays one line": (
        svc("x", want='a"\nb'),
        [P],
        'invalid metallb.io/loadBalancerIPs: "a\\"\\nb"',
    ),
    "all holders are named, sorted": (svc("x", want="10.0.8.8"), [FULL], in_use("x", "b/c", "a")),
}


@pytest.mark.parametrize("row", ALONE)
def test_refused(row: str) -> None:
    service, pools, why = ALONE[row]
    first = [
        svc("b/c", holds="10.0.8.8", note="full", share="k", ports="1"),
        svc("a", holds="10.0.8.8", note="full", share="k", ports="2"),
    ]
    step = [Step([FULL, *first])] if pools == [FULL] else []
    play((*step, Step([*pools, service], x=("", failed("x", why)))))
