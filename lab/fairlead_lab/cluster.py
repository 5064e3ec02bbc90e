# SPDX-License-Identifier: Apache-2.0
"""The lab's cluster as a whole: up, down, status, and its faults.

Every verb may be called again, also over what a killed run left: processes are told from
strangers by pid and start time, namespaces and files by the lab's name.
"""

import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from fairlead_lab import controlplane, kubebuild, netns, nodes, process
from fairlead_lab.config import LabConfig
from fairlead_lab.controlplane import ClusterError, wait_for
from fairlead_lab.kubelet_status import READY_ANNOTATION
from fairlead_lab.progress import step

POD_READINESS = ("ready", "unready", "auto")


@dataclass(frozen=True)
class ClusterStatus:
    """What of the cluster is there."""

    api: bool
    processes: dict[str, bool]
    """Every process of the cluster and whether it runs."""
    nodes: dict[str, bool]
    """Every Node object and whether its Ready condition is true."""
    pods: dict[str, str]
    """NAMESPACE/NAME of every Pod with its node and whether it is ready: "node1 ready"."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing."""
        return self.api and all(self.processes.values()) and all(self.nodes.values())


def expected_processes(cfg: LabConfig) -> list[str]:
    """Names of the processes that a whole cluster has."""
    names = [controlplane.ETCD, controlplane.APISERVER, controlplane.MANAGER,
             controlplane.SCHEDULER]  # fmt: skip
    for node in cfg.nodes:
        names += [nodes.proxy_name(node), nodes.kubelet_name(node)]
    return names


def up(cfg: LabConfig) -> None:
    """Bring the cluster up; what runs already stays. The network has to be up.

    Raises:
        kubebuild.BuildError: the Kubernetes programs cannot be built.
        ClusterError: something does not come up.
    """
    programs = kubebuild.ensure(cfg)
    crds = kubebuild.metallb_crds(cfg)
    with step("control plane: etcd, API server"):
        controlplane.start(cfg, programs)
        for node in cfg.nodes:  # while the API server starts
            nodes.attach(cfg, node)
        controlplane.wait_ready(cfg)
    with step("cluster: controllers, nodes, metallb.io CRDs"):
        controlplane.start_controllers(cfg, programs)
        controlplane.apply(cfg, programs, [nodes.node_object(cfg, node) for node in cfg.nodes])
        for node in cfg.nodes:
            nodes.start(cfg, programs, node)
        controlplane.kubectl(
            cfg, programs, "apply", "--server-side", "--force-conflicts", "-f", str(crds)
        )
        _wait_complete(cfg, programs)


def _wait_complete(cfg: LabConfig, programs: kubebuild.KubePrograms) -> None:
    """Wait for what a first `kubectl apply` needs."""
    for node in cfg.nodes:
        wait_for(
            f"kube-proxy of {node} has its rules",
            partial(nodes.proxy_ready, cfg, node),
            60,
            f"See {cfg.log_dir / nodes.proxy_name(node)}.log",
        )
    wait_for(
        "all nodes are Ready",
        lambda: len(ready := _nodes(cfg, programs)) >= len(cfg.nodes) and all(ready.values()),
        60,
        f"See {cfg.log_dir / nodes.kubelet_name(cfg.nodes[0])}.log",
    )
    wait_for(
        "the default ServiceAccount exists",
        lambda: _exists(cfg, programs, "serviceaccount/default"),
        60,
        f"See {cfg.log_dir / controlplane.MANAGER}.log",
    )
    controlplane.kubectl(
        cfg, programs, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"
    )


def down(cfg: LabConfig) -> None:
    """Remove the cluster: processes, namespaces of nodes and pods, state. Never fails for absence.

    No farewells: what is thrown away need not shut down in good order.
    """
    pod_prefix = f"{cfg.name}-pod-"
    names = [*expected_processes(cfg), *(r.name for r in process.list_all(cfg)
                                         if r.name.startswith(pod_prefix))]  # fmt: skip
    # Kubelets first: they would start again what is ended here.
    names.sort(key=lambda name: not name.startswith("kubelet-"))
    for name in names:
        process.stop(cfg, name, grace=0.0)
    hosts = [cfg.netns(host) for host in (controlplane.HOST, *cfg.nodes)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(netns.delete_netns, [*netns.names(pod_prefix), *hosts]))
    _remove_state(cfg)


def _remove_state(cfg: LabConfig) -> None:
    for folder in ("etcd", "pki", "pods"):
        shutil.rmtree(cfg.state_dir / folder, ignore_errors=True)
    for pattern in ("*.kubeconfig", "kubelet-*.json", "kube-proxy-*.json"):
        for file in cfg.state_dir.glob(pattern):
            file.unlink(missing_ok=True)


def status(cfg: LabConfig) -> ClusterStatus:
    """What of the cluster is there now."""
    processes = {name: process.alive(cfg, name) for name in expected_processes(cfg)}
    api = processes[controlplane.APISERVER] and controlplane.api_ready(cfg)
    found: dict[str, bool] = {}
    pods: dict[str, str] = {}
    if api:
        programs = kubebuild.ensure(cfg)
        with contextlib.suppress(ClusterError):
            found, pods = _nodes(cfg, programs), _pods(cfg, programs)
    return ClusterStatus(api, processes, found, pods)


def _condition(item: dict[str, object], name: str) -> bool:
    state = item.get("status")
    conditions = state.get("conditions", []) if isinstance(state, dict) else []
    return any(c["type"] == name and c["status"] == "True" for c in conditions)


def _nodes(cfg: LabConfig, programs: kubebuild.KubePrograms) -> dict[str, bool]:
    listed = json.loads(controlplane.kubectl(cfg, programs, "get", "nodes", "-o", "json"))
    return {item["metadata"]["name"]: _condition(item, "Ready") for item in listed["items"]}


def _pods(cfg: LabConfig, programs: kubebuild.KubePrograms) -> dict[str, str]:
    listed = json.loads(controlplane.kubectl(cfg, programs, "get", "pods", "-A", "-o", "json"))
    return {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": " ".join(
            (
                item["spec"].get("nodeName", "unscheduled"),
                "ready" if _condition(item, "Ready") else "unready",
            )
        )
        for item in listed["items"]
    }


def _exists(cfg: LabConfig, programs: kubebuild.KubePrograms, what: str) -> bool:
    with contextlib.suppress(ClusterError):
        return bool(controlplane.kubectl(cfg, programs, "get", what, "-o", "name"))
    return False


def api_down(cfg: LabConfig) -> None:
    """Make the API server unavailable; everything else goes on."""
    controlplane.stop_apiserver(cfg)


def api_up(cfg: LabConfig) -> None:
    """Start the API server again and wait until it is ready."""
    controlplane.start_apiserver(cfg, kubebuild.ensure(cfg))
    controlplane.wait_ready(cfg)


def node_kill(cfg: LabConfig, node: str) -> None:
    """Let a node die as by loss of power."""
    _known_node(cfg, node)
    nodes.kill(cfg, node)


def node_revive(cfg: LabConfig, node: str) -> None:
    """Bring a killed node back."""
    _known_node(cfg, node)
    nodes.revive(cfg, kubebuild.ensure(cfg), node)


def _known_node(cfg: LabConfig, node: str) -> None:
    if node not in cfg.nodes:
        raise ClusterError(f"no node {node!r}: the lab has {', '.join(cfg.nodes)}")


def pod_ready(cfg: LabConfig, pod: str, state: str) -> None:
    """Override a Pod's readiness, by annotation.

    Args:
        cfg: the lab.
        pod: NAMESPACE/NAME.
        state: "ready", "unready", or "auto" for the probes' own outcome.

    Raises:
        ClusterError: no such pod, or another state.
    """
    namespace, slash, name = pod.partition("/")
    if not slash or state not in POD_READINESS:
        raise ClusterError(f"pod {pod!r} {state!r}: NAMESPACE/NAME and ready, unready or auto")
    value = {"ready": "=true", "unready": "=false", "auto": "-"}[state]
    controlplane.kubectl(
        cfg, kubebuild.ensure(cfg), "annotate", "--overwrite", f"--namespace={namespace}",
        f"pod/{name}", f"{READY_ANNOTATION}{value}",
    )  # fmt: skip
