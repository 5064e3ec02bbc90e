# SPDX-License-Identifier: Apache-2.0
"""IPAddressPool: where Services get addresses from."""

from fairlead.crds.addresses import address_ranges
from fairlead.crds.definition import Column, Definition, Version
from fairlead.crds.schema import Schema, array, checked, distinct_texts, flag, number, struct, text
from fairlead.crds.selectors import selectors

_LARGEST = 2**63 - 1


def pool() -> Definition:
    """The definition of IPAddressPool."""
    columns = (
        Column("Auto Assign", "boolean", ".spec.autoAssign"),
        Column("Avoid Buggy IPs", "boolean", ".spec.avoidBuggyIPs"),
        Column("Addresses", "string", ".spec.addresses"),
    )
    about = "Addresses that Services of type LoadBalancer may get."
    spec = struct(
        "Which addresses, and for whom.",
        ("addresses",),
        addresses=address_ranges("CIDRs and ranges, IPv4 and IPv6; given in this order."),
        autoAssign=flag("Whether Services get addresses that they did not ask for.", default=True),
        avoidBuggyIPs=flag("Leave out IPv4 addresses that end in .0 or .255.", default=False),
        serviceAllocation=_allocation(),
    )
    return Definition(
        kind="IPAddressPool",
        plural="ipaddresspools",
        versions=(Version("v1beta1", about, spec, _status(), columns, needs_spec=True),),
    )


def _allocation() -> Schema:
    namespace = text("Name of a namespace.", longest=63, minLength=1)
    return struct(
        "Which Services may have addresses of this pool; all of them where this is missing.",
        priority=number("The lowest goes first; 0 goes last.", 0, 2**31 - 1, size="int64"),
        namespaces=checked(
            array("Namespaces of the Services.", namespace, 128), distinct_texts("a namespace")
        ),
        namespaceSelectors=selectors("Further namespaces, by label.", "a namespace"),
        serviceSelectors=selectors("Services, by label; all of them without any.", "a Service"),
    )


def _status() -> Schema:
    counters = {
        f"{state}{family}": number(f"{family} addresses that are {state}.", 0, _LARGEST,
                                   size="int64")
        for state in ("assigned", "available")
        for family in ("IPv4", "IPv6")
    }  # fmt: skip
    return struct("How full the pool is.", tuple(counters), **counters)
