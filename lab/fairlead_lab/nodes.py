# SPDX-License-Identifier: Apache-2.0
"""The cluster's nodes: a namespace on the LAN each, with a Node object, kubelet and kube-proxy.

A node takes frames for a VIP that it does not own (an edge in DSR mode sends them to the node's
MAC): they are forwarded traffic to it, kube-proxy's rules in prerouting hand them to a pod, and the
answer goes out by the node's own default route with the VIP as its source.
"""

import contextlib
import http.client
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from fairlead_lab import netns, network, process
from fairlead_lab.config import LabConfig
from fairlead_lab.controlplane import POD_RANGE, authority, server_url
from fairlead_lab.kubebuild import KubePrograms
from fairlead_lab.kubelet import NodeSettings

_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # The router is on the same wire as client and node: no advice to go there directly.
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    # A link of a pod must not be held to what the table says about the way back.
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
PROXY_HEALTH_PORT = 10256


def proxy_name(node: str) -> str:
    """Name of a node's kube-proxy among the lab's processes."""
    return f"kube-proxy-{node}"


def kubelet_name(node: str) -> str:
    """Name of a node's kubelet among the lab's processes."""
    return f"kubelet-{node}"


def node_object(cfg: LabConfig, node: str) -> dict[str, Any]:
    """The Node as it is registered; its status is the kubelet's."""
    ranges = [cfg.pod_range(node), cfg.pod_range6(node)]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node,
            "labels": {
                "kubernetes.io/hostname": node,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
    }


def attach(cfg: LabConfig, node: str) -> None:
    """Make the node's namespace on the LAN with its routes to the other nodes' pods."""
    name = network.attach_host(cfg, node)
    stop_strangers(cfg, node)
    netns.sysctl(name, _SYSCTLS)
    others = [other for other in cfg.nodes if other != node]
    netns.batch(
        name,
        "\n".join(
            f"route replace {cfg.pod_range(other)} via {cfg.node_address(other)}\n"
            f"route replace {cfg.pod_range6(other)} via {cfg.node_address6(other)}"
            for other in others
        )
        # An address of ours that no pod has: an answer at once, not a loop through the router.
        + f"\nroute replace unreachable {cfg.pod_range(node)}"
        + f"\nroute replace unreachable {cfg.pod_range6(node)}",
    )


def start(cfg: LabConfig, programs: KubePrograms, node: str) -> None:
    """Start the node's kube-proxy and kubelet; its Node object has to exist."""
    start_proxy(cfg, programs, node)
    start_kubelet(cfg, node)


def start_proxy(cfg: LabConfig, programs: KubePrograms, node: str) -> None:
    """Start kube-proxy in nftables mode in the node's namespace, when it does not run."""
    if process.alive(cfg, proxy_name(node)):
        return  # it ends itself when its configuration is written again
    ca = authority(cfg)
    kubeconfig = cfg.state_dir / "kube-proxy.kubeconfig"
    ca.kubeconfig(kubeconfig, server_url(cfg), ca.issue("kube-proxy", "system:kube-proxy"))
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": node,
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "detectLocalMode": "ClusterCIDR",
        # The default holds changes back for a second after each; every test would wait for that.
        "nftables": {"minSyncPeriod": "50ms"},
        # nf_conntrack_max can only be set in the machine's own namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    file = cfg.state_dir / f"kube-proxy-{node}.json"
    file.write_text(json.dumps(settings))
    argv = [programs.path("kube-proxy"), f"--config={file}"]
    process.spawn(cfg, proxy_name(node), argv, netns=cfg.netns(node))


def start_kubelet(cfg: LabConfig, node: str) -> None:
    """Start the lab's kubelet in the node's namespace, when it does not run.

    By nsenter: `ip netns exec` would give it mounts of its own, and the namespaces that it makes
    for its pods would have names that nobody else sees.
    """
    ca = authority(cfg)
    user = f"system:node:{node}"
    kubeconfig = cfg.state_dir / f"kubelet-{node}.kubeconfig"
    pair = ca.issue(f"kubelet-{node}", user, groups=("system:nodes",))
    ca.kubeconfig(kubeconfig, server_url(cfg), pair)
    settings = NodeSettings(
        lab=cfg.name,
        index=cfg.index,
        node=node,
        kubeconfig=str(kubeconfig),
        state=str(cfg.state_dir / "pods" / node),
        addresses=[cfg.node_address(node), cfg.node_address6(node)],
        pods_ipv4=cfg.pod_range(node),
        pods_ipv6=cfg.pod_range6(node),
    )
    file = cfg.state_dir / f"kubelet-{node}.json"
    file.write_bytes(msgspec.json.encode(settings))
    argv = ["nsenter", f"--net={netns.NETNS_DIR / cfg.netns(node)}", "--", *kubelet_argv(str(file))]
    process.spawn(cfg, kubelet_name(node), argv)


def kubelet_argv(settings: str) -> list[str]:
    """The kubelet's command line, independent of the folder that it is started in."""
    folder = Path(__file__).resolve().parent.parent
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from fairlead_lab.kubelet import main"
    return [sys.executable, "-I", "-c", f"{code}; main()", settings]


def proxy_ready(cfg: LabConfig, node: str) -> bool:
    """Whether the node's kube-proxy has programmed its rules."""
    connection = http.client.HTTPConnection("127.0.0.1", PROXY_HEALTH_PORT, timeout=2)
    try:
        with netns.open_socket(cfg.netns(node)) as sock:
            sock.settimeout(2)
            sock.connect(("127.0.0.1", PROXY_HEALTH_PORT))
            connection.sock = sock
            connection.request("GET", "/livez")
            return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException, netns.NetnsError):
        return False


def stop_strangers(cfg: LabConfig, node: str) -> None:
    """End the node's processes when they live in another namespace than the node's.

    That is so when the namespace was removed and made again under processes that went on.
    """
    try:
        home = (netns.NETNS_DIR / cfg.netns(node)).stat().st_ino
    except FileNotFoundError:
        home = 0
    for name in (kubelet_name(node), proxy_name(node)):
        record = process.load(cfg, name)
        if record is not None and record.alive():
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{record.pid}/ns/net").stat().st_ino != home:
                    process.stop(cfg, name, grace=0.0)


def kill(cfg: LabConfig, node: str) -> None:
    """Let a node die as by loss of power: cable out, every process of it gone.

    Its namespace stays, so that `revive` can bring it back; its pods' processes are gone too.
    """
    network.plug(cfg, node, plugged=False)
    process.stop(cfg, kubelet_name(node), grace=0.0)
    process.stop(cfg, proxy_name(node), grace=0.0)
    for record in process.list_all(cfg):
        if record.name.startswith(f"{cfg.name}-pod-") and _of_node(record, node):
            process.stop(cfg, record.name, grace=0.0)


def revive(cfg: LabConfig, programs: KubePrograms, node: str) -> None:
    """Bring a killed node back."""
    network.plug(cfg, node, plugged=True)
    start(cfg, programs, node)


def _of_node(record: process.Pid, node: str) -> bool:
    argv = record.argv
    return "--node" in argv and argv[argv.index("--node") + 1] == node
