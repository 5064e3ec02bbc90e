# SPDX-License-Identifier: Apache-2.0
"""The lab's own cluster, without edges: what every other lab test takes for granted.

It runs in a lab of its own (another name, another index), beside whatever lab is up. The client
sends frames for a VIP straight to a node's MAC, which is what an edge in DSR mode does.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from fairlead_lab import cluster, controlplane, kubebuild, lifecycle, netns, nodes, process, traffic
from fairlead_lab.config import LabConfig

pytestmark = pytest.mark.lab

CFG = LabConfig(name="selfcheck", index=231)
VIP, VIP6 = "10.222.231.160", "fd00:222:e7::a0"


def kubectl(*args: str, text: str | None = None) -> str:
    return controlplane.kubectl(CFG, kubebuild.ensure(CFG), *args, text=text)


def wait_for(what: str, probe: Callable[[], object], timeout: float = 20.0) -> None:
    controlplane.wait_for(what, lambda: bool(probe()), timeout)


def pods(app: str) -> dict[str, dict]:
    listed = json.loads(kubectl("get", "pods", "-l", f"app={app}", "-o", "json"))
    return {item["metadata"]["name"]: item for item in listed["items"]}


def ready(app: str) -> list[str]:
    return [name for name, pod in pods(app).items() if is_ready(pod)]


def is_ready(pod: dict) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", [])
    )


def ready_endpoints(service: str) -> set[str]:
    """IPv4 addresses that the endpoint slices call ready."""
    label = f"kubernetes.io/service-name={service}"
    listed = json.loads(kubectl("get", "endpointslices", "-l", label, "-o", "json"))
    return {
        endpoint["addresses"][0]
        for item in listed["items"]
        if item["addressType"] == "IPv4"
        for endpoint in item["endpoints"] or []
        if endpoint["conditions"]["ready"]
    }


def workload(
    app: str,
    *,
    replicas: int = 3,
    probe: dict | None = None,
    grace: int = 30,
    node: str = "",
    policy: str = "Local",
    families: int = 1,
) -> str:
    container = {
        "name": "main",
        "image": "ignored",
        "ports": [{"containerPort": 8080}, {"containerPort": 5353, "protocol": "UDP"}],
    }
    if probe is not None:
        container["readinessProbe"] = probe
    spec = {"terminationGracePeriodSeconds": grace, "containers": [container]}
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app}},
            "template": {"metadata": {"labels": {"app": app}}, "spec": spec},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": policy,
            "ipFamilyPolicy": "RequireDualStack" if families == 2 else "SingleStack",
            "selector": {"app": app},
            "ports": [
                {"name": "web", "port": 80, "targetPort": 8080},
                {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
            ],
        },
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment, service]})


def announce(service: str, *, via: str) -> None:
    """Put the VIPs into the status, and lead the client's packets to one node."""
    ingress = [{"ip": address, "ipMode": "VIP"} for address in (VIP, VIP6)]
    status = json.dumps({"status": {"loadBalancer": {"ingress": ingress}}})
    kubectl("patch", "service", service, "--subresource=status", "--type=merge", "-p", status)
    netns.batch(
        CFG.netns("client"),
        f"""
        route replace {VIP}/32 via {CFG.node_address(via)}
        route replace {VIP6}/128 via {CFG.node_address6(via)}
        """,
    )


def answering(target: str) -> None:
    wait_for(
        f"an answer from {target}",
        lambda: traffic.run_traffic(CFG, "client", target, count=1, timeout=0.5).answered,
    )


@pytest.fixture(scope="module", autouse=True)
def running_cluster():
    lifecycle.down(CFG)
    try:
        lifecycle.up(CFG, ("network", "cluster"))
        yield
    finally:
        lifecycle.down(CFG)
    assert netns.names(f"{CFG.name}-") == []
    assert not netns.link_exists(None, CFG.root_link)
    assert process.marked(f"{process.MARK}={CFG.name}".encode()) == []
    assert not CFG.state_dir.exists()


@pytest.fixture
def app(request: pytest.FixtureRequest):
    """A workload of the test's own, removed after it: call it with `workload`'s arguments."""
    name = request.node.name.replace("_", "-")[:40].strip("-").replace("[", "-").replace("]", "")

    def start(**options: object) -> str:
        kubectl("apply", "-f", "-", text=workload(name, **options))
        return name

    yield start
    kubectl("delete", "deployment,service", name, "--ignore-not-found")
    wait_for("its pods are gone", lambda: not pods(name), 40)


def test_node_hands_vip_to_its_own_pods_and_client_address_is_kept(app) -> None:
    name = app(families=2)
    wait_for("three ready pods", lambda: len(ready(name)) == 3)
    assert {pod["spec"]["nodeName"] for pod in pods(name).values()} == set(CFG.nodes)
    announce(name, via="node2")
    own = {pod for pod, body in pods(name).items() if body["spec"]["nodeName"] == "node2"}
    for host, client in ((VIP, CFG.client_address), (f"[{VIP6}]", CFG.address6("client"))):
        for port in ("80/tcp", "53/udp"):
            answering(f"{host}:{port}")
            met = traffic.run_traffic(CFG, "client", f"{host}:{port}", rate=200, count=50)
            assert (met.answered, met.lost) == (50, 0), met
            assert set(met.per_pod) == own
            assert set(met.clients) == {client}


def test_policy_cluster_reaches_pods_of_other_nodes(app) -> None:
    name = app(node="node3", policy="Cluster")
    wait_for("three ready pods", lambda: len(ready(name)) == 3)
    announce(name, via="node1")
    answering(f"{VIP}:80/tcp")
    met = traffic.run_traffic(CFG, "client", f"{VIP}:80/tcp", rate=200, count=100)
    assert met.lost == 0
    assert set(met.per_node) == {"node3"}
    assert set(met.per_pod) == set(pods(name))


def test_override_of_readiness_reaches_the_endpoint_slices(app) -> None:
    name = app()
    wait_for("three ready endpoints", lambda: len(ready_endpoints(name)) == 3)
    pod, body = next(iter(pods(name).items()))
    address = body["status"]["podIP"]
    cluster.pod_ready(CFG, f"default/{pod}", "unready")
    wait_for("it leaves", lambda: address not in ready_endpoints(name), 2)
    assert len(ready_endpoints(name)) == 2
    cluster.pod_ready(CFG, f"default/{pod}", "auto")
    wait_for("it comes back", lambda: address in ready_endpoints(name), 2)


@pytest.mark.parametrize(
    "action",
    [
        {"httpGet": {"path": "/healthz", "port": 8080}},
        {"tcpSocket": {"port": 8080}},
        {"exec": {"command": ["sh", "-c", "ip address show eth0 | grep -q 10.244."]}},
    ],
    ids=["http", "tcp", "exec"],
)
def test_probe_delays_readiness_by_its_own_timing(app, action: dict) -> None:
    begin = time.monotonic()
    name = app(replicas=1, probe={**action, "initialDelaySeconds": 2, "periodSeconds": 1})
    wait_for("it runs", lambda: [p for p in pods(name).values() if p["status"].get("podIP")])
    assert not ready(name)
    wait_for("it is ready", lambda: ready(name), 6)
    assert time.monotonic() - begin > 2


@pytest.mark.parametrize(
    "action",
    [
        {"httpGet": {"path": "/healthz", "port": 81}},
        {"tcpSocket": {"port": 81}},
        {"exec": {"command": ["sh", "-c", "ip address show eth0 | grep -q 192.0.2."]}},
    ],
    ids=["http", "tcp", "exec"],
)
def test_failing_probe_keeps_a_pod_unready_until_overridden(app, action: dict) -> None:
    name = app(replicas=1, probe={**action, "periodSeconds": 1})
    wait_for("it runs", lambda: [p for p in pods(name).values() if p["status"].get("podIP")])
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert not ready(name)
        time.sleep(0.1)
    cluster.pod_ready(CFG, f"default/{next(iter(pods(name)))}", "ready")
    wait_for("it is ready", lambda: ready(name), 2)


def test_scaling_is_quick_and_a_leaving_pod_serves_what_it_has(app) -> None:
    name = app(node="node1", grace=20)
    wait_for("three ready pods", lambda: len(ready(name)) == 3)
    announce(name, via="node1")
    answering(f"{VIP}:80/tcp")
    held = traffic.start_traffic(
        CFG, "client", f"{VIP}:80/tcp", mode="held", connections=30, duration=60
    )
    short = traffic.start_traffic(CFG, "client", f"{VIP}:80/tcp", rate=100, duration=60)
    held.wait_answers(60)
    begin = time.monotonic()
    kubectl("scale", f"deployment/{name}", "--replicas=6")
    wait_for("six ready pods", lambda: len(ready(name)) == 6)
    assert time.monotonic() - begin < 2
    kubectl("scale", f"deployment/{name}", "--replicas=1")
    wait_for("one ready endpoint", lambda: len(ready_endpoints(name)) == 1, 5)
    calls = traffic.run_traffic(CFG, "client", f"{VIP}:80/tcp", rate=100, duration=1)
    met, others = held.stop(), short.stop()
    assert (met.broken, met.stalled, met.lost) == (0, 0, 0), met
    assert len(met.per_pod) == 3
    assert len(calls.per_pod) == 1
    assert (calls.lost, others.lost) == (0, 0), others
    # Their connections are closed now: they need not wait for the end of their grace.
    wait_for("the others are gone", lambda: len(pods(name)) == 1, 10)


def test_grace_ends_a_pod_whose_connection_stays(app) -> None:
    name = app(replicas=1, grace=3)
    wait_for("a ready pod", lambda: ready(name))
    node = next(iter(pods(name).values()))["spec"]["nodeName"]
    announce(name, via=node)
    answering(f"{VIP}:80/tcp")
    held = traffic.start_traffic(CFG, "client", f"{VIP}:80/tcp", mode="held", duration=60)
    held.wait_answers(2)
    begin = time.monotonic()
    kubectl("delete", "deployment", name)
    wait_for("the pod is gone", lambda: not pods(name), 10)
    assert 2.5 < time.monotonic() - begin < 6
    met = held.stop()
    assert met.broken + met.stalled + met.lost > 0


def test_restarted_kubelet_keeps_its_pods_without_a_flap(app) -> None:
    # The delay is what a kubelet that begins anew would make its pods wait.
    timing = {"initialDelaySeconds": 3, "periodSeconds": 1}
    name = app(replicas=3, probe={"tcpSocket": {"port": 8080}, **timing})
    wait_for("three ready pods", lambda: len(ready(name)) == 3)
    before = {pod: body["status"]["podIP"] for pod, body in pods(name).items()}
    workers = {r.name: r.pid for r in process.list_all(CFG) if "-pod-" in r.name and r.alive()}
    for node in CFG.nodes:
        process.stop(CFG, nodes.kubelet_name(node), grace=0.0)
        nodes.start_kubelet(CFG, node)
    for _ in range(20):
        assert len(ready(name)) == 3
        time.sleep(0.1)
    assert {pod: body["status"]["podIP"] for pod, body in pods(name).items()} == before
    assert workers == {
        r.name: r.pid for r in process.list_all(CFG) if "-pod-" in r.name and r.alive()
    }


def test_killed_process_of_a_pod_is_started_again(app) -> None:
    name = app(replicas=1)
    wait_for("a ready pod", lambda: ready(name))
    record = next(r for r in process.list_all(CFG) if "-pod-" in r.name and r.alive())
    process.send(CFG, record.name, signal.SIGKILL)
    wait_for(
        "it was restarted",
        lambda: next(iter(pods(name).values()))["status"]["containerStatuses"][0]["restartCount"],
    )
    wait_for("it is ready", lambda: ready(name), 5)


def test_pods_serve_while_the_api_server_is_away(app) -> None:
    name = app()
    wait_for("three ready pods", lambda: len(ready(name)) == 3)
    announce(name, via="node1")
    answering(f"{VIP}:80/tcp")
    load = traffic.start_traffic(CFG, "client", f"{VIP}:80/tcp", rate=100, duration=60)
    cluster.api_down(CFG)
    with pytest.raises(cluster.ClusterError):
        kubectl("get", "nodes")
    load.wait_answers(200)
    cluster.api_up(CFG)
    kubectl("scale", f"deployment/{name}", "--replicas=4")
    wait_for("four ready pods", lambda: len(ready(name)) == 4)
    met = load.stop()
    assert (met.lost, met.broken) == (0, 0), met


def test_up_again_changes_nothing_and_mends_what_is_missing() -> None:
    before = {record.name: record.pid for record in process.list_all(CFG)}
    cluster.up(CFG)
    assert {record.name: record.pid for record in process.list_all(CFG)} == before
    process.stop(CFG, nodes.proxy_name("node2"), grace=0.0)
    netns.delete_netns(CFG.netns("node3"))
    cluster.up(CFG)
    assert cluster.status(CFG).healthy
    name = "mended"
    kubectl("apply", "-f", "-", text=workload(name, node="node3", policy="Cluster"))
    wait_for("pods on the new node", lambda: len(ready(name)) == 3)
    announce(name, via="node2")
    answering(f"{VIP}:80/tcp")
    kubectl("delete", "deployment,service", name)


def test_metallb_kinds_are_known() -> None:
    pool = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "pool", "namespace": "default"},
        "spec": {"addresses": ["192.0.2.0/24"]},
    }
    kubectl("apply", "-f", "-", text=json.dumps(pool))
    assert "192.0.2.0/24" in kubectl("get", "ipaddresspools", "pool", "-o", "json")
    wrong = {**pool, "spec": {"addresses": "192.0.2.0/24"}}
    with pytest.raises(cluster.ClusterError):
        kubectl("apply", "-f", "-", text=json.dumps(wrong))


def test_rights_are_checked() -> None:
    """A client with a certificate and no binding may not read Services."""
    ca = controlplane.authority(CFG)
    stranger = CFG.state_dir / "stranger.kubeconfig"
    ca.kubeconfig(stranger, controlplane.server_url(CFG), ca.issue("stranger", "stranger"))
    program = kubebuild.ensure(CFG).path("kubectl")
    done = subprocess.run(
        [program, f"--kubeconfig={stranger}", "get", "services"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Forbidden" in done.stderr


def test_node_without_power_is_noticed_and_comes_back(app) -> None:
    name = app()
    wait_for("three ready endpoints", lambda: len(ready_endpoints(name)) == 3)
    cluster.node_kill(CFG, "node3")
    wait_for("the cluster notices", lambda: not cluster.status(CFG).nodes["node3"], 90)
    wait_for("its endpoint leaves", lambda: len(ready_endpoints(name)) == 2)
    cluster.node_revive(CFG, "node3")
    wait_for("it is back", lambda: cluster.status(CFG).nodes["node3"])
    wait_for("its pod too", lambda: len(ready_endpoints(name)) == 3)
