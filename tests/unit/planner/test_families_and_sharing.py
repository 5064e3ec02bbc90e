# SPDX-License-Identifier: Apache-2.0
"""Address families and shared addresses (sections 1.2, 1.4, 2.3, 2.4, 9)."""

import pytest

from fairlead.model.names import Family
from fairlead.model.pool import PoolSelection
from support.build import decide, fresh, pool, svc, texts

DUAL, DUAL6 = "10.96.0.1 fd00:96::1", "fd00:96::1 10.96.0.1"
P4, P6 = pool("four", "10.0.0.1-10.0.0.2"), pool("six", "fd00::1-fd00::2")
BOTH = pool("both", "10.0.1.1-10.0.1.2", "fd00:1::1-fd00:1::2")
PREFER, REQUIRE = "PreferDualStack", "RequireDualStack"
SIX_FIRST = (Family.IPV6, Family.IPV4)

FAMILIES = {
    "single-4": (svc("x"), [BOTH], "10.0.1.1"),
    "single-6": (svc("x", ips="fd00:96::1"), [BOTH], "fd00:1::1"),
    "single-skips-pools-without-it": (svc("x", ips="fd00:96::1"), [P4, P6], "fd00::1"),
    "require-takes-both-from-one-pool": (
        svc("x", ips=DUAL, policy=REQUIRE),
        [P4, P6, BOTH],
        "10.0.1.1 fd00:1::1",
    ),
    "require-order-of-a-choice-is-4-then-6": (
        svc("x", ips=DUAL6, policy=REQUIRE),
        [BOTH],
        "10.0.1.1 fd00:1::1",
    ),
    "require-refused-over-two-pools": (svc("x", ips=DUAL, policy=REQUIRE), [P4, P6], ""),
    "prefer-takes-a-later-pool-with-both": (
        svc("x", ips=DUAL, policy=PREFER),
        [pool("a", "10.0.0.1/32"), BOTH],
        "10.0.1.1 fd00:1::1",
    ),
    "prefer-falls-back-to-4": (svc("x", ips=DUAL, policy=PREFER), [P4, P6], "10.0.0.1"),
    "prefer-falls-back-to-6-if-preferred": (
        svc("x", ips=DUAL6, policy=PREFER, ip_families=SIX_FIRST),
        [P4, P6],
        "fd00::1",
    ),
    "prefer-falls-back-to-the-other": (svc("x", ips=DUAL, policy=PREFER), [P6], "fd00::1"),
    "prefer-on-a-single-stack-cluster": (svc("x", policy=PREFER), [BOTH], "10.0.1.1"),
    "prefer-pinned-single-before-open-dual": (
        svc("x", ips=DUAL, policy=PREFER),
        [BOTH, pool("pinned", "10.0.9.1/32", select=PoolSelection())],
        "10.0.9.1",
    ),
    "held-pair-keeps-its-order": (
        svc("x", ips=DUAL, policy=REQUIRE, holds="fd00:1::2 10.0.1.2"),
        [BOTH],
        "fd00:1::2 10.0.1.2",
    ),
    "single-becomes-pair": (
        svc("x", ips=DUAL, policy=PREFER, holds="10.0.1.2"),
        [BOTH],
        "10.0.1.2 fd00:1::1",
    ),
    "single-becomes-pair-under-require": (
        svc("x", ips=DUAL, policy=REQUIRE, holds="10.0.1.2"),
        [BOTH],
        "10.0.1.1 fd00:1::1",
    ),
    "pair-becomes-single": (svc("x", holds="10.0.1.2 fd00:1::2"), [BOTH], "10.0.1.1"),
    "pool-shrunk-to-one-family": (
        svc("x", ips=DUAL, policy=PREFER, holds="10.0.0.2 fd00:9::1"),
        [P4],
        "10.0.0.1",
    ),
    "pair-over-two-pools-is-not-allowed": (
        svc("x", ips=DUAL, policy=PREFER, holds="10.0.0.2 fd00::2"),
        [P4, P6],
        "10.0.0.1",
    ),
    "fresh-dual": (fresh(svc("x", policy=REQUIRE)), [BOTH], "10.0.1.1 fd00:1::1"),
    "fresh-by-ip-families": (fresh(svc("x", ip_families=(Family.IPV6,))), [BOTH], "fd00:1::1"),
    "fresh-by-request": (fresh(svc("x", want="fd00:1::2")), [BOTH], "fd00:1::2"),
    "fresh-by-pool": (fresh(svc("x", want_pool="six")), [P4, P6], "fd00::1"),
    "fresh-where-all-pools-are-6": (fresh(svc("x")), [P6], "fd00::1"),
}


@pytest.mark.parametrize("row", FAMILIES)
def test_families(row: str) -> None:
    service, pools, expected = FAMILIES[row]
    assert " ".join(map(str, decide([service], pools)["x"].addresses)) == expected


def test_additional_address_is_told() -> None:
    service = svc("x", ips=DUAL, policy=PREFER, holds="10.0.1.2", note="both")
    assert texts(decide([service], [BOTH])["x"]) == [
        'IPAllocated: Assigned additional IP "fd00:1::1"'
    ]


def test_additional_address_of_a_single_family_pool_fails_and_keeps_the_first() -> None:
    plan = decide([svc("x", ips=DUAL, policy=PREFER, holds="10.0.0.2", note="four")], [P4])["x"]
    assert [str(a) for a in plan.addresses] == ["10.0.0.2"]
    assert texts(plan) == [
        (
            "AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: "
            '["10.0.0.2" "<nil>"] is not allowed in config'
        )
    ]
    assert not plan.changed


P = pool("p", "10.0.0.1-10.0.0.3")
ONE = {"app": "one"}
SHARING = {
    # (older holder on 10.0.0.1, younger that asks for 10.0.0.1, reason of the refusal or "")
    "same-key-other-port": ({"share": "k", "ports": "80"}, {"share": "k", "ports": "443"}, ""),
    "same-number-other-protocol": (
        {"share": "k", "ports": "53"},
        {"share": "k", "ports": "53/UDP"},
        "",
    ),
    "same-port": ({"share": "k"}, {"share": "k"}, 'port TCP/80 is already in use on "10.0.0.1"'),
    "other-key": ({"share": "k"}, {"share": "l", "ports": "443"}, "key"),
    "holder-without-key": ({}, {"share": "k", "ports": "443"}, "key"),
    "asker-without-key": ({"share": "k"}, {"ports": "443"}, "key"),
    "cluster-with-other-selectors": (
        {"share": "k", "selector": ONE},
        {"share": "k", "ports": "443", "selector": {"app": "two"}},
        "",
    ),
    "local-with-the-same-selector": (
        {"share": "k", "local": True, "selector": ONE},
        {"share": "k", "local": True, "selector": ONE, "ports": "443"},
        "",
    ),
    "local-with-another-selector": (
        {"share": "k", "local": True, "selector": ONE},
        {"share": "k", "local": True, "selector": {"app": "two"}, "ports": "443"},
        "key",
    ),
    "local-with-cluster": (
        {"share": "k", "local": True, "selector": ONE},
        {"share": "k", "ports": "443", "selector": ONE},
        "key",
    ),
    "local-without-selector-with-cluster": (
        {"share": "k", "local": True},
        {"share": "k", "ports": "443"},
        "",
    ),
}


@pytest.mark.parametrize("row", SHARING)
@pytest.mark.parametrize("namespace", ["", "other/"])
def test_sharing(row: str, namespace: str) -> None:
    first, second, why = SHARING[row]
    younger = svc(f"{namespace}young", want="10.0.0.1", **second)
    plans = decide([svc("old", holds="10.0.0.1", age=5, **first), younger], [P])
    plan = plans[f"{namespace}young"]
    assert [str(a) for a in plans["old"].addresses] == ["10.0.0.1"]
    if why == "key":
        why = f'can\'t change sharing key for "{younger.key}", address also in use by default/old'
    if why:
        assert texts(plan) == [
            f'AllocationFailed: Failed to allocate IP for "{younger.key}": {why}'
        ]
    else:
        assert [str(a) for a in plan.addresses] == ["10.0.0.1"]


def test_refusal_names_all_holders() -> None:
    services = [
        svc("a", holds="10.0.0.1", share="k", ports="80"),
        svc("b", holds="10.0.0.1", share="k", ports="81"),
        svc("c", want="10.0.0.1"),
    ]
    assert "address also in use by default/a,default/b" in texts(decide(services, [P])["c"])[0]


SOLE = {
    "key-changed": {"share": "other"},
    "key-removed": {},
    "ports-changed": {"share": "k", "ports": "8080"},
    "policy-changed": {"share": "k", "local": True},
}


@pytest.mark.parametrize("row", SOLE)
def test_a_sole_holder_may_change_in_place(row: str) -> None:
    plan = decide([svc("x", holds="10.0.0.2", **SOLE[row])], [P])["x"]
    assert ([str(a) for a in plan.addresses], plan.events) == (["10.0.0.2"], ())


LEAVERS = {
    "key-changed": {"share": "other", "ports": "443"},
    "key-removed": {"ports": "443"},
    "policy-changed": {"share": "k", "ports": "443", "local": True, "selector": ONE},
    "port-collides": {"share": "k", "ports": "80"},
}


@pytest.mark.parametrize("row", LEAVERS)
def test_a_younger_sharer_that_stops_fitting_moves(row: str) -> None:
    services = [
        svc("old", holds="10.0.0.1", share="k", age=5),
        svc("young", holds="10.0.0.1", **LEAVERS[row]),
    ]
    plans = decide(services, [P])
    assert [str(a) for a in plans["old"].addresses] == ["10.0.0.1"]
    assert [str(a) for a in plans["young"].addresses] == ["10.0.0.2"]
    assert [event.reason for event in plans["young"].events] == ["ClearAssignment", "IPAllocated"]
    assert plans["old"].events == ()


def test_a_younger_sharer_may_change_its_ports_if_they_fit() -> None:
    services = [
        svc("old", holds="10.0.0.1", share="k", age=5),
        svc("young", holds="10.0.0.1", share="k", ports="8443 53/UDP"),
    ]
    assert [str(a) for a in decide(services, [P])["young"].addresses] == ["10.0.0.1"]


AUTOMATIC = {
    "co-locates-if-that-comes-first": ({"share": "k"}, {"share": "k", "ports": "443"}, "10.0.0.1"),
    "next-address-if-ports-collide": ({"share": "k"}, {"share": "k"}, "10.0.0.2"),
    "next-address-without-key": ({"share": "k"}, {"ports": "443"}, "10.0.0.2"),
}


@pytest.mark.parametrize("row", AUTOMATIC)
def test_automatic_choice_with_a_sharing_key(row: str) -> None:
    first, second, expected = AUTOMATIC[row]
    services = [svc("old", age=5, **first), svc("young", **second)]
    assert str(decide(services, [P])["young"].addresses[0]) == expected


def test_a_free_address_that_comes_before_the_shared_one_is_taken() -> None:
    services = [svc("old", age=5, share="k", holds="10.0.0.2"), svc("young", share="k", ports="1")]
    assert str(decide(services, [P])["young"].addresses[0]) == "10.0.0.1"


def test_sharers_survive_the_last_address_and_others_do_not() -> None:
    one = pool("one", "10.0.0.1/32")
    services = [svc("a", share="k", ports="1"), svc("b", share="k", ports="2"), svc("c", ports="3")]
    plans = decide(services, [one])
    assert [bool(plans[name].addresses) for name in "abc"] == [True, True, False]
