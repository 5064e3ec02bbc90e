# SPDX-License-Identifier: Apache-2.0
"""IPVS codec: CPU per message beside pyroute2 in the same run, and the way from plan to bytes.

    python -m bench.codec_bench [--json FILE]

Needs no kernel: messages are made up to the bytes, and read from bytes that a kernel once sent.
"""

import json
import statistics
import time
from collections.abc import Callable
from ipaddress import ip_address

from pyroute2.ipvs import IPVSDest, IPVSService
from pyroute2.netlink.generic import ipvs

from bench.figures import Figure
from bench.running import ROOT, Report, ends_cleanly, parser, write
from bench.servers import virtual_server
from fairlead.diff.changes import AddDest, SetDest
from fairlead.diff.ipvs import desired_entry, diff_entry
from fairlead.edge.ipvs import decode, encode
from fairlead.edge.ipvs.layout import DestDecoder
from fairlead.edge.ipvs.table import encode_changes
from fairlead.model.ipvs import IpProtocol, IpvsDest, ServiceKey

CAPTURES = ROOT / "tests" / "unit" / "codec" / "captures" / "ipvsadm.json"
COUNT, ROUNDS = 1000, 15
HOW = f"median of {ROUNDS} rounds, CPU"
ENCODE, DECODE = "encode add real server", "decode real server"


def typical(action: Callable[[], object], count: int = 1) -> float:
    """Median CPU time of some rounds, in microseconds per item; a first round only warms up."""
    action()
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        action()
        times.append(time.process_time_ns() - begun)
    return statistics.median(times) / count / 1e3


def a_reply() -> bytearray:
    """A real server as a kernel told it."""
    document = json.loads(CAPTURES.read_text())
    listed = next(one for one in document["records"] if one["command"] == "-Ln")
    raws = [bytes.fromhex(text) for text in listed["messages"]]
    return bytearray(next(raw for raw in raws if raw[16:17] == b"\x05" and not raw[6] & 1))


def frames(bodies: list[bytes]) -> bytes:
    """What the socket makes of bodies before it sends them."""
    pack, parts = encode.HEADER.pack, []
    for seq, body in enumerate(bodies):
        parts += (pack(16 + len(body), 28, 1, seq, 0), body)
    return b"".join(parts)


def ours() -> dict[str, float]:
    """Our codec, microseconds per message."""
    key = ServiceKey.of(IpProtocol.TCP, ip_address("192.0.2.1"), 80)
    dests = [IpvsDest(ip_address(167772160 + one).packed, 80, 1, 3) for one in range(COUNT)]
    adds = [AddDest(key, one) for one in dests]
    raw, decoder = a_reply(), DestDecoder()
    place = decode.Message(28, 2, 1, 0, len(raw))
    decoder.decode(raw, place)
    datagram = bytes(raw) * 80

    def learned() -> None:
        for _ in range(COUNT // 80):
            for message in decode.messages(datagram, len(datagram)):
                decoder.decode(datagram, message)

    def walk() -> None:
        for _ in range(COUNT):
            decode.dest(raw, place)

    def status() -> None:
        for _ in range(COUNT):
            decode.dest_status(raw, place)

    return {
        ENCODE: typical(lambda: frames(encode_changes(adds)), COUNT),
        DECODE: typical(learned, COUNT // 80 * 80),
        "decode real server, unknown layout": typical(walk, COUNT),
        "decode real server with counters": typical(status, COUNT),
    }


def pyroute2s() -> dict[str, float]:
    """The same by pyroute2, up to the bytes and from the bytes."""
    service = IPVSService(addr="192.0.2.1", port=80, protocol=6)
    raw = bytes(a_reply())

    def add() -> None:
        for one in range(COUNT // 10):
            dest = IPVSDest(addr=f"10.0.0.{one}", port=80, weight=1, fwd_method=3)
            message = ipvs.ipvsmsg()
            message["cmd"], message["version"] = 5, 1
            message["attrs"] = [
                ("IPVS_CMD_ATTR_SERVICE", service.dump_key()),
                ("IPVS_CMD_ATTR_DEST", dest.dump_nla()),
            ]
            message.encode()

    def read() -> None:
        for _ in range(COUNT // 10):
            message = ipvs.ipvsmsg(raw)
            message.decode()
            IPVSDest.from_message(message)

    return {ENCODE: typical(add, COUNT // 10), DECODE: typical(read, COUNT // 10)}


def agents_share() -> dict[str, float]:
    """Pure Python between an event and the kernel, for a virtual server of 100 real servers."""
    before, after = virtual_server(1, 100), virtual_server(1, 100, weight=2)
    actual, wanted = desired_entry(before), desired_entry(after)
    one = [SetDest(wanted.service.key, wanted.dests[50])]

    def repeated(action: Callable[[], object]) -> float:
        def work() -> None:
            for _ in range(100):
                action()

        return typical(work, 100)

    return {
        "plan -> desired, 100 real servers": repeated(lambda: desired_entry(after)),
        "diff, nothing changed": repeated(lambda: diff_entry(actual, desired_entry(before))),
        "diff, all weights changed": repeated(lambda: diff_entry(wanted, actual)),
        "encode one weight": repeated(lambda: frames(encode_changes(one))),
    }


def figures(mine: dict[str, float], peer: dict[str, float]) -> tuple[Figure, ...]:
    """Per message, and how much longer pyroute2 takes."""
    rows = []
    for name in (ENCODE, DECODE):
        rows += [
            Figure(f"codec: {name}", mine[name], "us", HOW),
            Figure(f"codec: {name}, pyroute2 / ours", peer[name] / mine[name], "x", HOW),
        ]
    return tuple(rows)


def show(mine: dict[str, float], peer: dict[str, float], agent: dict[str, float]) -> None:
    """Everything, a line each."""
    print(f"{'CPU per message, us':40} {'ours':>10} {'pyroute2':>10} {'ratio':>8}")
    for name, value in mine.items():
        other = peer.get(name)
        beside = f"{other:10.1f} {other / value:7.0f}x" if other else ""
        print(f"{name:40} {value:10.2f} {beside}".rstrip())
    for name, value in agent.items():
        print(f"{name:40} {value:10.2f}")


def main() -> None:
    """Measure, print, write."""
    ends_cleanly()
    options = parser(__doc__).parse_args()
    mine, peer, agent = ours(), pyroute2s(), agents_share()
    show(mine, peer, agent)
    details = {"codec_us": mine, "pyroute2_us": peer, "agent_us": agent}
    write(Report(figures(mine, peer), details), options.json)


if __name__ == "__main__":
    main()
