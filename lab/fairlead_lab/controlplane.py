# SPDX-License-Identifier: Apache-2.0
"""The cluster's control plane: etcd, kube-apiserver, controller manager and scheduler.

All of it runs in the namespace `<name>-cp`. etcd listens on that namespace's loopback only, where
nothing but the API server is; everybody else comes by TLS with a certificate of the lab's own
authority and gets what RBAC and the node authorizer give.
"""

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable
from functools import partial

from fairlead_lab import netns, network, process
from fairlead_lab.config import LabConfig
from fairlead_lab.kubebuild import KubePrograms
from fairlead_lab.pki import Authority
from fairlead_lab.waiting import wait_until

HOST = "cp"
PORT = 6443
ETCD = "etcd"
APISERVER = "kube-apiserver"
MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
SERVICE_RANGE = "10.96.0.0/16,fd00:96::/112"
POD_RANGE = "10.244.0.0/16,fd00:244::/32"
CONTROLLERS = (
    "endpointslice-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "pod-garbage-collector-controller",
    "root-ca-certificate-publisher-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
)
READY_SECONDS = 60.0


class ClusterError(process.ProcessError):
    """The cluster does not come up; the message says what was waited for and where its log is."""


def wait_for(what: str, check: Callable[[], bool], timeout: float, hint: str = "") -> None:
    """Poll until `check` is true.

    Raises:
        ClusterError: it was not within `timeout` seconds.
    """
    try:
        wait_until(what, check, timeout)
    except process.ProcessError as error:
        raise ClusterError(f"{error}. {hint}".strip()) from None


def server_url(cfg: LabConfig) -> str:
    """Where the API server answers."""
    return f"https://{cfg.control_plane_address}:{PORT}"


def authority(cfg: LabConfig) -> Authority:
    """The lab's certificate authority."""
    return Authority(cfg.state_dir / "pki")


def start(cfg: LabConfig, programs: KubePrograms) -> None:
    """Start etcd and the API server; returns without waiting for them."""
    network.attach_host(cfg, HOST)
    ca = authority(cfg)
    admin = ca.issue("admin", "fairlead-lab-admin", groups=("system:masters",))
    ca.kubeconfig(cfg.admin_kubeconfig, server_url(cfg), admin)
    start_etcd(cfg)
    start_apiserver(cfg, programs)


def start_etcd(cfg: LabConfig) -> None:
    """Start etcd in the control plane's namespace."""
    data = cfg.state_dir / "etcd"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    argv = [
        "etcd", "--name=lab", f"--data-dir={data}",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}", "--logger=zap", "--log-level=warn",
        # One member elects itself after this time: the default of 1 s is a second of every start.
        "--heartbeat-interval=20", "--election-timeout=200",
    ]  # fmt: skip
    process.spawn(cfg, ETCD, argv, netns=cfg.netns(HOST))


def start_apiserver(cfg: LabConfig, programs: KubePrograms) -> None:
    """Start the API server in the control plane's namespace."""
    ca = authority(cfg)
    hosts = (cfg.control_plane_address, cfg.address6(HOST), "127.0.0.1", "10.96.0.1", "localhost",
             "kubernetes", "kubernetes.default", "kubernetes.default.svc")  # fmt: skip
    serving = ca.issue("apiserver", "kube-apiserver", hosts=hosts)
    signing = ca.signing_key("serviceaccounts")
    argv = [
        programs.path(APISERVER),
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={cfg.control_plane_address}", f"--secure-port={PORT}",
        f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={ca.pair.certificate}",
        # No aggregated API here, but every other program asks for these and complains.
        f"--requestheader-client-ca-file={ca.pair.certificate}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={signing.certificate}",
        f"--service-account-signing-key-file={signing.key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true", "--profiling=false", "--event-ttl=1h0m0s",
        "--shutdown-delay-duration=0s",
    ]  # fmt: skip
    process.spawn(cfg, APISERVER, argv, netns=cfg.netns(HOST))


def stop_apiserver(cfg: LabConfig) -> None:
    """Make the API server unavailable, at once: its own shutdown takes up to a minute."""
    process.stop(cfg, APISERVER, grace=0.0)


def start_controllers(cfg: LabConfig, programs: KubePrograms) -> None:
    """Start controller manager and scheduler; the API server has to be ready."""
    ca = authority(cfg)
    signing = ca.signing_key("serviceaccounts")
    common = ["--leader-elect=false", "--profiling=false"]
    for program, user, flags in (
        (
            MANAGER,
            "system:kube-controller-manager",
            [
                f"--controllers={','.join(CONTROLLERS)}",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={signing.key}",
                f"--root-ca-file={ca.pair.certificate}",
                "--node-monitor-grace-period=40s",
            ],
        ),
        (SCHEDULER, "system:kube-scheduler", []),
    ):
        kubeconfig = cfg.state_dir / f"{program}.kubeconfig"
        ca.kubeconfig(kubeconfig, server_url(cfg), ca.issue(program, user))
        argv = [
            programs.path(program), f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}", *common, *flags,
        ]  # fmt: skip
        process.spawn(cfg, program, argv, netns=cfg.netns(HOST))


def wait_ready(cfg: LabConfig) -> None:
    """Wait until the API server answers that it is ready.

    Raises:
        ClusterError: it does not, or one of its processes has ended.
    """
    for name in (ETCD, APISERVER):
        hint = f"See {cfg.log_dir / name}.log"
        wait_for(
            "the API server is ready",
            partial(_ready_or_dead, cfg, name),
            READY_SECONDS,
            hint,
        )


def _ready_or_dead(cfg: LabConfig, name: str) -> bool:
    if not process.alive(cfg, name):
        raise ClusterError(f"{name} ended; see {cfg.log_dir / name}.log")
    return api_ready(cfg)


def api_ready(cfg: LabConfig) -> bool:
    """Whether the API server says that it is ready."""
    context = ssl.create_default_context(cafile=str(authority(cfg).pair.certificate))
    connection = http.client.HTTPSConnection(
        cfg.control_plane_address, PORT, timeout=5, context=context
    )
    try:
        with netns.open_socket(cfg.netns(HOST)) as sock:
            sock.settimeout(5)
            sock.connect((cfg.control_plane_address, PORT))
            connection.sock = context.wrap_socket(sock, server_hostname=cfg.control_plane_address)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException, netns.NetnsError):
        return False
    finally:
        connection.close()


def kubectl(cfg: LabConfig, programs: KubePrograms, *args: str, text: str | None = None) -> str:
    """Run kubectl as the administrator and return its output.

    Raises:
        ClusterError: kubectl failed; the message has its words.
    """
    done = subprocess.run(
        [programs.path("kubectl"), f"--kubeconfig={cfg.admin_kubeconfig}", *args],
        check=False,
        capture_output=True,
        text=True,
        input=text,
        timeout=120,
    )
    if done.returncode != 0:
        raise ClusterError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def apply(cfg: LabConfig, programs: KubePrograms, documents: list[dict[str, object]]) -> None:
    """Apply objects on the server's side, as the administrator."""
    body = {"apiVersion": "v1", "kind": "List", "items": documents}
    kubectl(
        cfg, programs, "apply", "--server-side", "--force-conflicts", "-f", "-",
        text=json.dumps(body),
    )  # fmt: skip
