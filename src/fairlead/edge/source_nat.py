# SPDX-License-Identifier: Apache-2.0
"""Source NAT of masqueraded flows on this edge, by nftables or, on old kernels, by iptables.

The choice is the kernel's: where nf_tables has the `inet` family it is used, else legacy iptables
writes the same rule into a chain of our own. Actual state is read from the kernel.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

from fairlead.edge.packet_filter import (
    IPTABLES,
    Chain,
    RuleChange,
    chain_rules,
    nftables_usable,
    set_elements,
)
from fairlead.model.errors import ApplyError
from fairlead.model.names import Protocol
from fairlead.render import MasqueradeTarget, render_iptables, render_nft
from fairlead.render.nft import IPTABLES_CHAIN

# IPVS hands its packets to conntrack only with this; a write needs CAP_NET_ADMIN.
CONNTRACK_SYSCTL = Path("/proc/sys/net/ipv4/vs/conntrack")
_SETS = ("masquerade4", "masquerade6")
_CHAIN = Chain("nat", "POSTROUTING", IPTABLES_CHAIN)


def reconcile_masquerade(
    targets: Iterable[MasqueradeTarget], *, check: bool = False
) -> RuleChange[MasqueradeTarget]:
    """Make exactly these virtual servers' flows leave with the edge's own source address.

    Raises:
        ApplyError: The kernel or the tool refused; one family's rules change as a whole or not.
    """
    wanted = frozenset(targets)
    change = RuleChange(masqueraded(), wanted)
    if check:
        return change
    if wanted:
        _enable_conntrack()
    if change.changed:
        change.load(_CHAIN, lambda: render_nft(wanted), render_iptables)
    return change


def masqueraded() -> frozenset[MasqueradeTarget]:
    """Return the targets that the kernel masquerades now."""
    found: set[MasqueradeTarget] = set()
    if nftables_usable():
        for name in _SETS:
            for address, protocol, port in set_elements(name):
                found.add(
                    MasqueradeTarget(ip_address(address), Protocol(protocol.upper()), int(port))
                )
    else:
        for version in IPTABLES:
            found.update(_iptables_targets(version))
    return frozenset(found)


def _iptables_targets(version: int) -> Iterator[MasqueradeTarget]:
    for words in chain_rules(_CHAIN, version):
        address = ip_interface(words[words.index("--ctorigdst") + 1]).ip
        port = int(words[words.index("--ctorigdstport") + 1])
        protocol = Protocol(words[words.index("-p") + 1].upper())
        yield MasqueradeTarget(address, protocol, port)


def _enable_conntrack() -> None:
    try:
        if CONNTRACK_SYSCTL.read_text().strip() != "1":
            CONNTRACK_SYSCTL.write_text("1")
    except OSError as error:
        raise ApplyError(
            f"{CONNTRACK_SYSCTL}: {error.strerror}: forwarding by masquerade needs it to be 1; "
            "load ip_vs and let the agent write there, or set it with the role edge_ipvs"
        ) from error
