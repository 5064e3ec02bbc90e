# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 2.4, row by row: who may share an address."""

import pytest

from fairlead.planner.pools import PoolIndex
from fairlead.planner.usage import PoolUsage, UsageTable
from support.build import INVENTORY, pool, svc
from support.story import Gone, Step, cleared, failed, got, in_use, play

P = pool("p", "10.0.0.1-10.0.0.3")
ONE, TWO = {"app": "one"}, {"app": "two"}
AT = "10.0.0.1"
TAKEN = f'port TCP/80 is already in use on "{AT}"'
USED = in_use("y", "x")

# Holder, Service that asks for the same address, why it is refused ("" if it is not).
MAY = {
    "equal keys, other port": ({"share": "k"}, {"share": "k", "ports": "443"}, ""),
    "equal keys, same number of another protocol": (
        {"share": "k"},
        {"share": "k", "ports": "80/UDP"},
        "",
    ),
    "equal keys, one port in common": ({"share": "k"}, {"share": "k", "ports": "443 80"}, TAKEN),
    "other key": ({"share": "k"}, {"share": "l", "ports": "443"}, USED),
    "holder without key": ({}, {"share": "k", "ports": "443"}, USED),
    "newcomer without key": ({"share": "k"}, {"ports": "443"}, USED),
    "both without key": ({}, {"ports": "443"}, USED),
    "Cluster and Cluster, any selectors": (
        {"share": "k", "selector": ONE},
        {"share": "k", "ports": "443", "selector": TWO},
        "",
    ),
    "Local and Local, identical selectors": (
        {"share": "k", "local": True, "selector": ONE},
        {"share": "k", "local": True, "selector": ONE, "ports": "443"},
        "",
    ),
    "Local and Local, selectors in another order": (
        {"share": "k", "local": True, "selector": {"a": "1", "b": "2"}},
        {"share": "k", "local": True, "selector": {"b": "2", "a": "1"}, "ports": "443"},
        "",
    ),
    "Local and Local, other selectors": (
        {"share": "k", "local": True, "selector": ONE},
        {"share": "k", "local": True, "selector": TWO, "ports": "443"},
        USED,
    ),
    "Local and Cluster": (
        {"share": "k", "local": True, "selector": ONE},
        {"share": "k", "selector": ONE, "ports": "443"},
        USED,
    ),
    "Cluster and Local": (
        {"share": "k", "selector": ONE},
        {"share": "k", "local": True, "selector": ONE, "ports": "443"},
        USED,
    ),
    "Local without selector mixes with Cluster": (
        {"share": "k", "local": True},
        {"share": "k", "ports": "443"},
        "",
    ),
}


@pytest.mark.parametrize("row", MAY)
@pytest.mark.parametrize("namespace", ["", "other/"], ids=["same-namespace", "other-namespace"])
def test_who_may_come(row: str, namespace: str) -> None:
    holder, newcomer, why = MAY[row]
    name = f"{namespace}y"
    outcome = ("", failed(name, why.replace("default/y", f"{namespace or 'default/'}y")))
    play((
        Step([P, svc("x", want=AT, **holder)], x=(f"{AT} p", got(AT))),
        Step([svc(name, want=AT, **newcomer)],
             **{name: outcome if why else (f"{AT} p", got(AT))}),
    ))  # fmt: skip


X, Y = svc("x", share="k", ports="80", age=1), svc("y", share="k", ports="443")
TOGETHER = Step([P, X, Y], x=(f"{AT} p", got(AT)), y=(f"{AT} p", got(AT)))
MOVED = ("10.0.0.2 p", cleared("y", USED), got("10.0.0.2"))
FULL = pool("p", f"{AT}/32")
ALONE = Step([FULL, X, Y], x=(f"{AT} p", got(AT)), y=(f"{AT} p", got(AT)))

CASES = {
    # a sole holder
    "sole holder: key changed in place": (
        Step([P, X], x=(f"{AT} p", got(AT))), Step([svc("x", share="l")]),
    ),
    "sole holder: key removed in place": (Step([P, X], x=(f"{AT} p", got(AT))), Step([svc("x")])),
    "sole holder: ports changed in place": (
        Step([P, X], x=(f"{AT} p", got(AT))), Step([svc("x", share="k", ports="1 2/UDP")]),
    ),
    "sole holder: policy and selector changed in place": (
        Step([P, X], x=(f"{AT} p", got(AT))),
        Step([svc("x", share="k", local=True, selector=ONE)]),
        Step([svc("x", share="k", local=True, selector=TWO)]),
    ),
    # with other holders
    "shared: key changed, moves": (TOGETHER, Step([svc("y", share="l", ports="443")], y=MOVED)),
    "shared: key removed, moves": (TOGETHER, Step([svc("y", ports="443")], y=MOVED)),
    "shared: policy changed, moves": (
        TOGETHER, Step([svc("y", share="k", ports="443", local=True, selector=ONE)], y=MOVED),
    ),
    "shared: selector changed under Local, moves": (
        Step([P, svc("x", share="k", local=True, selector=ONE, age=1),
              svc("y", share="k", ports="443", local=True, selector=ONE)],
             x=(f"{AT} p", got(AT)), y=(f"{AT} p", got(AT))),
        Step([svc("y", share="k", ports="443", local=True, selector=TWO)], y=MOVED),
    ),
    "shared: key changed where nothing else is free, refused": (
        ALONE,
        Step([svc("y", share="l", ports="443")],
             y=("", cleared("y", USED), failed("y", "no available IPs"))),
    ),
    "shared: key changed back, returns": (
        ALONE,
        Step([svc("y", ports="443")], y=("", cleared("y", USED), failed("y", "no available IPs"))),
        Step([Y], y=(f"{AT} p", got(AT))),
    ),
    "shared: ports changed without collision, stays": (
        TOGETHER, Step([svc("y", share="k", ports="8443 443/UDP")]),
    ),
    "shared: ports changed into a collision, moves": (
        TOGETHER,
        Step([svc("y", share="k", ports="80")],
             y=("10.0.0.2 p", cleared("y", TAKEN), got("10.0.0.2"))),
    ),
    "shared: the older changes its key, it stays and the younger moves (design 9)": (
        TOGETHER, Step([svc("x", share="l", age=1)], y=MOVED),
    ),
    "shared: both change their key together, both stay": (
        TOGETHER,
        Step([svc("x", share="l", ports="80", age=1), svc("y", share="l", ports="443")]),
    ),
    "shared: one leaves, the other keeps": (TOGETHER, Step([Gone("x")])),
    "shared: freed only when the last one leaves": (
        ALONE,
        Step([svc("z")], z=("", failed("z", "no available IPs"))),
        Step([Gone("x")]),
        Step([Gone("y")], z=(f"{AT} p", got(AT))),
    ),
    "shared: a port set free is offered to who waits for it": (
        ALONE,
        Step([svc("z", share="k", ports="80")], z=("", failed("z", "no available IPs"))),
        Step([Gone("x")], z=(f"{AT} p", got(AT))),
    ),
    "explicit IP held under a key that does not fit: what one has is kept": (
        Step([P, svc("x", want=AT)], x=(f"{AT} p", got(AT))),
        Step([svc("y")], y=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("y", want=AT)], y=("10.0.0.2 p", failed("y", USED))),
    ),
    "key and explicit IP put two Services on one address": (
        Step([P, svc("x", share="k", want="10.0.0.3"),
              svc("y", share="k", want="10.0.0.3", ports="53/UDP")],
             x=("10.0.0.3 p", got("10.0.0.3")), y=("10.0.0.3 p", got("10.0.0.3"))),
    ),
    "a holder becomes shareable, who asked for its address gets it": (
        Step([P, svc("x", want=AT)], x=(f"{AT} p", got(AT))),
        Step([svc("y", share="k", want=AT, ports="81")], y=("", failed("y", USED))),
        Step([svc("x", share="k", want=AT)], y=(f"{AT} p", got(AT))),
    ),
    "dual stack: both addresses are shared": (
        Step([pool("d", f"{AT}/32", "fd00::1/128"),
              svc("x", share="k", ips="10.96.0.1 fd00::9", policy="RequireDualStack")],
             x=(f"{AT} fd00::1 d", got(AT, "fd00::1"))),
        Step([svc("y", share="k", ports="81", ips="10.96.0.2 fd00::8", policy="RequireDualStack")],
             y=(f"{AT} fd00::1 d", got(AT, "fd00::1"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])


def test_an_address_used_by_n_sharers_counts_once() -> None:
    table = UsageTable(INVENTORY)
    sharers = [svc(name, share="k", holds=AT, ports=str(n)) for n, name in enumerate("abc", 1)]
    table.use(PoolIndex([P]), sharers)
    assert table.usage() == (PoolUsage("p", 3, 0, 1, 0),)
