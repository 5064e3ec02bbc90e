# SPDX-License-Identifier: Apache-2.0
"""MetalLB reference 9, row by row: what running upstream showed, and what design 9 does better.

Texts of Events stand in the tables of the other sections; here is what they leave over.
"""

import msgspec
import pytest

from fairlead.model.pool import LabelSelector, PoolSelection
from support.build import pool, svc
from support.story import Gone, Status, Step, cleared, failed, got, in_use, old_key, play

P = pool("p", "10.0.0.1-10.0.0.3")
X1 = {"x": ("10.0.0.1 p", got("10.0.0.1"))}
DUAL = pool("dual", "10.0.2.1-10.0.2.2", "fd00:2::1-fd00:2::2")
BOTH = "10.96.0.1 fd00:96::1"
NONE = "no available IPs"
OLD = {"metallb.universe.tf/address-pool": "p"}


def anybody(name: str, address: str, priority: int = 0, **fields):
    return pool(name, f"{address}/32", select=PoolSelection(priority, **fields))


WEB = {"service_selectors": (LabelSelector({"tier": "web"}),)}

CASES = {
    "first holder without a key: can't change sharing key": (
        Step([P, svc("x")], **X1),
        Step([svc("y", want="10.0.0.1", share="k")], y=("", failed("y", in_use("y", "x")))),
    ),
    "PreferDualStack on a single-family pool always adds AdditionalAssignFailed": (
        Step([P, svc("x", ips=BOTH, policy="PreferDualStack")],
             x=("10.0.0.1 p", got("10.0.0.1"),
                ("AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: "
                '["10.0.0.1" "<nil>"] is not allowed in config'))),
    ),
    "ipMode VIP that the API server fills in is no change, and repeats no deprecatedAnnotation": (
        Step([P, svc("x", annotations=OLD)],
             x=("10.0.0.1 p", got("10.0.0.1"), old_key("address-pool"))),
        Step([Status("x", "10.0.0.1", mode="VIP")]),
        Step([svc("x", annotations=OLD, ports="81")]),
    ),
    "no ClearAssignment when the requested address changed": (
        Step([P, svc("x")], **X1),
        Step([svc("x", want="10.0.0.2")], x=("10.0.0.2 p", got("10.0.0.2"))),
    ),
    "no ClearAssignment when the requested pool changed": (
        Step([P, pool("q", "10.0.1.1/32"), svc("x")], **X1),
        Step([svc("x", want_pool="q")], x=("10.0.1.1 q", got("10.0.1.1"))),
    ),
    "no ClearAssignment when the family changed": (
        Step([P, pool("six", "fd00::1/128"), svc("x")], **X1),
        Step([svc("x", ips="fd00:96::1")], x=("fd00::1 six", got("fd00::1"))),
    ),
    "no ClearAssignment when all pools went": (
        Step([P, svc("x")], **X1), Step([Gone("pool/p")], x=""),
    ),
    "the note changes silently when a pool is renamed around an address": (
        Step([P, svc("x")], **X1),
        Step([Gone("pool/p"), pool("q", "10.0.0.0/24")], x="10.0.0.1 q"),
    ),
    "a free pool address written into status by hand is adopted": (
        Step([P, svc("x")], **X1),
        Step([Status("x", "10.0.0.3")]),
    ),
    "a pool address of another written into status by hand is not": (
        Step([P, svc("w", age=1), svc("x")], w=("10.0.0.1 p", got("10.0.0.1")),
             x=("10.0.0.2 p", got("10.0.0.2"))),
        Step([Status("x", "10.0.0.1")],
             x=("10.0.0.2 p", cleared("x", in_use("x", "w")), got("10.0.0.2"))),
    ),
    "a foreign address written into status by hand is replaced": (
        Step([P, svc("x")], **X1),
        Step([Status("x", "203.0.113.9")],
             x=("10.0.0.1 p", cleared("x", '["203.0.113.9"] is not allowed in config'),
                got("10.0.0.1"))),
    ),
    "a wiped status gives the lowest free address, not the old one": (
        Step([P, svc("x", want="10.0.0.3")], x=("10.0.0.3 p", got("10.0.0.3"))),
        Step([svc("x")]),
        Step([Status("x", "")], **X1),
    ),
    "a wiped status of who asks by name gives that address again": (
        Step([P, svc("x", want="10.0.0.3")], x=("10.0.0.3 p", got("10.0.0.3"))),
        Step([Status("x", "")], x=("10.0.0.3 p", got("10.0.0.3"))),
    ),
    "the order of a dual-stack pair in status is kept": (
        Step([DUAL, svc("x", ips=BOTH, policy="RequireDualStack")],
             x=("10.0.2.1 fd00:2::1 dual", got("10.0.2.1", "fd00:2::1"))),
        Step([Status("x", "fd00:2::1 10.0.2.1")]),
        Step([svc("x", ips=BOTH, policy="RequireDualStack", ports="81")]),
    ),
    "ipMode Proxy is reset to VIP": (
        Step([P, svc("x")], **X1), Step([Status("x", "10.0.0.1", mode="Proxy")]),
    ),
    "an address in the status of a foreign-class Service is free for others": (
        Step([P, svc("f", holds="10.0.0.1", load_balancer_class="theirs", age=9)]),
        Step([svc("x")], **X1),
    ),
    # ties (ours: priority, then name, always)
    "ties: priority only, by name": (
        Step([anybody("b", "10.0.1.2", 4), anybody("a", "10.0.1.1", 4), svc("x")],
             x=("10.0.1.1 a", got("10.0.1.1"))),
    ),
    "ties: all 0, by name, not reversed": (
        Step([anybody("b", "10.0.1.2"), anybody("a", "10.0.1.1"), anybody("c", "10.0.1.3"),
              svc("x")], x=("10.0.1.1 a", got("10.0.1.1"))),
    ),
    "ties: service selectors, by name": (
        Step([anybody("b", "10.0.1.2", 4, **WEB), anybody("a", "10.0.1.1", 4, **WEB),
              svc("x", labels={"tier": "web"})], x=("10.0.1.1 a", got("10.0.1.1"))),
    ),
    "ties: namespaces, by name, not random": (
        Step([anybody("b", "10.0.1.2", 4, namespaces=("default",)),
              anybody("a", "10.0.1.1", 4, namespaces=("default",)), svc("x")],
             x=("10.0.1.1 a", got("10.0.1.1"))),
    ),
    # design 9
    "requests together: a ring of three": (
        Step([P, svc("x"), svc("y"), svc("z")], **X1, y=("10.0.0.2 p", got("10.0.0.2")),
             z=("10.0.0.3 p", got("10.0.0.3"))),
        Step([svc("x", want="10.0.0.2"), svc("y", want="10.0.0.3"), svc("z", want="10.0.0.1")],
             x=("10.0.0.2 p", got("10.0.0.2")), y=("10.0.0.3 p", got("10.0.0.3")),
             z=("10.0.0.1 p", got("10.0.0.1"))),
    ),
    "requests together: a swap of which one half is impossible moves nobody": (
        Step([P, svc("x"), svc("y")], **X1, y=("10.0.0.2 p", got("10.0.0.2"))),
        Step([svc("x", want="10.0.0.2"), svc("y", want="10.0.0.9")],
             x=("10.0.0.1 p", failed("x", in_use("x", "y"))),
             y=("10.0.0.2 p", failed("y", '["10.0.0.9"] is not allowed in config'))),
    ),
    "an address that its holder left for any reason is offered at once": (
        Step([pool("p", "10.0.0.1/32"), pool("six", "fd00::1/128"), svc("w"), svc("x")],
             w=("10.0.0.1 p", got("10.0.0.1")), x=("", failed("x", NONE))),
        Step([svc("w", ips="fd00:96::1")], w=("fd00::1 six", got("fd00::1")), **X1),
    ),
    "two holders that stop fitting together: the older keeps it": (
        Step([P, svc("x", share="k", age=1), svc("y", share="k", ports="81")], **X1,
             y=("10.0.0.1 p", got("10.0.0.1"))),
        Step([svc("x", share="k", ports="80 81", age=1)],
             y=("10.0.0.2 p", cleared("y", 'port TCP/81 is already in use on "10.0.0.1"'),
                got("10.0.0.2"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CASES)
def test_row(row: str) -> None:
    play(CASES[row])


def test_entries_with_a_hostname_only_are_no_addresses() -> None:
    """The parser leaves them out, so only addresses count; the next write drops them."""
    service = msgspec.structs.replace(svc("x", holds="10.0.0.2"), ingress_errors=("junk",))
    text = 'nolbIPsIPFamily: Failed to retrieve LBIPs IPFamily for ["10.0.0.2" "junk"]: '
    why = 'IPFamilyForAddresses: Invalid address ["10.0.0.2" "junk"]'
    play((Step([P, service], x=("10.0.0.1 p", text + why, got("10.0.0.1"))),))
