# SPDX-License-Identifier: Apache-2.0
"""The agent's IPVS table when the socket to the kernel breaks: never used again, opened anew."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from fairlead.agent.kernel import KernelTable
from fairlead.edge.ipvs import FakeIpvsTable
from fairlead.edge.ipvs.errors import IpvsUnavailableError, NoAnswerError
from fairlead.model.errors import FairleadError
from fairlead.model.ipvs import IpvsEntry, ServiceKey
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer

PORTS = (80, 81, 82)


def server(port: int, weight: int = 1) -> VirtualServer:
    return VirtualServer(
        address=ip_address("192.0.2.10"),
        protocol=Protocol.TCP,
        port=port,
        scheduler="mh",
        flags=(),
        forwarding=Forwarding.DSR,
        service=ObjectKey("shop", "web"),
        real_servers=(RealServer(ip_address("192.0.2.101"), port, weight),),
    )


class Kernel:
    """The table behind all sockets, and when a socket breaks or the next can't be opened."""

    def __init__(self) -> None:
        self.now = 100.0
        self.table = FakeIpvsTable()
        self.sockets: list[Socket] = []
        self.breaks: list[BaseException] = []
        self.refuses: list[Exception] = []
        self.held = 0
        self.kernel = KernelTable(self.open, self.lock, clock=lambda: self.now)  # type: ignore[arg-type] # only entered

    def open(self) -> "Socket":
        if self.refuses:
            raise self.refuses.pop(0)
        self.sockets.append(Socket(self))
        return self.sockets[-1]

    @contextmanager
    def lock(self) -> Iterator[None]:
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    def want(self, *servers: VirtualServer) -> list[ServiceKey]:
        return [self.kernel.want(one) for one in servers]


class Socket:
    """One opening of the table; after an error of the socket nobody may use it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self._broken = kernel, False

    def _use(self, *, locked: bool = True) -> FakeIpvsTable:
        assert not self._broken, "a broken socket was used again"
        assert self._kernel.held == locked
        if self._kernel.breaks:
            error = self._kernel.breaks.pop(0)
            self._broken = isinstance(error, OSError)
            raise error
        return self._kernel.table

    def dump(self) -> dict[ServiceKey, IpvsEntry]:
        return self._use().dump()

    def service_keys(self) -> list[ServiceKey]:
        return self._use(locked=False).service_keys()

    def dump_service(self, key: ServiceKey) -> IpvsEntry | None:
        return self._use().dump_service(key)

    def apply(self, changes: Sequence[Any]) -> Any:
        return self._use().apply(changes)


def broken() -> OSError:
    return OSError(errno.EBADF, "Bad file descriptor")


def test_a_broken_socket_is_opened_anew_for_the_next_virtual_server() -> None:
    kernel = Kernel()
    keys = kernel.want(*map(server, PORTS))
    kernel.breaks.append(broken())
    assert kernel.kernel.apply(keys) == 4
    assert list(kernel.kernel.failures) == ["-t 192.0.2.10:80"]
    assert "Bad file descriptor" in kernel.kernel.failures["-t 192.0.2.10:80"]
    kernel.now += 5
    assert kernel.kernel.due() == keys[:1]
    kernel.kernel.apply(kernel.kernel.due())
    assert (len(kernel.table.dump()), kernel.kernel.failures) == (3, {})
    assert len(kernel.sockets) == 2


def test_an_answer_that_was_lost_costs_one_virtual_server_a_second_try() -> None:
    """The socket is as good as before: answers are told apart by their numbers."""
    kernel = Kernel()
    kernel.breaks.append(NoAnswerError("interrupted"))
    kernel.kernel.apply(kernel.want(*map(server, PORTS)))
    assert kernel.kernel.failures == {"-t 192.0.2.10:80": "interrupted"}
    assert len(kernel.sockets) == 1


@pytest.mark.parametrize("ask", ["apply_all", "strays"])
def test_whatever_asks_a_broken_socket_says_so_and_opens_the_next(ask: str) -> None:
    kernel = Kernel()
    kernel.want(server(80))

    def run() -> Any:
        if ask == "strays":
            return list(kernel.kernel.strays(lambda _address: True))
        return kernel.kernel.apply_all(lambda _address: True, prune=True)

    kernel.breaks.append(broken())
    with pytest.raises(FairleadError, match=r"IPVS: .*Bad file descriptor"):
        run()
    run()
    assert len(kernel.sockets) == 2


@pytest.mark.parametrize("error", [broken(), IpvsUnavailableError("no IPVS")])
def test_a_socket_that_cant_be_opened_is_trouble_of_the_edge_and_of_no_virtual_server(
    error: Exception,
) -> None:
    kernel = Kernel()
    keys = kernel.want(server(80))
    kernel.refuses.append(error)
    with pytest.raises(FairleadError):
        kernel.kernel.apply(keys)
    assert (kernel.kernel.failures, kernel.held) == ({}, 0)
    assert kernel.kernel.apply(keys) == 2


def test_a_virtual_server_that_nobody_wants_any_more_is_not_tried_again() -> None:
    kernel = Kernel()
    (key,) = kernel.want(server(80))
    kernel.breaks.append(NoAnswerError("interrupted"))
    kernel.kernel.apply([key])
    assert kernel.kernel.next_due() is not None
    kernel.kernel.drop(key)
    kernel.now += 60
    assert (kernel.kernel.due(), kernel.kernel.next_due()) == ([], None)


def test_second_tries_come_later_and_later_and_begin_anew_after_a_success() -> None:
    kernel = Kernel()
    keys = kernel.want(server(80))
    waits = []
    for _ in range(9):
        kernel.breaks.append(NoAnswerError("interrupted"))
        kernel.kernel.apply(keys)
        due = kernel.kernel.next_due()
        assert due is not None
        assert kernel.kernel.due() == []
        waits.append(due - kernel.now)
        kernel.now = due
        assert kernel.kernel.due() == keys
    assert 0.25 <= waits[0] <= 0.5
    assert 15 <= waits[-1] <= 30
    kernel.kernel.apply(keys)
    assert kernel.kernel.next_due() is None
    kernel.breaks.append(NoAnswerError("interrupted"))
    kernel.kernel.apply(keys)
    assert kernel.kernel.next_due() - kernel.now <= 0.5  # type: ignore[operator]


def test_a_full_pass_counts_and_ends_old_failures() -> None:
    kernel = Kernel()
    keys = kernel.want(server(80))
    kernel.breaks.append(NoAnswerError("interrupted"))
    kernel.kernel.apply(keys)
    assert kernel.kernel.apply_all(lambda _address: True, prune=True) == 2
    assert kernel.kernel.failures == {}
    assert kernel.kernel.apply_all(lambda _address: True, prune=True) == 0
    assert dict(kernel.kernel.counts.outcomes) == {"error": 1, "changed": 1, "unchanged": 1}
    assert dict(kernel.kernel.counts.changes) == {"AddService": 1, "AddDest": 1}


def test_only_a_pass_that_prunes_removes_and_only_what_is_ours() -> None:
    kernel = Kernel()
    (key,) = kernel.want(server(80))
    kernel.kernel.apply([key])
    kernel.kernel.drop(key)
    assert list(kernel.kernel.strays(lambda _address: False)) == []
    assert list(kernel.kernel.strays(lambda _address: True)) == [key]
    assert kernel.kernel.apply_all(lambda _address: True, prune=False) == 0
    assert kernel.kernel.apply_all(lambda _address: False, prune=True) == 0
    assert kernel.kernel.apply_all(lambda _address: True, prune=True) == 1


@pytest.mark.parametrize("full", [True, False])
def test_a_virtual_server_that_cant_be_made_a_message_of_fails_alone(*, full: bool) -> None:
    kernel = Kernel()
    odd = msgspec.structs.replace(server(81), flags=("no such flag",))
    keys = kernel.want(server(80), odd, server(82))
    if full:
        kernel.kernel.apply_all(lambda _address: True, prune=False)
    else:
        kernel.kernel.apply(keys)
    assert {key.port for key in kernel.table.dump()} == {80, 82}
    assert list(kernel.kernel.failures) == ["-t 192.0.2.10:81"]
    kernel.want(server(81))
    kernel.now += 5
    kernel.kernel.apply(kernel.kernel.due())
    assert len(kernel.table.dump()) == 3
    assert kernel.kernel.failures == {}
