# SPDX-License-Identifier: Apache-2.0
"""Responder and traffic tool against each other, and each against a bad partner, on loopback."""

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead_lab import traffic
from fairlead_lab.traffic import Summary, arguments, make_spec, parse_target, parser, spec_of
from fairlead_lab.traffic_engine import Engine, TrafficSpec

RESPONDER = Path(traffic.__file__).with_name("responder.py")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def responder() -> Iterator[tuple[subprocess.Popen, int]]:
    """A responder on one port number, TCP and UDP."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(RESPONDER), "--pod", "ns/pod-a", "--node", "node1",
         f"TCP/{port}", f"UDP/{port}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(target: str, during: Callable[[Engine], None] | None = None, **options: object) -> Summary:
    """A run in this process; `during` is called in a thread once it has begun."""
    spec = make_spec(target, **options)

    async def scenario() -> Summary:
        engine = Engine(spec)
        if during is not None:
            asyncio.get_running_loop().run_in_executor(None, during, engine)
        await engine.run()
        return traffic.summarize(spec, engine.tally, engine.finished - engine.started)

    return asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_every_request_is_answered_and_named(responder, host: str, protocol: str) -> None:
    _, port = responder
    met = run(f"{host}:{port}/{protocol}", rate=1000, count=100)
    assert (met.requests, met.answered, met.lost) == (100, 100, 0)
    assert met.per_pod == {"pod-a": 100}
    assert met.per_node == {"node1": 100}
    assert met.clients == {host.strip("[]"): 100}
    assert met.latency_p50_ms is not None
    assert met.latency_p50_ms < 100


def test_answer_says_who_answered_whom(responder) -> None:
    _, port = responder
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"one\ntwo\n")
        stream = sock.makefile("rb")
        first, second = json.loads(stream.readline()), json.loads(stream.readline())
        stream.close()
        assert first == {
            "namespace": "ns", "pod": "pod-a", "node": "node1", "client": "127.0.0.1",
            "client_port": sock.getsockname()[1], "protocol": "TCP", "port": port,
            "counter": 1, "echo": "one",
        }  # fmt: skip
        assert (second["counter"], second["echo"]) == (2, "two")


def test_http_keeps_the_connection_and_healthz_follows_the_switch(responder) -> None:
    _, port = responder
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)

    def get(path: str) -> int:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert get("/") == 200
    sock = connection.sock
    assert get("/healthz") == 200
    assert get("/unready") == 200
    assert get("/healthz") == 503
    assert get("/any") == 200
    assert get("/ready") == 200
    assert get("/healthz") == 200
    connection.request("POST", "/", body=b"GET / HTTP/1.1\r\n\r\n" * 10)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["pod"]) == (200, "pod-a")
    assert get("/") == 200
    assert connection.sock is sock
    connection.close()


def test_drain_ends_after_the_last_connection_and_takes_new_ones_until_then(responder) -> None:
    process, port = responder
    held = socket.create_connection(("127.0.0.1", port))
    process.send_signal(signal.SIGTERM)
    time.sleep(2.6)  # longer than the quiet time: the open connection holds it
    assert process.poll() is None
    assert run(f"127.0.0.1:{port}/tcp", count=1).answered == 1
    with held:
        held.sendall(b"still\n")
        assert b"still" in held.recv(1000)
    assert process.wait(timeout=5) == 0


def test_held_connections_notice_a_killed_partner(responder) -> None:
    process, port = responder

    def kill(engine: Engine) -> None:
        while engine.tally.answered < 40:
            time.sleep(0.01)
        process.kill()

    met = run(f"127.0.0.1:{port}/tcp", kill, mode="held", connections=8, duration=20)
    assert met.connections == met.broken == 8
    assert met.stalled == 0
    assert met.lost == 8
    assert sum(met.errors.values()) == 8
    assert met.seconds < 10


def test_held_connections_notice_a_standstill_and_its_length(responder) -> None:
    process, port = responder

    def freeze(engine: Engine) -> None:
        while engine.tally.answered < 20:
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        process.send_signal(signal.SIGCONT)

    met = run(f"127.0.0.1:{port}/tcp", freeze, mode="held", connections=4, duration=2.5, stall=0.3)
    assert (met.stalled, met.broken, met.lost) == (4, 0, 0)
    assert 750 < met.longest_gap_ms < 1500


def test_standstill_to_the_end_is_lost(responder) -> None:
    process, port = responder

    def freeze(engine: Engine) -> None:
        while engine.tally.answered < 20:
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)

    met = run(f"127.0.0.1:{port}/tcp", freeze, mode="held", connections=4, duration=1.5, stall=0.3)
    assert (met.stalled, met.lost, met.broken) == (4, 4, 0)
    assert met.errors == {"no answer": 4}


def test_outage_counts_in_full_although_requests_time_out(responder) -> None:
    """The timetable goes on: an outage of 1 s at 100/s loses about 100 requests."""
    process, port = responder

    def outage(engine: Engine) -> None:
        while engine.tally.answered < 20:
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)

    met = run(f"127.0.0.1:{port}/tcp", outage, rate=100, duration=2, timeout=0.3)
    assert met.requests == 200
    assert 50 <= met.lost <= 110
    assert met.errors == {"timeout": met.lost}
    assert 650 < met.longest_gap_ms < 1600


def test_refusal_and_silence_are_told_apart() -> None:
    refused = run(f"127.0.0.1:{free_port()}/tcp", count=5)
    assert (refused.lost, refused.errors) == (5, {"refused": 5})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        silent = run(f"127.0.0.1:{mute.getsockname()[1]}/udp", count=3, timeout=0.2)
    assert (silent.lost, silent.errors) == (3, {"timeout": 3})


def test_strange_answer_is_not_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                sock, _peer = server.accept()
                sock.recv(100)
                sock.sendall(b'{"hello": 1}\n')
                sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        met = run(f"127.0.0.1:{server.getsockname()[1]}/tcp", count=2)
        thread.join()
    assert (met.answered, met.lost, met.errors) == (0, 2, {"garbled": 2})


def test_sources_take_turns(responder) -> None:
    _, port = responder
    met = run(f"127.0.0.1:{port}/tcp", count=10, rate=500, sources=("127.0.0.2", "127.0.0.3"))
    assert met.clients == {"127.0.0.2": 5, "127.0.0.3": 5}


def test_late_answer_on_a_flow_is_not_taken_for_the_next(responder) -> None:
    _, port = responder
    met = run(f"127.0.0.1:{port}/udp", count=50, rate=500, connections=2)
    assert (met.answered, met.lost) == (50, 0)


def test_command_line_prints_a_summary_also_when_interrupted(responder) -> None:
    _, port = responder
    process = subprocess.Popen(
        [sys.executable, "-m", "fairlead_lab.traffic", "--target", f"127.0.0.1:{port}/tcp",
         "--duration", "60", "--progress"],
        stdout=subprocess.PIPE, text=True, cwd=RESPONDER.parent.parent,
    )  # fmt: skip
    handle = traffic.Handle(process)
    handle.wait_answers(5)
    met = handle.stop()
    assert met.answered >= 5
    assert met.lost == 0
    assert met.seconds < 30
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1:80/tcp", ("192.0.2.1", 80, "tcp")),
        ("192.0.2.1:53/udp", ("192.0.2.1", 53, "udp")),
        ("[fd00::1]:80", ("fd00::1", 80, "tcp")),
    ],
)
def test_target_is_parsed(text: str, expected: tuple[str, int, str]) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize("text", ["", "192.0.2.1", "192.0.2.1:0", "fd00::1:80", "x:80/sctp"])
def test_bad_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ADDRESS:PORT"):
        parse_target(text)


@pytest.mark.parametrize(
    "spec",
    [
        TrafficSpec("192.0.2.1", 80),
        TrafficSpec("fd00::1", 53, mode="udp", connections=3, count=7),
        TrafficSpec("192.0.2.1", 80, mode="held", connections=9, interval=0.2, stall=3.0,
                    sources=("192.0.2.7", "192.0.2.8")),
    ],
)  # fmt: skip
def test_command_line_and_spec_say_the_same(spec: TrafficSpec) -> None:
    assert spec_of(parser().parse_args(arguments(spec))) == spec
