# SPDX-License-Identifier: Apache-2.0
"""IPVS codec and appliers: CPU per message beside pyroute2, and a real kernel's figures.

    python bench/codec_bench.py [--json FILE] [--host-only]

The first part runs here and needs no kernel; pyroute2 is measured in the same run. The second part
starts this file again under a User-Mode Linux kernel (`--in-kernel`): cold apply of 1,000 virtual
servers with 100 real servers each under `mh`, dumps, and the agent's way from a wanted weight to
the kernel.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pyroute2.ipvs import IPVSDest, IPVSService
from pyroute2.netlink.generic import ipvs

from fairlead.adapters.ipvs import IpvsTable, decode, encode
from fairlead.adapters.ipvs.apply import reconcile_ipvs, reconcile_virtual_server
from fairlead.adapters.ipvs.layout import DestDecoder
from fairlead.adapters.ipvs.table import encode_changes
from fairlead.diff.changes import AddDest, SetDest
from fairlead.diff.ipvs import desired_entry, desired_from, diff_entry, service_key
from fairlead.model.ipvs import IpProtocol, IpvsDest, ServiceKey
from fairlead.model.names import Forwarding, IPAddress, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer

ROOT = Path(__file__).resolve().parent.parent
CAPTURES = ROOT / "tests" / "unit" / "codec" / "captures" / "ipvsadm.json"
COUNT, ROUNDS = 1000, 9
T = TypeVar("T")


def best(action: Callable[[], object], count: int = 1) -> float:
    """Best of several rounds, in microseconds per item: the machine may have other work."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times) / count * 1e6


def virtual_server(number: int, dests: int, weight: int = 1) -> VirtualServer:
    """The number-th virtual server with so many real servers."""
    reals = tuple(
        RealServer(ip_address(f"10.0.{one // 250}.{one % 250 + 1}"), 80, weight)
        for one in range(dests)
    )
    return VirtualServer(
        address=ip_address(int(ip_address("172.16.0.0")) + number),
        protocol=Protocol.TCP,
        port=80,
        scheduler="mh",
        flags=("fallback", "port"),
        forwarding=Forwarding.DSR,
        service=ObjectKey("bench", str(number)),
        real_servers=reals,
    )


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
    bodies = encode_changes(adds)
    raw, decoder = a_reply(), DestDecoder()
    place = decode.Message(28, 2, 1, 0, len(raw))
    decoder.decode(raw, place)
    datagram = bytes(raw) * 80

    def learned() -> None:
        for message in decode.messages(datagram, len(datagram)):
            decoder.decode(datagram, message)

    def walk() -> None:
        for _ in range(COUNT):
            decode.dest(raw, place)

    def status() -> None:
        for _ in range(COUNT):
            decode.dest_status(raw, place)

    return {
        "encode add real server": best(lambda: frames(encode_changes(adds)), COUNT),
        "decode real server, learned layout": best(learned, 80),
        "decode real server, attribute walk": best(walk, COUNT),
        "decode real server with counters": best(status, COUNT),
        "frame only": best(lambda: frames(bodies), COUNT),
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

    return {
        "encode add real server": best(add, COUNT // 10),
        "decode real server, learned layout": best(read, COUNT // 10),
    }


def agents_share() -> dict[str, float]:
    """Pure Python between an event and the kernel, for a virtual server of 100 real servers."""
    before, after = virtual_server(1, 100), virtual_server(1, 100, weight=2)
    actual, wanted = desired_entry(before), desired_entry(after)
    one = [SetDest(wanted.service.key, wanted.dests[50])]
    return {
        "plan -> desired, 100 real servers": best(lambda: desired_entry(after)),
        "diff, nothing changed": best(lambda: diff_entry(actual, desired_entry(before))),
        "diff, all weights changed": best(lambda: diff_entry(wanted, actual)),
        "encode one weight": best(lambda: frames(encode_changes(one))),
    }


def timed(action: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and its value."""
    begun = time.perf_counter()
    value = action()
    return time.perf_counter() - begun, value


def owned(_address: IPAddress) -> bool:
    """Everything is ours here."""
    return True


def flip(table: IpvsTable, number: int) -> float:
    """Milliseconds of one weight's way: read the virtual server, diff, send."""
    server = virtual_server(number, 100)
    reals = list(server.real_servers)
    reals[7] = RealServer(reals[7].address, 80, 2)
    changed = msgspec.structs.replace(server, real_servers=tuple(reals))
    spent, done = timed(
        lambda: reconcile_virtual_server(table, service_key(changed), desired_entry(changed))
    )
    assert len(done.changes) == 1
    return spent * 1e3


def in_kernel() -> dict[str, float]:
    """Figures of a real kernel; seconds, except for the flips in milliseconds."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    servers = [virtual_server(number, 100) for number in range(1000)]
    table = IpvsTable()
    prepare, desired = timed(lambda: desired_from(servers))
    cold, done = timed(lambda: reconcile_ipvs(table, desired, owned))
    done.raise_for_failures()
    changes = len(done.changes)
    del done
    first, _ = timed(table.dump)
    again, actual = timed(table.dump)
    assert actual == desired
    del actual
    noop, done = timed(lambda: reconcile_ipvs(table, desired, owned))
    assert not done.changed
    status, _ = timed(table.status)
    flips = sorted(flip(table, number) for number in range(300))
    return {
        "plan -> desired, 1000 x 100": prepare,
        "empty -> 1000 x 100 under mh": cold,
        "changes of that": changes,
        "dump 1000 x 100, first": first,
        "dump 1000 x 100, again": again,
        "full pass, nothing to do": noop,
        "dump with counters": status,
        "one weight of 100: read, diff, send (ms, p50)": statistics.median(flips),
        "one weight of 100: read, diff, send (ms, p99)": flips[len(flips) * 99 // 100],
    }


def under_uml() -> dict[str, float]:
    """Run the kernel part in a guest and fetch its figures."""
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-") as out:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "fairlead_lab.uml",
                "run",
                "--mem",
                "1024M",
                "--out",
                out,
                "--",
                sys.executable,
                str(Path(__file__).resolve()),
                "--in-kernel",
                "--json",
                "/out/figures.json",
            ],
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "lab")},
        )
        figures: dict[str, float] = json.loads((Path(out) / "figures.json").read_text())["kernel"]
        return figures


def facts() -> dict[str, object]:
    """The machine, for whoever compares figures."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if "model name" in line), "?")
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def show(document: dict[str, Any]) -> None:
    """The small table."""
    host, peer = document["codec_us"], document["pyroute2_us"]
    print(f"{'CPU per message':48} {'ours':>10} {'pyroute2':>10} {'ratio':>8}")
    for name, value in host.items():
        other = peer.get(name)
        beside = f"{other:8.1f}us {other / value:7.0f}x" if other else ""
        print(f"{name:48} {value:8.2f}us {beside}")
    for name, value in document["agent_us"].items():
        print(f"{name:48} {value:8.2f}us")
    for name, value in document.get("kernel", {}).items():
        unit = "" if "changes" in name or "(ms" in name else " s"
        print(f"{name:48} {value:8.3f}{unit}" if isinstance(value, float) else f"{name:48} {value}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--host-only", action="store_true")
    parser.add_argument("--in-kernel", action="store_true")
    options = parser.parse_args()
    if options.in_kernel:
        document = {"kernel": in_kernel()}
    else:
        document = {
            "machine": facts(),
            "codec_us": ours(),
            "pyroute2_us": pyroute2s(),
            "agent_us": agents_share(),
        }
        if not options.host_only:
            document["kernel"] = under_uml()
        show(document)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
