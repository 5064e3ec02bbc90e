# SPDX-License-Identifier: Apache-2.0
"""The netlink socket on any kernel: what it says where there is no IPVS, and bad namespaces."""

import struct
from ipaddress import ip_address

import pytest

from fairlead.diff.changes import AddDest
from fairlead.edge.ipvs import IpvsTable, IpvsUnavailableError, RepliesLostError
from fairlead.edge.ipvs import socket as ipvs_socket
from fairlead.edge.ipvs.constants import Cmd
from fairlead.edge.ipvs.table import encode_changes
from fairlead.model.errors import FairleadError
from fairlead.model.ipvs import IpProtocol, IpvsDest, ServiceKey
from unit.codec import captures


def test_kernel_without_the_family_is_a_sentence(monkeypatch):
    monkeypatch.setattr(ipvs_socket, "GENL_NAME", "NO_SUCH_FAMILY")
    with pytest.raises(IpvsUnavailableError, match="modprobe ip_vs"):
        IpvsTable()


def test_family_is_resolved_by_the_real_controller(monkeypatch):
    """Every kernel has the controller itself, as number 16."""
    monkeypatch.setattr(ipvs_socket, "GENL_NAME", "nlctrl")
    with ipvs_socket.IpvsSocket() as opened:
        assert opened._family == 0x10


def test_unknown_namespace_is_a_sentence():
    with pytest.raises(FairleadError, match="network namespace no-such"):
        IpvsTable("no-such")


class Recorded:
    """In the place of the kernel's socket: plays datagrams, one answer for each request sent."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self._queue = []

    def send(self, data):
        seq = struct.unpack_from("=I", data, 8)[0]
        for sender, messages in self._answers.pop(0):
            datagram = bytearray()
            for kind, flags, offset, payload in messages:
                length = 16 + len(payload)
                datagram += struct.pack("=IHHII", length, kind, flags, seq + offset, 0) + payload
            self._queue.append((bytes(datagram), (sender, 0)))
        return len(data)

    def recvfrom_into(self, buffer):
        if not self._queue:
            raise BlockingIOError
        data, sender = self._queue.pop(0)
        buffer[: len(data)] = data
        return len(data), sender

    def close(self):
        pass


SERVICE_REPLIES = [raw[16:] for raw in captures.replies("-Ln", Cmd.NEW_SERVICE)]
MULTI, INTERRUPTED, DONE, DATA = 2, 0x10, 3, 0x1C
END = (DONE, MULTI, 0, bytes(4))


def service(number, flags=MULTI, offset=0):
    return (DATA, flags, offset, SERVICE_REPLIES[number])


@pytest.fixture
def table(monkeypatch):
    """A table whose kernel is still to be given."""
    monkeypatch.setattr(ipvs_socket, "GENL_NAME", "nlctrl")
    with IpvsTable() as opened:
        opened._socket.close()
        yield opened


def listed(table, *answers):
    table._socket._socket = Recorded(*answers)
    return table.service_keys()


def test_interrupted_dump_is_forgotten_and_repeated(table):
    torn = [(0, [service(0), service(1, MULTI | INTERRUPTED), END])]
    whole = [(0, [service(2)]), (0, [service(3), END])]
    keys = listed(table, torn, whole)
    assert len(keys) == 2
    assert keys == listed(table, whole)


def test_dump_that_is_interrupted_for_ever_gives_up(table):
    torn = [(0, [service(0, MULTI | INTERRUPTED), END])]
    with pytest.raises(RepliesLostError, match="5 dumps"):
        listed(table, *[torn] * 5)


def test_messages_of_others_are_not_taken_for_answers(table):
    forged = (4711, [service(0), END])
    late = (0, [service(1, offset=-1)])
    keys = listed(table, [forged, late, (0, [service(2), END])])
    assert keys == listed(table, [(0, [service(2), END])])


def test_overrun_is_noticed(table):
    with pytest.raises(RepliesLostError, match="overflowed"):
        listed(table, [(0, [service(0), (4, MULTI, 0, b"")])])


def test_late_answers_are_not_charged_to_a_new_batch(table):
    """A refusal that nobody read must not be the outcome of what was sent after it."""
    refused = (2, 0, -2, struct.pack("=i", -17) + bytes(16))
    accepted = (2, 0, 1, struct.pack("=i", 0) + bytes(16))
    table._socket._socket = Recorded([(0, [refused]), (0, [accepted])])
    assert table._socket.batch([b"first", b"second"]) == [(0, ""), (0, "")]


def test_a_change_that_no_message_can_hold_is_refused_and_the_others_are_encoded():
    key = ServiceKey.of(IpProtocol.TCP, ip_address("192.0.2.10"), 80)
    good, huge = (
        AddDest(key, IpvsDest(b"\xc0\x00\x02\x65", 80, weight, 0)) for weight in (1, 10**13)
    )
    refused: dict[int, str] = {}
    assert encode_changes([good, huge, good], refused) == encode_changes([good, good])
    assert list(refused) == [1]
