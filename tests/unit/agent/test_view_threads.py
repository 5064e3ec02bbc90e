# SPDX-License-Identifier: Apache-2.0
"""Metrics, status file and writers read in threads of their own while the loop turns.

The agent is the real one, put together by its own constructor; only the kernel's table is a fake,
and nothing that needs a cluster is started. What a reader makes of a view, in whichever thread and
at whatever moment, must be what the loop's own thread made of it when it was published.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fairlead.agent.config import AgentConfig
from fairlead.agent.daemon import Agent
from fairlead.agent.messages import AnnouncementDone, VipsChanged
from fairlead.agent.metrics import AgentCollector
from fairlead.agent.status_writer import status_document
from fairlead.agent.view import AgentView
from fairlead.cluster.watch import Changed, Failed, Listed, Removed
from fairlead.edge.ipvs import ChangeResult, FakeIpvsTable
from fairlead.edge.vips import StandingVips
from fairlead.model.kube import Namespace, Service
from fairlead.model.names import ObjectKey
from fairlead.model.plan import ObjectError
from support.build import pool
from unit.agent.test_loop import NODES, endpoints, service
from unit.cluster.scripted_api import ScriptedApi, serving

TURNS = 40
SERVICES = 30
LAN = pool("lan", "10.1.0.0/24")
INVENTORY = """
edges: [{name: edge1, address: 192.0.2.201, interface: eth0}]
announce: [vrrp]
vrrp: {advertised_address: 192.0.2.9/24}
"""


class MoodyTable(FakeIpvsTable):
    """Refuses some virtual servers now and then, so that there are failures to read."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def apply(self, changes: Sequence[Any]) -> list[ChangeResult]:
        if changes and changes[0].key.port == 81 and self._chance.random() < 0.7:
            return [ChangeResult(change, 12, str(self._chance.random())) for change in changes]
        return super().apply(changes)


class Rig:
    """An agent whose loop is turned by hand, a publication a turn."""

    def __init__(self, folder: Path, server: ScriptedApi) -> None:
        (folder / "edges.yaml").write_text(INVENTORY)
        self.agent = agent = Agent(
            AgentConfig(
                edge="edge1",
                kubeconfig=server.kubeconfig(folder),
                inventory=folder / "edges.yaml",
                runtime_dir=folder / "run",
            )
        )
        self.chance, self.now = random.Random(9), 100.0
        table, kernel, loop = MoodyTable(self.chance), agent._loop._ports.kernel, agent._loop
        kernel._open, kernel._clock = lambda: table, lambda: self.now
        loop._clock = lambda: self.now
        loop._ports = replace(loop._ports, publish=self.publish)
        self.tellers = tellers(agent)
        self.told: dict[str, set[bytes]] = {name: set() for name in self.tellers}
        self.views: list[tuple[AgentView, bytes]] = []
        self.services: dict[ObjectKey, Service] = {}

    def publish(self, view: AgentView) -> None:
        """Note what whoever asks must hear from now on."""
        assert in_use(view) == len({server.address for server in view.virtual_servers})
        self.agent._publish(view)
        for name, tell in self.tellers.items():
            self.told[name].add(tell())
        self.views.append((view, status(view)))

    def turn(self, *messages: Any) -> None:
        for message in messages:
            self.agent._queue.put(message)
        self.now += 1.5
        self.agent._loop.turn(0)

    def begin(self) -> None:
        """Complete lists of everything, and the first sync."""
        for number in range(0, SERVICES, 2):
            self.services[key(number)] = a_service(number)
        lists: dict[str, tuple[Any, ...]] = dict.fromkeys(self.agent._feed.kinds, ())
        lists |= {
            "Service": tuple(self.services.values()),
            "EndpointSlice": tuple(endpoints({"node1": 1}, key(n)) for n in range(SERVICES)),
            "Node": NODES,
            "Namespace": (Namespace("shop"),),
            "IPAddressPool": (LAN,),
        }
        self.turn(*(Listed(kind, objects, (), 1) for kind, objects in lists.items()))
        assert self.agent._view.synced

    def change(self) -> None:
        """One turn with whatever may happen to a cluster."""
        number = self.chance.randrange(SERVICES)
        self.turn(
            self._slice(number), self._service(number), self.chance.choice(self._rest(number))
        )

    def _slice(self, number: int) -> Any:
        ready = {f"node{n}": self.chance.randrange(1, 4) for n in (1, 2, 3)}
        return Changed("EndpointSlice", key(number), endpoints(ready, key(number)), 1)

    def _service(self, number: int) -> Any:
        if self.services.pop(key(number), None):
            return Removed("Service", key(number), 1)
        self.services[key(number)] = a_service(number)
        return Changed("Service", key(number), self.services[key(number)], 1)

    def _rest(self, number: int) -> list[Any]:
        more = pool("more", f"10.2.{number}.0/24")
        bad = tuple(
            ObjectError(kind="IPAddressPool", namespace=more.namespace, name=f"b{n}", message="no")
            for n in range(20)
        )
        return [
            Listed("Service", tuple(self.services.values()), (), 1),
            Listed("IPAddressPool", (LAN, more), bad, 1),
            Removed("IPAddressPool", more.key, 1),
            Failed("IPAddressPool", bad[0], 1),
            VipsChanged(StandingVips(frozenset(map(vip, range(number))))),
            AnnouncementDone(self.agent._loop._generation),
        ]


def key(number: int) -> ObjectKey:
    return ObjectKey("shop", f"s{number}")


def vip(number: int) -> Any:
    return ip_address(f"10.1.0.{number + 1}")


def a_service(number: int) -> Service:
    (first,) = service().ports
    ports = (first, msgspec.structs.replace(first, name="b", port=81))
    made: Service = service(key(number), str(vip(number)), ports=ports)
    return made


# -- what readers make of a view ------------------------------------------------------------------


def status(view: AgentView) -> bytes:
    document = status_document(view, 0.0, 0.0)
    return msgspec.json.encode(msgspec.structs.replace(document, written=0.0))


def scraped(view: AgentView) -> bytes:
    registry = CollectorRegistry()
    registry.register(AgentCollector(lambda: view))
    lines = generate_latest(registry).splitlines()
    return b"\n".join(line for line in lines if b"_seconds" not in line)


def in_use(view: AgentView) -> int:
    return sum(row.assigned for row in view.usage)


def tellers(agent: Agent) -> dict[str, Callable[[], bytes]]:
    """What the agent's other threads ask for, through the very functions that they were given."""
    view = agent._status._view
    answers: dict[str, Callable[[], Any]] = {
        "pools": agent._pool_writer._states,
        "rows": lambda: sorted(agent._status_objects._rows().items()),
        "findings": agent._states._findings,
        "peers": lambda: tuple(agent._sessions._peers()),
        "mirror": agent._publisher._mirror,
    }
    return {
        "status": lambda: status(view()),
        "metrics": lambda: scraped(view()),
        **{name: partial(in_bytes, ask) for name, ask in answers.items()},
    }


def in_bytes(ask: Callable[[], Any]) -> bytes:
    return repr(ask()).encode()


class Readers:
    """A thread for each teller, asking without a pause; what it heard is kept."""

    def __init__(self, rig: Rig) -> None:
        self._stopped = threading.Event()
        self.heard: dict[str, set[bytes]] = {name: set() for name in rig.tellers}
        self.raised: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(name, tell), name=name)
            for name, tell in rig.tellers.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, tell: Callable[[], bytes]) -> None:
        while not self._stopped.is_set():
            try:
                self.heard[name].add(tell())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                self.raised.append(f"{name}: {type(error).__name__}: {error}")
                return


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    before = sys.getswitchinterval()
    for server in serving():
        rig = Rig(tmp_path, server)
        rig.begin()
        sys.setswitchinterval(0.00001)
        yield rig
        sys.setswitchinterval(before)


def test_whoever_reads_while_the_loop_turns_hears_what_was_published(rig: Rig) -> None:
    with Readers(rig) as readers:
        for _ in range(TURNS):
            rig.change()
    assert readers.raised == []
    assert {
        name: len(heard - rig.told[name]) for name, heard in readers.heard.items()
    } == dict.fromkeys(readers.heard, 0), "states in between were heard"
    assert [told for view, told in rig.views if status(view) != told] == [], "a view changed"
    assert any(view.failures for view, _ in rig.views)
    assert len({in_use(view) for view, _ in rig.views}) > 3
    assert all(readers.heard.values())
