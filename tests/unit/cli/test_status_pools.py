# SPDX-License-Identifier: Apache-2.0
"""How `fairlead status` tells of pools: how full they are, and which can't be used."""

from dataclasses import replace

import msgspec

from fairlead.agent.status_writer import status_document
from fairlead.cli.status import agent_problems
from fairlead.cli.status_text import pool_lines
from fairlead.edge.status_file import StatusDocument
from fairlead.model.plan import ObjectError
from fairlead.planner.usage import UNBOUNDED, PoolUsage
from unit.agent.test_loop import Edge


def document(*pools: PoolUsage, **fields) -> StatusDocument:
    edge = Edge()
    edge.list_all()
    made = status_document(replace(edge.view, usage=pools, **fields), 0.0, edge.view.published)
    return msgspec.json.decode(msgspec.json.encode(made), type=StatusDocument)


def test_how_full_pools_are() -> None:
    shown = pool_lines(
        document(
            PoolUsage("both", 4, UNBOUNDED, 1, 2),
            PoolUsage("four", 2, 0, 2, 0),
            PoolUsage("gone", 1, 0, 1, 0),
            PoolUsage("none"),
            PoolUsage("six", 0, 16),
        )
    )
    assert shown == [
        "pool both: IPv4 1 of 4 in use; IPv6 2 in use",
        "pool four: IPv4 2 of 2 in use, none left",
        "pool gone: IPv4 1 of 1 in use, none left",
        "pool none: no addresses",
        "pool six: IPv6 0 of 16 in use",
    ]
    assert pool_lines(None) == []


def test_unusable_pools_are_problems_with_field_and_reason() -> None:
    bad = ObjectError(
        kind="IPAddressPool",
        namespace="metallb-system",
        name="p",
        field="spec.addresses[0]",
        message="'x' is not a CIDR",
    )
    problems = agent_problems(document(errors=(bad,)))
    assert problems == ["IPAddressPool metallb-system/p: spec.addresses[0]: 'x' is not a CIDR"]
