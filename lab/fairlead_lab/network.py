# SPDX-License-Identifier: Apache-2.0
"""The lab's wires: a LAN bridge, the upstream router with BIRD, clients, one leg in the root.

Every host is a namespace `<name>-<host>` with its link `eth0`; its port on the bridge is named like
the host, so a cable is cut by that name. The LAN's namespace holds the bridge only: it forwards
frames and has no address.
"""

import contextlib
import json
import threading

from fairlead_lab import netns
from fairlead_lab.config import LabConfig
from fairlead_lab.progress import step
from fairlead_lab.router import start_bird

_DISABLED, _FORWARDING = "0", "3"  # states of a bridge port, bridge(8)
BRIDGE = "br-lan"
_attaching = threading.Lock()
"""Cluster and edges come up side by side, and both need the control plane's host."""
_HOST_SYSCTLS = {
    # Duplicate address detection would keep each fresh address from use for a second.
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
}
_ROUTER_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # Layer 4: the connections of one client spread over both edges.
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
}


def up(cfg: LabConfig) -> None:
    """Make LAN, router, both clients and the leg in the root namespace.

    Raises:
        netns.NetnsError: a command failed.
        process.ProcessError: BIRD did not start.
    """
    with step("network: LAN, router, clients"):
        ensure_lan(cfg)
        _attach_router(cfg)
        netns.sysctl(cfg.netns("router"), _ROUTER_SYSCTLS)
        _pod_routes(cfg)
        attach_host(cfg, "client")
        _attach_rclient(cfg)
        _attach_root(cfg)
        start_bird(cfg)


def down(cfg: LabConfig) -> None:
    """Remove every namespace of the lab with what runs in it, and the leg in the root."""
    for name in netns.names(f"{cfg.name}-"):
        netns.delete_netns(name)
    netns.delete_link(None, cfg.root_link)


def ensure_lan(cfg: LabConfig) -> None:
    """The bridge, in a namespace of its own."""
    lan = cfg.netns("lan")
    netns.ensure_netns(lan)
    if not netns.link_exists(lan, BRIDGE):
        netns.batch(
            lan, f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        )
    netns.batch(lan, f"link set {BRIDGE} addrgenmode none up")


def attach_host(
    cfg: LabConfig, host: str, address: str | None = None, *, gateway: bool = True
) -> str:
    """Make a host's namespace with `eth0` on the LAN; returns the namespace's name.

    The host gets its LAN addresses, v4 and v6 (`address` replaces the v4 one), and the router as
    its default route. What stands already stays; what is missing or was cut is mended.

    Raises:
        netns.NetnsError: a command failed.
        ConfigError: the host has no number on the LAN.
    """
    name = cfg.netns(host)
    with _attaching:
        _attach(cfg, host, address or cfg.address(host), gateway=gateway)
    return name


def _attach(cfg: LabConfig, host: str, address: str, *, gateway: bool) -> None:
    name = cfg.netns(host)
    ensure_lan(cfg)
    netns.ensure_netns(name)
    netns.sysctl(name, _HOST_SYSCTLS)
    netns.ensure_veth(cfg.netns("lan"), host, name, "eth0")
    netns.batch(cfg.netns("lan"), f"link set {host} addrgenmode none master {BRIDGE} up")
    routes = (
        f"""
        route replace default via {cfg.router_address} dev eth0
        route replace default via {cfg.address6("router")} dev eth0
        """
        if gateway
        else ""
    )
    netns.batch(
        name,
        f"""
        link set eth0 up
        address replace {address}/24 dev eth0
        address replace {cfg.address6(host)}/64 dev eth0 nodad
        {routes}
        """,
    )


def _attach_router(cfg: LabConfig) -> None:
    """The upstream router, with a second address: as a router inside the edges' AS."""
    name = attach_host(cfg, "router", gateway=False)
    netns.batch(name, f"address replace {cfg.address('inside')}/24 dev eth0")


def _attach_rclient(cfg: LabConfig) -> None:
    """The client behind the router, on a wire of its own."""
    name, router = cfg.netns("rclient"), cfg.netns("router")
    netns.ensure_netns(name)
    netns.sysctl(name, _HOST_SYSCTLS)
    netns.ensure_veth(router, "rclient", name, "eth0")
    netns.batch(
        router,
        """
        link set rclient up
        address replace 198.51.100.1/24 dev rclient
        address replace fd00:198:51:100::1/64 dev rclient nodad
        """,
    )
    netns.batch(
        name,
        f"""
        link set eth0 up
        address replace {cfg.rclient_address}/24 dev eth0
        address replace {cfg.rclient_address6}/64 dev eth0 nodad
        route replace default via 198.51.100.1 dev eth0
        route replace default via fd00:198:51:100::1 dev eth0
        """,
    )


def _attach_root(cfg: LabConfig) -> None:
    """The root namespace's leg: for ssh, kubectl and Ansible. Not a route for anything else."""
    link, lan = cfg.root_link, cfg.netns("lan")
    netns.ensure_veth(lan, "root", None, link)
    netns.batch(lan, f"link set root addrgenmode none master {BRIDGE} up")
    netns.batch(
        None,
        f"""
        link set {link} addrgenmode none
        link set {link} up
        address replace {cfg.root_address}/24 dev {link}
        address replace {cfg.address6("root")}/64 dev {link} nodad
        """,
    )


def _pod_routes(cfg: LabConfig) -> None:
    """The router's routes to the pods of each node."""
    netns.batch(
        cfg.netns("router"),
        "\n".join(
            f"route replace {cfg.pod_range(node)} via {cfg.node_address(node)}\n"
            f"route replace {cfg.pod_range6(node)} via {cfg.node_address6(node)}"
            for node in cfg.nodes
        ),
    )


def foreign_lan(cfg: LabConfig) -> str:
    """The link of the root namespace, not ours, that has our LAN's network; empty if none has."""
    shown = json.loads(netns.run(["ip", "-j", "-4", "route", "show", "exact", cfg.lan4]).stdout)
    return next((str(r["dev"]) for r in shown if r.get("dev") != cfg.root_link), "")


def plug(cfg: LabConfig, host: str, *, plugged: bool) -> None:
    """Put a host's cable into the LAN, or pull it out.

    An edge's port is blocked in the bridge: a guest whose tap was set down once never hears
    anything again, since its driver gives the descriptor up at the first error. Neither way takes
    the carrier from the guest, which has no cable to look at.

    Raises:
        netns.NetnsError: no such port.
    """
    lan = cfg.netns("lan")
    if host in cfg.edges:
        state = _FORWARDING if plugged else _DISABLED
        netns.run(["bridge", "link", "set", "dev", host, "state", state], lan)
    else:
        netns.batch(lan, f"link set {host} {'up' if plugged else 'down'}")


def ports(cfg: LabConfig) -> dict[str, bool]:
    """Ports of the LAN bridge and whether each has its cable; empty while the lab is down."""
    lan = cfg.netns("lan")
    if not netns.exists(lan):
        return {}
    with contextlib.suppress(netns.NetnsError, ValueError):
        shown = json.loads(netns.run(["bridge", "-j", "link", "show"], lan).stdout)
        return {
            str(link["ifname"]): _plugged(link["flags"], link["state"])
            for link in shown
            if link.get("master") == BRIDGE
        }
    return {}


def _plugged(flags: list[str], state: str) -> bool:
    """The kernel disables a port whose guest is off as well; its cable is where it was."""
    return "UP" in flags and (state != "disabled" or "NO-CARRIER" in flags)
