# SPDX-License-Identifier: Apache-2.0
"""`make demo`: from two bare edges to a Service that answers through its VIP, on screen.

Everything shown is real: the playbook provisions guests that hold nothing of ours, kubectl talks to
a real API server, curl runs in the client's namespace, and the edge that is switched off at the end
is switched off. `--keep` leaves the lab up to look around in.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fairlead_lab import kubebuild, netns, traffic
from fairlead_lab.config import LabConfig

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/web.yaml"


def title(text: str) -> None:
    """Head of a part of the show."""
    print(f"\n\033[1m── {text}\033[0m", flush=True)


class Demo:
    """The show, part by part."""

    def __init__(self, cfg: LabConfig, *, keep: bool = False) -> None:
        self.cfg, self.keep = cfg, keep
        self.env = {
            **os.environ,
            "FAIRLEAD_LAB": cfg.name,
            "FAIRLEAD_LAB_INDEX": str(cfg.index),
            "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        }

    def show(self, *argv: str, shown: str = "", timeout: float = 1800) -> None:
        """Print a command as a person would type it, then run it with its output on screen."""
        print(f"$ {shown or ' '.join(argv)}", flush=True)
        subprocess.run(argv, cwd=ROOT, env=self.env, check=True, timeout=timeout)

    def lab(self, *args: str, shown: str = "") -> None:
        """A verb of the lab's own command."""
        self.show(str(ROOT / "lab/lab"), *args, shown=shown or f"lab/lab {' '.join(args)}")

    @contextlib.contextmanager
    def meanwhile(self, *args: str) -> Iterator[None]:
        """A verb of the lab's command beside the block; both must succeed."""
        argv = [str(ROOT / "lab/lab"), *args]
        print(f"$ lab/lab {' '.join(args)} &", flush=True)
        child = subprocess.Popen(argv, cwd=ROOT, env=self.env)
        try:
            yield
            status = child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        if status:
            raise subprocess.CalledProcessError(status, argv)

    def kubectl_json(self, *args: str) -> dict[str, object]:
        """What kubectl answers as JSON."""
        done = subprocess.run(
            [str(ROOT / "lab/lab"), "kubectl", "--", *args, "-o", "json"],
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def wait_for_vip(self) -> str:
        """The Service's address, once it has one."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            service = self.kubectl_json("get", "service", "web")
            status = service.get("status")
            ingress = (
                status.get("loadBalancer", {}).get("ingress") if isinstance(status, dict) else None
            )
            if ingress:
                return str(ingress[0]["ip"])
            time.sleep(0.1)
        raise SystemExit(
            "demo: the Service got no address within 30 s; see: lab/lab kubectl -- describe svc web"
        )

    def curl(self, vip: str) -> None:
        """One request from the client's namespace, shown."""
        netns.run(
            [
                "curl",
                "-sS",
                "--max-time",
                "3",
                "--retry",
                "20",
                "--retry-delay",
                "0",
                "--retry-all-errors",
                "--retry-max-time",
                "20",
                "-o",
                "/dev/null",
                f"http://{vip}/",
            ],
            netns=self.cfg.netns("client"),
        )
        for _ in range(6):
            self.show(
                "ip",
                "netns",
                "exec",
                self.cfg.netns("client"),
                "curl",
                "-sS",
                "--max-time",
                "3",
                f"http://{vip}/",
                shown=f"curl http://{vip}/",
            )

    def master(self) -> str:
        """The edge that holds the VRRP address."""
        for edge in self.cfg.edges:
            done = subprocess.run(
                [str(ROOT / "lab/lab"), "ssh", edge, "ip -br address"],
                check=False,
                env=self.env,
                capture_output=True,
                text=True,
                timeout=60,
            )
            if f"{self.cfg.vrrp_address}/" in done.stdout:
                return edge
        raise SystemExit("demo: no edge holds the VRRP address")

    def failover(self, vip: str) -> None:
        """Switch the active edge off under load and count what clients saw."""
        edge = self.master()
        load = traffic.start_traffic(self.cfg, "client", f"{vip}:80/tcp", rate=100, duration=30)
        time.sleep(2)
        self.lab("power", edge, "off")
        time.sleep(4)
        summary = load.stop()
        print(
            f"answered {summary.answered}, lost {summary.lost}, "
            f"longest gap {summary.longest_gap_ms:.0f} ms; per pod: {summary.per_pod}"
        )
        if self.keep:
            self.lab("power", edge, "on")

    def playbook(self, name: str, *args: str) -> None:
        """A playbook of ours against the lab's edges."""
        self.show("ansible-playbook", f"playbooks/{name}.yml", "-i", "inventory/lab", *args)

    def bring_up(self) -> Sequence[str]:
        """Cluster and bare edges; minutes of building Kubernetes are filled with provisioning.

        Returns the arguments with which the playbook does what is left to do.
        """
        if kubebuild.find(self.cfg).built:
            title("A cluster without a load balancer, and two bare edge machines")
            self.lab("up")
            return ()
        title("Two bare edge machines get their software, while Kubernetes is built beside them")
        self.lab("up", "--only", "network", "--only", "edges")
        with self.meanwhile("up"):
            self.playbook("deploy")
        return ("--skip-tags", "deploy")

    def run(self) -> None:
        """The whole show."""
        left_to_do = self.bring_up()
        title("One playbook makes them a highly available pair in front of the cluster")
        self.playbook("site", *left_to_do)
        title("A Service of type LoadBalancer, as ever")
        self.lab(
            "kubectl", "--", "apply", "-f", str(EXAMPLE), shown="kubectl apply -f examples/web.yaml"
        )
        self.lab(
            "kubectl",
            "--",
            "rollout",
            "status",
            "deployment/web",
            "--timeout=60s",
            shown="kubectl rollout status deployment/web",
        )
        vip = self.wait_for_vip()
        self.lab("kubectl", "--", "get", "service", "web", shown="kubectl get service web")
        title("It answers through its VIP")
        self.curl(vip)
        title("What the active edge holds")
        self.lab(
            "ssh", self.master(), "fairlead status", shown="fairlead status   # on the active edge"
        )
        title("The active edge loses its power, under load")
        self.failover(vip)
        title(f"http://{vip}/ answered all along. That is the demo.")


def main() -> int:
    """Run the demo and take the lab down again, whatever happened."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make demo")
    parser.add_argument("--keep", action="store_true", help="leave the lab up afterwards")
    keep = parser.parse_args().keep
    started = time.monotonic()
    demo = Demo(LabConfig.from_env(), keep=keep)
    try:
        demo.run()
    except subprocess.CalledProcessError as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 130
    finally:
        if not keep:
            title("Cleaning up")
            subprocess.run([str(ROOT / "lab/lab"), "down"], env=demo.env, check=False, timeout=300)
    print(f"\ndemo took {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
