# SPDX-License-Identifier: Apache-2.0
"""CEL that tells which of two addresses comes first; the API server's own IP type has no order.

An address becomes three numbers (48, 48 and 32 bits of IPv6; one number and zeros for IPv4), made
of its text, because the API server refuses rules whose cost it can't bound: it knows the length of
a part of a text with a limit, and not that of a text made from an IP value. CEL has no variables;
`[value].map(name, ...)[0]` binds one.
"""


def _digits(group: str) -> str:
    """CEL: a group of hexadecimal digits as number, -1 for an empty one."""
    digits = [f"'0123456789abcdef'.indexOf({group}.charAt({place}))" for place in range(4)]
    value = digits[0]
    values = [value]
    for digit in digits[1:]:
        value = f"({value} * 16 + {digit})"
        values.append(value)
    size = f"{group}.size()"
    return (
        f"{size} == 0 ? -1 : {size} == 1 ? {values[0]} : {size} == 2 ? {values[1]}"
        f" : {size} == 3 ? {values[2]} : {values[3]}"
    )


def _group(number: int) -> str:
    """CEL: group 0..7 of an address.

    `v` are its groups as they are written, -1 where two colons meet; `f` holds where the gap is (-1
    for none), how many empty groups stand before it (1 when the text begins with it) and how many
    groups are written, the gap counted once.
    """
    return (
        f"(f[0] < 0 || {number} < f[0] ? v[{number} + f[1]]"
        f" : {number} >= 9 - f[2] + f[0] ? v[{number} - 8 + f[2] + f[1]] : 0)"
    )


def _six(text: str) -> str:
    groups = f"{text}.lowerAscii().split(':').map(g, {_digits('g')})"
    leading = "(v[0] == -1 ? 1 : 0)"
    written = f"v.size() - {leading} - (v[v.size() - 1] == -1 ? 1 : 0)"
    facts = f"[v.indexOf(-1), {leading}, {written}]"
    e = [_group(number) for number in range(8)]
    parts = (
        f"({e[0]} * 65536 + {e[1]}) * 65536 + {e[2]}",
        f"({e[3]} * 65536 + {e[4]}) * 65536 + {e[5]}",
        f"{e[6]} * 65536 + {e[7]}",
    )
    return f"[{groups}].map(v, [{facts}].map(f, [{', '.join(parts)}])[0])[0]"


def _four(text: str) -> str:
    octets = f"{text}.split('.').map(o, int(o))"
    value = "((q[0] * 256 + q[1]) * 256 + q[2]) * 256 + q[3]"
    return f"[{octets}].map(q, [{value}, 0, 0])[0]"


def key(text: str) -> str:
    """CEL: the text of a valid address as list of three numbers."""
    return f"({text}.contains(':') ? {_six(text)} : {_four(text)})"


def in_order(first: str, last: str) -> str:
    """CEL: of two texts of addresses the first comes not after the last."""
    ends = ([f"k[{number}]" for number in numbers] for numbers in (range(3), range(3, 6)))
    return f"[{range_ends(first, last)}].all(k, {_not_after(*ends)})"


def _not_after(first: list[str], last: list[str]) -> str:
    tail = f"{first[2]} <= {last[2]}"
    for one, other in ((first[1], last[1]), (first[0], last[0])):
        tail = f"({one} < {other} || ({one} == {other} && {tail}))"
    return tail


_POWERS = f"[{', '.join(str(1 << exponent) for exponent in range(49))}]"


def cidr_ends(text: str) -> str:
    """CEL: first and last key of a valid CIDR, as list of six numbers.

    Each of the three parts of an address is rounded down to a multiple of 2^(bits that the prefix
    leaves free), and up to just before the next.
    """
    address = f"{text}.substring(0, {text}.indexOf('/'))"
    six = [
        f"({bits} - (p < {start} ? 0 : p > {start + bits} ? {bits} : p - {start}))"
        for start, bits in ((0, 48), (48, 48), (96, 32))
    ]
    four = ["(32 - p)", "0", "0"]
    v6 = f"{text}.contains(':')"
    steps = [f"{_POWERS}[{v6} ? {one} : {other}]" for one, other in zip(six, four, strict=True)]
    first = [f"k[{part}] - k[{part}] % s[{part}]" for part in range(3)]
    last = [f"{value} + s[{part}] - 1" for part, value in enumerate(first)]
    ends = f"[{', '.join(first + last)}]"
    return (
        f"[{key(address)}].map(k, [cidr({text}).prefixLength()].map(p,"
        f" [[{', '.join(steps)}]].map(s, {ends})[0])[0])[0]"
    )


def range_ends(first: str, last: str) -> str:
    """CEL: first and last key of a valid range, as list of six numbers."""
    return f"({key(first)} + {key(last)})"


def meet(one: str, other: str) -> str:
    """CEL: two lists of ends, of one family, have an address in common."""

    def reaches(first: str, last: str) -> str:
        low = [f"{first}[{part}]" for part in range(3)]
        high = [f"{last}[{part + 3}]" for part in range(3)]
        return _not_after(low, high)

    return f"({reaches(one, other)} && {reaches(other, one)})"
