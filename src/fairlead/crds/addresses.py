# SPDX-License-Identifier: Apache-2.0
"""Addresses and ranges, checked with the API server's own IP and CIDR functions (1.31)."""

from fairlead.crds.ordering import cidr_ends, in_order, meet, range_ends
from fairlead.crds.schema import Schema, array, checked, rule, text

MOST_RANGES = 128
_RANGE_LENGTH = 84  # two IPv6 addresses of 39 characters, a dash and some blanks


def _first(entry: str) -> str:
    return f"{entry}.substring(0, {entry}.indexOf('-')).trim()"


def _last(entry: str) -> str:
    return f"{entry}.substring({entry}.indexOf('-') + 1).trim()"


def _usable(entry: str) -> str:
    return (
        f"({entry}.contains('-') ? isIP({_first(entry)}) && isIP({_last(entry)}) : isCIDR({entry}))"
    )


# IPv6 that ends in the form of IPv4: valid, and left to the agent.
_MIXED = "(self.contains(':') && self.contains('.'))"
_QUOTED = "'\"' + self + '\"'"


def address_range() -> Schema:
    """An entry of a pool: CIDR or `first-last`. A later rule holds where an earlier one failed."""
    skip = f"!self.contains('-') || !{_usable('self')}"
    first, last = _first("self"), _last("self")
    same = f"ip({first}).family() == ip({last}).family()"
    return checked(
        text("A CIDR, or the first and the last address as first-last.",
             longest=_RANGE_LENGTH, minLength=1),
        rule(_usable("self"), "is neither a CIDR nor a range first-last",
             says=f"{_QUOTED} + (isIP(self) ? ' is a single address: write ' + self"
             " + (ip(self).family() == 4 ? '/32' : '/128')"
             " : ' is neither a CIDR nor a range first-last')"),
        rule(f"{skip} || {same}", "the range goes from one address family to the other",
             says=f"'range ' + {_QUOTED} + ' goes from one address family to the other'"),
        rule(f"{skip} || !({same}) || {_MIXED} || {in_order(first, last)}",
             "the range is reversed",
             says=f"'range ' + {_QUOTED} + ' is reversed: its first address comes after its last'"),
    )  # fmt: skip


def address_ranges(about: str) -> Schema:
    """The entries of a pool; no two of them may share an address."""
    skip = f"!self.all(t, {_usable('t')} && !{_MIXED.replace('self', 't')})"
    alone = f"rows.exists_one(other, {_meet('one', 'other')})"
    return checked(
        array(about, address_range(), MOST_RANGES, minItems=1),
        rule(
            f"{skip} || [{_rows()}].all(rows, rows.all(one, {alone}))",
            "two entries share addresses",
            says=f"[{_rows()}].map(rows, self.filter(t, [{_row('t')}].exists(one, !{alone}))[0])[0]"
            " + ' shares addresses with another entry of this pool'",
        ),
    )


def _rows() -> str:
    return f"self.map(t, {_row('t')})"


def _row(entry: str) -> str:
    """CEL: the ends of an entry as six numbers, and its family."""
    ends = range_ends(_first(entry), _last(entry))
    family = f"[{entry}.contains(':') ? 6 : 4]"
    return f"(({entry}.contains('-') ? {ends} : {cidr_ends(entry)}) + {family})"


def _meet(one: str, other: str) -> str:
    return f"{one}[6] == {other}[6] && {meet(one, other)}"


def address(about: str, *, v4: bool = False) -> Schema:
    """One address."""
    family = " && ip(self).family() == 4" if v4 else ""
    what = "an IPv4 address" if v4 else "an IP address"
    return checked(
        text(about, longest=64),
        rule(f"self == '' || (isIP(self){family})", f"is not {what}",
             says=f"{_QUOTED} + ' is not {what}'"),
    )  # fmt: skip
