# SPDX-License-Identifier: Apache-2.0
"""The kernel layer takes weights up step by step on its clock, and a restart goes on with it."""

from contextlib import nullcontext
from ipaddress import ip_address

from fairlead.agent.kernel import KernelTable
from fairlead.diff.changes import AddDest, SetDest
from fairlead.diff.ipvs import service_key
from fairlead.edge.ipvs import FakeIpvsTable
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer

VIP = ip_address("192.0.2.10")


def server(*weights: int, slow: int | None = 10) -> VirtualServer:
    """Real servers 10.0.0.1 and so on."""
    reals = [RealServer(ip_address(f"10.0.0.{n}"), 80, w) for n, w in enumerate(weights, 1)]
    return VirtualServer(
        address=VIP,
        protocol=Protocol.TCP,
        port=80,
        scheduler="mh",
        flags=("fallback", "port"),
        forwarding=Forwarding.DSR,
        service=ObjectKey("shop", "web"),
        slow_start_seconds=slow,
        real_servers=tuple(reals),
    )


KEY = service_key(server())


class Agent:
    """A kernel layer with a clock that stands still."""

    def __init__(self, table: FakeIpvsTable) -> None:
        self.table, self.now = table, 1000.0
        self.kernel = KernelTable(
            lambda: table,
            nullcontext,  # type: ignore[arg-type] # a lock that only has to be entered
            clock=lambda: self.now,
        )

    def want(self, value: VirtualServer) -> list[int]:
        self.kernel.apply([self.kernel.want(value)])
        return self.weights()

    def weights(self) -> list[int]:
        return [dest.weight for dest in self.table.dump()[KEY].dests]

    def sleep(self, seconds: float) -> list[int]:
        """Do what is due until then; the last real server's weights on the way."""
        end, found = self.now + seconds, []
        while (due := self.kernel.next_due()) is not None and due <= end:
            self.now = due
            self.kernel.apply(self.kernel.due())
            found.append(self.weights()[-1])
        self.now = end
        return found


def test_a_new_real_server_rises_in_tenths_and_then_rests() -> None:
    agent = Agent(FakeIpvsTable())
    assert agent.want(server(20, 10)) == [20, 10]
    assert agent.kernel.next_due() is None, "a new virtual server is full at once"
    assert agent.want(server(20, 10, 10)) == [20, 10, 1]
    assert agent.sleep(5) == [1, 2, 3, 4, 5]
    assert agent.want(server(30, 10, 10)) == [30, 10, 5], "others change beside it"
    assert agent.sleep(60) == [6, 7, 8, 9, 10]
    assert (agent.kernel.next_due(), agent.kernel.due()) == (None, [])
    changes = [change for change in agent.table.log if change.key == KEY]
    own = [c for c in changes if isinstance(c, AddDest | SetDest) and c.dest.address[-1] == 3]
    assert len(own) == 10, "each step is one change: mh rebuilds its table"


def test_resync_does_not_cut_a_rise_short() -> None:
    agent = Agent(FakeIpvsTable())
    agent.want(server(10))
    agent.want(server(10, 10))
    agent.sleep(4.5)
    agent.kernel.apply([KEY])
    agent.kernel.apply_all(lambda _address: True, prune=True)
    assert agent.weights() == [10, 4]


def test_restart_goes_on_where_the_last_process_was() -> None:
    first = Agent(FakeIpvsTable())
    first.want(server(10))
    first.want(server(10, 10))
    first.sleep(4.2)
    again = Agent(first.table)
    sent = len(first.table.log)
    again.kernel.want(server(10, 10))
    again.kernel.apply_all(lambda _address: True, prune=False)
    assert len(first.table.log) == sent
    assert again.sleep(60) == [5, 6, 7, 8, 9, 10]


def test_an_unready_real_server_starts_anew() -> None:
    agent = Agent(FakeIpvsTable())
    agent.want(server(10))
    agent.want(server(10, 10))
    agent.sleep(7)
    assert agent.want(server(10, 0)) == [10, 0]
    assert agent.kernel.next_due() is None
    assert agent.want(server(10, 10)) == [10, 1]


def test_without_the_annotation_weights_are_full_at_once() -> None:
    agent = Agent(FakeIpvsTable())
    agent.want(server(10))
    agent.want(server(10, 10))
    assert agent.want(server(1, 1, slow=None)) == [1, 1]
    assert agent.kernel.next_due() is None
    assert agent.want(server(1, 1, 1, slow=None)) == [1, 1, 1]
