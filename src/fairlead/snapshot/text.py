# SPDX-License-Identifier: Apache-2.0
"""Untrusted text to typed values: addresses, names, ranges. Each error names its field.

Names follow Kubernetes' own rules (RFC 1123 labels and subdomains), so that whatever passes here
can't carry a blank, a quote or a line break into a file that a daemon reads.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network

from fairlead.model.addresses import parse_address
from fairlead.model.errors import ObjectFieldError
from fairlead.model.names import IPAddress, IPNetwork
from fairlead.model.pool import AddressRange
from fairlead.model.words import INTERFACE_NAME, is_interface_name

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{0,9})?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PORT_NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")


def address_field(text: str, field: str) -> IPAddress:
    """Return an address or say which field holds none."""
    try:
        return parse_address(text)
    except ValueError:
        raise ObjectFieldError(field, f"{text!r} is not an IP address") from None


@lru_cache(maxsize=65_536)  # the same names come with every event
def label_name(text: str, field: str) -> str:
    """Check an RFC 1123 label (names of Services and Namespaces): at most 63 characters."""
    if not _LABEL.fullmatch(text):
        raise ObjectFieldError(
            field,
            f"{text!r} is not a DNS label (lower-case letters, digits and '-', at most 63)",
        )
    return text


@lru_cache(maxsize=65_536)
def subdomain_name(text: str, field: str) -> str:
    """Check an RFC 1123 subdomain (names of Nodes, slices, pools): at most 253 characters."""
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):
        raise ObjectFieldError(
            field,
            f"{text!r} is not a DNS subdomain (lower-case letters, digits, '-' and '.')",
        )
    return text


def label_key(text: str, field: str) -> str:
    """Check the key of a label: a name of at most 63 characters after an optional `domain/`."""
    domain, slash, name = text.rpartition("/")
    if (slash and not _SUBDOMAIN.fullmatch(domain)) or not _LABEL_PART.fullmatch(name):
        raise ObjectFieldError(field, f"{text!r} is not the key of a label")
    return text


def label_value(text: str, field: str) -> str:
    """Check the value of a label: empty, or at most 63 letters, digits, '-', '_' and '.'."""
    if text and not _LABEL_PART.fullmatch(text):
        raise ObjectFieldError(field, f"{text!r} is not the value of a label")
    return text


def port_name(text: str, field: str) -> str:
    """Check the name of a port; "" is a single port without one."""
    if text and not _PORT_NAME.fullmatch(text):
        raise ObjectFieldError(field, f"{text!r} is not a port name (letters, digits and '-')")
    return text


def router_id_field(text: str, field: str) -> IPAddress:
    """Return a router id: written as an IPv4 address, and not zero (RFC 6286)."""
    address = address_field(text, field)
    if address.version != 4 or address.is_unspecified:
        raise ObjectFieldError(field, f"{text!r} is not an IPv4 address other than 0.0.0.0")
    return address


def interface_name(name: str, field: str) -> str:
    """Check a Linux interface name that every daemon's file can hold."""
    if not is_interface_name(name):
        raise ObjectFieldError(
            field,
            f"{name!r} is not an interface name (1 to {INTERFACE_NAME} letters, digits or any of "
            "_ . -)",
        )
    return name


def duration_field(value: str | int | None, field: str) -> float | None:
    """Return seconds of a duration as Kubernetes writes it (`90s`, `1m30s`); None for none.

    A bare number is seconds. Rounded to the microsecond, so that `0.1s` times ten is a second.
    """
    if value is None or value == "":
        return None
    if isinstance(value, int):
        if value < 0:
            raise ObjectFieldError(field, f"{value} is negative")
        return float(value)
    if value == "0":
        return 0.0
    if not _DURATION.fullmatch(value):
        raise ObjectFieldError(field, f"{value!r} is no duration such as 90s or 1m30s")
    parts = _DURATION_PART.findall(value)
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts), 6)


def parse_range(text: str, field: str) -> AddressRange:
    """Return a pool's entry: a CIDR (host bits are masked off) or `first-last`.

    As upstream (metallb reference 2.1, 9): a bare address is refused, blanks around the dash are
    fine, blanks around a CIDR are not.

    Raises:
        ObjectFieldError: Malformed, reversed, or from one family to the other.
    """
    if "-" not in text:
        return _cidr(text, field)
    first_text, _, last_text = text.partition("-")
    first = address_field(first_text.strip(), field)
    last = address_field(last_text.strip(), field)
    if first.version != last.version:
        raise ObjectFieldError(field, f"range {text!r} goes from one address family to the other")
    if int(first) > int(last):
        raise ObjectFieldError(field, f"range {text!r} is reversed: {first} comes after {last}")
    return AddressRange(first, last, text)


def networks_of(texts: Iterable[str]) -> tuple[tuple[IPNetwork, ...], tuple[str, ...]]:
    """Networks among these CIDRs, and the texts that are none.

    Blanks around a CIDR are fine, and host bits are masked off: the API server lets both pass
    (`loadBalancerSourceRanges`).
    """
    networks: list[IPNetwork] = []
    wrong: list[str] = []
    for text in texts:
        try:
            networks.append(_network(text.strip(), ""))
        except ObjectFieldError:
            wrong.append(text)
    return tuple(networks), tuple(wrong)


def _cidr(text: str, field: str) -> AddressRange:
    network = _network(text, field)
    return AddressRange(network[0], network[-1], text)


def _network(text: str, field: str) -> IPNetwork:
    address, slash, length = text.partition("/")
    if not slash:
        raise ObjectFieldError(
            field, f"{text!r} is neither a CIDR nor a range; write {text}/32 for one IPv4 address"
        )
    if not (length.isascii() and length.isdigit()):  # no netmask, no sign, no blank
        raise ObjectFieldError(field, f"{text!r} is not a CIDR")
    try:
        parse_address(address)
        return ip_network(text, strict=False)
    except ValueError:
        raise ObjectFieldError(field, f"{text!r} is not a CIDR") from None
