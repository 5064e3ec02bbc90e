# SPDX-License-Identifier: Apache-2.0
"""Source NAT of masqueraded flows on this edge, by nftables or, on old kernels, by iptables.

The choice is the kernel's: where nf_tables has the `inet` family it is used, else legacy iptables
writes the same rule into a chain of our own. Actual state is read from the kernel.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from fairlead.edge.filter_tools import IPTABLES, Chain
from fairlead.edge.nft_table import NftTable
from fairlead.edge.packet_filter import RuleChange, RuleKind, read_rules, reconcile
from fairlead.model.errors import ApplyError
from fairlead.model.names import Protocol
from fairlead.render import MasqueradeTarget, masquerade_layout, render_iptables
from fairlead.render.nft import IPTABLES_CHAIN

# IPVS hands its packets to conntrack only with this; a write needs CAP_NET_ADMIN.
CONNTRACK_SYSCTL = Path("/proc/sys/net/ipv4/vs/conntrack")


def reconcile_masquerade(
    targets: Iterable[MasqueradeTarget], *, check: bool = False
) -> RuleChange[MasqueradeTarget]:
    """Make exactly these virtual servers' flows leave with the edge's own source address.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    wanted = frozenset(targets)
    if wanted and not check:
        enable_conntrack()
    return reconcile(SOURCE_NAT, wanted, check=check)


def masqueraded() -> frozenset[MasqueradeTarget]:
    """Return the targets that the kernel masquerades now."""
    return read_rules(SOURCE_NAT).rules


def conntrack_enabled() -> bool:
    """Whether IPVS hands its packets to conntrack; raises `ApplyError`."""
    try:
        return CONNTRACK_SYSCTL.read_text().strip() == "1"
    except OSError as error:
        raise _refused(error) from error


def enable_conntrack() -> None:
    """Let IPVS hand its packets to conntrack; raises `ApplyError`."""
    if conntrack_enabled():
        return
    try:
        CONNTRACK_SYSCTL.write_text("1")
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> ApplyError:
    return ApplyError(
        f"{CONNTRACK_SYSCTL}: {error.strerror}: forwarding by masquerade needs it to be 1; "
        "load ip_vs and let the agent write there, or set it with the role edge_ipvs"
    )


def _nft_targets(table: NftTable, faults: list[str]) -> frozenset[MasqueradeTarget]:
    return frozenset(
        target
        for version in IPTABLES
        for target in table.elements(f"masquerade{version}", _element, faults)
    )


def _element(shown: Any) -> MasqueradeTarget:
    address, protocol, port = shown["concat"]
    return MasqueradeTarget(ip_address(address), Protocol(protocol.upper()), int(port))


def _iptables_row(words: list[str]) -> MasqueradeTarget:
    if words[words.index("-j") + 1] != "MASQUERADE":
        raise ValueError(words)
    address = ip_interface(words[words.index("--ctorigdst") + 1]).ip
    port = int(words[words.index("--ctorigdstport") + 1])
    return MasqueradeTarget(address, Protocol(words[words.index("-p") + 1].upper()), port)


SOURCE_NAT = RuleKind(
    layout=masquerade_layout,
    nft_chain="postrouting",
    sets=("masquerade4", "masquerade6"),
    read=_nft_targets,
    chain=Chain("nat", "POSTROUTING", IPTABLES_CHAIN),
    rows=_iptables_row,
    gather=frozenset[MasqueradeTarget],
    iptables=render_iptables,
)
