# SPDX-License-Identifier: Apache-2.0
"""IPVS schedulers of Linux (net/netfilter/ipvs/Kconfig)."""

SCHEDULERS = (
    "mh", "rr", "wrr", "lc", "wlc", "sh", "dh", "lblc", "lblcr", "sed", "nq", "fo", "ovf", "twos",
)  # fmt: skip
"""Names that a plan may carry; all edges must have the kernel module."""

HASHING = frozenset({"mh", "sh"})
"""Schedulers that fill a table in order of insertion and know the flags `fallback` and `port`."""
