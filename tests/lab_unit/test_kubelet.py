# SPDX-License-Identifier: Apache-2.0
"""The kubelet's decisions: readiness, conditions, thresholds, addresses."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from fairlead_lab import probes
from fairlead_lab.kubelet_api import HttpGet, Pod, Probe, TcpSocket
from fairlead_lab.kubelet_sandbox import (
    FIRST_HOST,
    LAST_HOST,
    SandboxError,
    SandboxStore,
)
from fairlead_lab.kubelet_status import (
    READY_ANNOTATION,
    StatusWriter,
    conditions,
    contradicted,
    readiness,
)


def pod(
    *,
    annotations: dict | None = None,
    gates: list | None = None,
    status: dict | None = None,
    probed: tuple[bool, ...] = (True,),
) -> Pod:
    """A Pod with one container for each of `probed`, with a probe where it is true."""
    containers = [
        {"name": f"c{number}", **({"readinessProbe": {"tcpSocket": {"port": 80}}} if probe else {})}
        for number, probe in enumerate(probed)
    ]
    document = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations or {}},
        "spec": {
            "containers": containers,
            "readinessGates": [{"conditionType": gate} for gate in gates or []],
        },
        "status": status or {},
    }
    return msgspec.json.decode(json.dumps(document), type=Pod)


def test_container_with_probe_is_not_ready_before_its_first_success() -> None:
    assert readiness(pod(probed=(True, False)), {}, running=True) == {"c0": False, "c1": True}
    assert readiness(pod(), {"c0": True}, running=True) == {"c0": True}


def test_nothing_is_ready_without_a_process() -> None:
    assert readiness(pod(probed=(False,)), {}, running=False) == {"c0": False}
    forced = pod(annotations={READY_ANNOTATION: "true"})
    assert readiness(forced, {"c0": True}, running=False) == {"c0": False}


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("false", False), ("perhaps", True), (None, True)]
)
def test_annotation_overrides_probes(value: str | None, expected: bool) -> None:
    annotations = {} if value is None else {READY_ANNOTATION: value}
    assert readiness(pod(annotations=annotations), {"c0": True}, running=True) == {"c0": expected}
    if value == "true":
        overridden = readiness(pod(annotations=annotations), {"c0": False}, running=True)
        assert overridden == {"c0": True}


def test_readiness_gate_of_somebody_else_holds_ready_back() -> None:
    waiting = conditions(pod(gates=["example.com/lb"]), {"c0": True})
    assert (waiting["ContainersReady"], waiting["Ready"]) == (True, False)
    met = {"conditions": [{"type": "example.com/lb", "status": "True"}]}
    assert conditions(pod(gates=["example.com/lb"], status=met), {"c0": True})["Ready"]


def test_status_keeps_the_time_of_a_condition_that_did_not_change() -> None:
    writer = StatusWriter(("10.0.0.2", "fd00::2"), ("192.0.2.1",))
    first = writer.build(pod(), {"c0": True}, running=True, restarts=0)
    writer._since["Ready"] = (True, "2020-01-01T00:00:00Z")
    again = writer.build(pod(), {"c0": True}, running=True, restarts=0)
    changed = writer.build(pod(), {"c0": False}, running=True, restarts=0)

    def ready(status: dict) -> dict:
        return next(c for c in status["conditions"] if c["type"] == "Ready")

    assert ready(first)["status"] == "True"
    assert ready(again)["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert ready(changed)["status"] == "False"
    assert ready(changed)["lastTransitionTime"] != "2020-01-01T00:00:00Z"
    assert [entry["ip"] for entry in first["podIPs"]] == ["10.0.0.2", "fd00::2"]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("+", "r"),
        ("-", "u"),
        ("+--", "rrr"),
        ("+---", "rrru"),
        ("+--+---", "rrrrrru"),
        ("+---+", "rrrur"),
    ],
)
def test_threshold_counts_results_in_a_row(results: str, expected: str) -> None:
    threshold = probes.Threshold(success_threshold=1, failure_threshold=3)
    got = "".join("r" if threshold.feed(result == "+") else "u" for result in results)
    assert got == expected


def test_success_threshold_above_one() -> None:
    threshold = probes.Threshold(success_threshold=2, failure_threshold=1)
    assert [threshold.feed(ok) for ok in (True, False, True, True, False)] == [
        False, False, False, True, False,
    ]  # fmt: skip


def test_named_port_of_a_probe() -> None:
    target = probes.Target("127.0.0.1", "none", {"http": 8080})
    assert target.port("http") == 8080
    assert target.port("81") == 81
    assert target.port(82) == 82
    with pytest.raises(ValueError, match="https"):
        target.port("https")


@pytest.mark.parametrize(
    ("status", "expected"), [(200, True), (302, True), (399, True), (404, False), (503, False)]
)
def test_http_probe_by_status(status: int, expected: bool) -> None:
    async def scenario() -> bool:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            target = probes.Target("127.0.0.1", "none", {})
            return await probes.run_once(Probe(http_get=HttpGet(port=port)), target)

    assert asyncio.run(scenario()) is expected


def test_http_probe_of_a_mute_server_fails_after_its_timeout() -> None:
    async def scenario() -> tuple[bool, float]:
        async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await asyncio.sleep(30)
            finally:
                writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        target = probes.Target("127.0.0.1", "none", {})
        loop = asyncio.get_running_loop()
        begin = loop.time()
        got = await probes.run_once(Probe(http_get=HttpGet(port=port), timeout_seconds=1), target)
        server.close()
        return got, loop.time() - begin

    got, seconds = asyncio.run(scenario())
    assert not got
    assert 0.9 < seconds < 3


def test_tcp_probe_of_a_closed_port_fails() -> None:
    target = probes.Target("127.0.0.1", "none", {})
    assert not asyncio.run(probes.run_once(Probe(tcp_socket=TcpSocket(port=1)), target))


def store(folder: Path) -> SandboxStore:
    return SandboxStore(folder, "lab", "10.244.1.0/24", "fd00:244:1::/64")


def test_addresses_are_distinct_survive_a_restart_and_come_back_late(tmp_path: Path) -> None:
    first = store(tmp_path)
    one, two = first.reserve("u1", "n/one"), first.reserve("u2", "n/two")
    assert (one.ipv4, two.ipv4) == ("10.244.1.2", "10.244.1.3")
    assert two.ipv6 == "fd00:244:1::3"
    assert one.netns != two.netns
    again = store(tmp_path)
    assert again.reserve("u1", "n/one") == one
    assert {sandbox.uid for sandbox in again.known()} == {"u1", "u2"}
    third = first.reserve("u3", "n/three")
    assert third.ipv4 == "10.244.1.4"


def test_names_fit_the_kernel(tmp_path: Path) -> None:
    sandbox = SandboxStore(tmp_path, "abcdefghi", "10.244.1.0/24", "fd00::/64").reserve("u", "n/p")
    assert len(sandbox.link) <= 15


def test_full_node_says_so(tmp_path: Path) -> None:
    full = store(tmp_path)
    for number in range(LAST_HOST - FIRST_HOST + 1):
        full.reserve(f"u{number}", "n/p")
    with pytest.raises(SandboxError, match=r"10\.244\.1\.0/24"):
        full.reserve("one more", "n/p")


def test_record_cut_short_by_a_crash_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "u1.json").write_text('{"uid": "u1", ')
    assert store(tmp_path).known() == []
    assert not (tmp_path / "u1.json").exists()


@pytest.mark.parametrize(
    ("ready", "expected"), [("True", False), ("False", True), (None, True)], ids=str
)
def test_what_somebody_else_wrote_over_the_status_is_seen(
    ready: str | None, expected: bool
) -> None:
    """The node controller does so with the pods of a node that it lost."""
    status = StatusWriter(("10.0.0.1",), ("192.0.2.1",)).build(
        pod(probed=(False,)), {"c0": True}, running=True, restarts=0
    )
    held = [{"type": one["type"], "status": one["status"]} for one in status["conditions"]]
    held = [one | {"status": ready} if one["type"] == "Ready" else one for one in held]
    stands = pod(status={"conditions": [one for one in held if one["status"] is not None]})
    assert contradicted(stands, status) is expected
