# SPDX-License-Identifier: Apache-2.0
"""The lab once more, with what only provisioned edges can do: playbooks, agents, load."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator

import yaml

from fairlead_lab import netns, router, traffic
from support.harness import REPOSITORY, Lab, wait_for


class Load:
    """Traffic that is running; `stop()` gives its summary."""

    def __init__(self, handle: traffic.Handle) -> None:
        self.handle = handle
        self.summary: traffic.Summary | None = None

    def stop(self) -> traffic.Summary:
        """End the traffic and return what was counted."""
        if self.summary is None:
            self.summary = self.handle.stop()
        return self.summary

    @staticmethod
    def wait_seconds(seconds: float) -> None:
        """Let the load run on: the length of an outage is the test's subject here."""
        time.sleep(seconds)


class ProvisionedLab(Lab):
    """A lab whose edges were made by the playbooks."""

    def playbook(
        self, name: str, *args: str, announce: list[str] | None = None, check: bool = True
    ) -> str:
        """Run a playbook against the lab's inventory; returns its output."""
        extra = ["-e", json.dumps({"fairlead_announce": announce})] if announce else []
        done = subprocess.run(
            [
                str(REPOSITORY / ".venv/bin/ansible-playbook"),
                f"playbooks/{name}.yml",
                "-i",
                "inventory/lab",
                *extra,
                *args,
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            env={
                **os.environ,
                "FAIRLEAD_LAB": self.cfg.name,
                "ANSIBLE_NOCOLOR": "1",
                "FAIRLEAD_LAB_INDEX": str(self.cfg.index),
            },
        )
        if check and done.returncode:
            raise AssertionError(f"{name}.yml: {done.stdout[-6000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def announce_by(self, ways: list[str]) -> None:
        """Run site.yml where edges do not announce so already; wait until agents follow."""
        if all(self.announces(edge) == ways and self.in_step(edge) for edge in self.edges):
            return
        self.playbook("site", announce=ways)
        for edge in self.edges:
            wait_for(f"the agent of {edge}", lambda edge=edge: self.in_step(edge), 30)

    def announces(self, edge: str) -> list[str]:
        """By what an edge was told to announce; nothing where it was told nothing yet."""
        document = yaml.safe_load(self.ssh(edge, "cat /etc/fairlead/edges.yaml", check=False))
        return document["announce"] if document else []

    def metrics(self, edge: str) -> dict[str, float]:
        """The agent's metrics: "name{labels}" -> value."""
        text = self.ssh(
            edge,
            'python3 -c "import urllib.request as u; '
            "print(u.urlopen('http://127.0.0.1:9120/metrics', timeout=3)"
            '.read().decode())"',
        )
        rows = (
            line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
        )
        return {name: float(value) for name, value in rows}

    def in_step(self, edge: str) -> bool:
        """Whether the agent runs, has its complete lists, and its watches stand."""
        try:
            status = json.loads(self.ssh(edge, "cat /run/fairlead/status.json"))
        except (AssertionError, ValueError, subprocess.TimeoutExpired):
            return False
        return not status["out_of_step"]

    def router_next_hops(self, vip: str) -> set[str]:
        """Next hops of a VIP in the router's kernel."""
        shown = netns.run(
            ["ip", "-j", "route", "show", f"{vip}/32"], netns=self.netns("router")
        ).stdout
        hops: set[str] = set()
        for route in json.loads(shown or "[]"):
            hops |= {hop["gateway"] for hop in route.get("nexthops", [route]) if "gateway" in hop}
        return hops

    def router_routes(self, table: str = "master4") -> dict[str, dict[str, dict[str, str]]]:
        """What the router learned: prefix -> next hop -> BGP attributes."""
        found: dict[str, dict[str, dict[str, str]]] = {}
        prefix, attributes = "", dict[str, str]()
        for line in router.birdc(self.cfg, "show", "route", "table", table, "all").splitlines():
            words = line.split()
            if "/" in words[0]:
                prefix = words[0]
            if "unicast" in words[:2]:
                attributes = {}
            elif words[0] == "via":
                found.setdefault(prefix, {})[words[1]] = attributes
            elif words[0].startswith("BGP."):
                attributes[words[0][4:].rstrip(":")] = line.partition(": ")[2]
        return found

    @contextlib.contextmanager
    def traffic(
        self, target: str, *, rate: float, duration: float, host: str = "client"
    ) -> Iterator[Load]:
        """Bounded load from a lab host while the block runs."""
        load = Load(traffic.start_traffic(self.cfg, host, target, rate=rate, duration=duration))
        try:
            yield load
        finally:
            load.stop()

    @contextlib.contextmanager
    def client_addresses(self, count: int) -> Iterator[list[str]]:
        """More addresses on the LAN client: many clients from one host."""
        added = [f"10.222.{self.cfg.index}.{number}" for number in range(201, 201 + count)]
        for address in added:
            netns.run(
                ["ip", "address", "replace", f"{address}/24", "dev", "eth0"],
                netns=self.netns("client"),
            )
        try:
            yield added
        finally:
            for address in added:
                netns.run(
                    ["ip", "address", "del", f"{address}/24", "dev", "eth0"],
                    netns=self.netns("client"),
                )
