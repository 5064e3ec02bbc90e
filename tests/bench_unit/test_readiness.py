# SPDX-License-Identifier: Apache-2.0
"""What the readiness benchmark makes of the moments that it saw."""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from bench.readiness_bench import bench_lab, figures, growth, legs, ratio, summary
from bench.readiness_cluster import (
    MOST_BYTES,
    MOST_KEYS,
    Cluster,
    Keyed,
    Size,
    batches,
    cluster_address,
    endpoint_slice,
    node,
    service,
)
from hypothesis import given
from hypothesis import strategies as st


def _series(*latencies: float, flips: int, cpu: float = 0.3) -> dict[str, Any]:
    return {
        "rows": [{"patch_to_kernel": one} for one in latencies],
        "flips": flips,
        "cpu": cpu,
        "rss_mb": 100.0,
        "peak_mb": 120.0,
        "clock_error": 0.0001,
        "clock_drift": -0.0002,
    }


def _size(services: int, endpoints: int, *, cpu: float = 0.5, agent: float = 9.0) -> dict[str, Any]:
    leg = {"p50": 1.0, "p99": 4.0}
    row = {
        "socket_to_kernel": leg,
        "patch_to_kernel": {"p50": agent, "p99": 20.0},
        "cpu_ms_per_event": cpu,
        "rss_mb": 90.0,
        "flips": 300,
    }
    floor = {"patch_to_kernel": {"p50": 6.0, "p99": 12.0}}
    return {
        "services": services,
        "endpoints": endpoints,
        "cold_start_s": 2.0,
        "agent": row,
        "floor": floor,
    }


def test_only_legs_between_two_clocks_are_corrected() -> None:
    # The guest's clock is 100 s ahead.
    row = {"sent": 10.0, "answered": 10.006, "packet": 110.005, "done": 110.0065}
    assert legs(row, offset=100.0) == pytest.approx(
        {
            "patch_to_socket": 0.005,
            "socket_to_kernel": 0.0015,
            "patch_to_kernel": 0.0065,
            "patch_answer": 0.006,
        }
    )


def test_series_of_one_program_are_taken_together() -> None:
    found = summary([_series(0.001, 0.002, flips=3), _series(0.003, 0.010, flips=2, cpu=0.2)])
    assert found["patch_to_kernel"] == {"p50": 2.5, "p99": 10.0}
    assert (found["flips"], found["lost"]) == (5, 1)
    assert found["cpu_ms_per_event"] == 100.0
    assert (found["clock_error_ms"], found["clock_drift_ms"]) == (0.1, 0.2)


def test_a_program_that_does_nothing_is_no_result() -> None:
    with pytest.raises(SystemExit, match="none of 4 flips"):
        summary([_series(flips=4)])


def test_the_ratio_is_agent_over_floor() -> None:
    assert ratio(_size(10, 10, agent=9.0)) == 1.5


def test_growth_compares_slices_of_one_size() -> None:
    sizes = [_size(10, 10, cpu=0.5), _size(1000, 100, cpu=3.0), _size(10000, 10, cpu=0.6)]
    (found,) = growth(sizes)
    assert found.value == pytest.approx(1.2)
    assert found.what.endswith("10 to 10,000 Services")
    assert growth(sizes[:2]) == ()


def test_goals_are_at_the_sizes_that_the_design_names() -> None:
    found = figures([_size(10, 10), _size(1000, 100), _size(10000, 10)])
    goals = {one.what: one.goal for one in found if one.goal is not None}
    assert goals == {
        **{f"flip {n}: PATCH -> kernel / floor": 1.5 for n in ("10 x 10", "1,000 x 100")},
        **{f"flip {n}: agent CPU": 1.0 for n in ("10 x 10", "1,000 x 100", "10,000 x 10")},
        "flip 10,000 x 10: PATCH -> kernel / floor": 1.5,
        "flip 1,000 x 100: socket -> kernel, p50": 2.0,
        "flip 1,000 x 100: socket -> kernel, p99": 10.0,
        "agent memory, 1,000 x 100 endpoints": 150.0,
        "agent memory, 10,000 x 10 endpoints": 150.0,
        "flip: agent CPU, 10 to 10,000 Services": 1.5,
    }


def test_the_first_node_has_two_endpoints_and_each_other_one() -> None:
    size = Size.parse("3x10")
    _, value = endpoint_slice(2, size.endpoints)
    nodes = [one["nodeName"] for one in value["endpoints"]]
    assert nodes == ["n000", "n000", *(f"n{number:03}" for number in range(1, size.nodes))]


def test_everything_has_an_address_a_key_and_a_uid_of_its_own() -> None:
    slices = [endpoint_slice(number, 100) for number in range(300)]
    pods = [one["addresses"][0] for _, value in slices for one in value["endpoints"]]
    assert len(set(pods)) == len(pods)
    others = [make(number) for make in (service, cluster_address, node) for number in range(300)]
    objects = [*slices, *others]
    assert len({key for key, _ in objects}) == len(objects)
    assert len({value["metadata"]["uid"] for _, value in objects}) == len(objects)


class Recorder:
    """Notes keys, and lists so many objects of every kind."""

    def __init__(self, known: int = 1000) -> None:
        self.keys: list[str] = []
        self.known = known

    def put(self, objects: Iterable[Keyed]) -> None:
        self.keys += [key.rpartition("/registry/")[2] for key, _ in objects]

    def request(self, *_args: object, **_rest: object) -> bytes:
        return msgspec.json.encode({"kind": "List", "items": [{}] * self.known})


def _cluster(recorder: Recorder) -> Cluster:
    return Cluster(recorder, recorder)  # type: ignore[arg-type]


def test_what_the_api_server_does_not_learn_of_is_no_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.readiness_cluster.KNOWN_SECONDS", 0.01)
    with pytest.raises(TimeoutError, match="does not list 2 objects"):
        _cluster(Recorder(known=1)).fill(Size(2, 10))


def test_a_larger_size_adds_services_and_rewrites_slices() -> None:
    recorder = Recorder()
    cluster = _cluster(recorder)
    cluster.fill(Size(2, 10))
    recorder.keys.clear()
    cluster.fill(Size(3, 11))
    assert recorder.keys == [
        "minions/n009",
        "ipaddresses/10.96.64.2",
        "services/specs/default/s2",
        *(f"endpointslices/default/s{number}" for number in range(3)),
    ]


@given(st.lists(st.integers(0, MOST_BYTES * 2 // 3), max_size=6), st.integers(0, 250))
def test_a_transaction_is_as_large_as_etcd_takes_it(large: list[int], small: int) -> None:
    objects = [(str(at), {"x": "y" * size}) for at, size in enumerate([*large, *([1] * small)])]
    found = list(batches(objects))
    assert all(0 < len(puts) <= MOST_KEYS for puts in found)
    for puts in found:
        sizes = [len(base64.b64decode(put["requestPut"]["value"])) for put in puts]
        assert sum(sizes) <= MOST_BYTES
    keys = [base64.b64decode(put["requestPut"]["key"]).decode() for puts in found for put in puts]
    assert keys == [key for key, _ in objects]


def test_a_cluster_does_not_shrink() -> None:
    cluster = _cluster(Recorder())
    cluster.fill(Size(2, 10))
    with pytest.raises(ValueError, match="grow only"):
        cluster.fill(Size(1, 10))


def test_the_lab_of_the_benchmark_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_LAB", "longnamed")
    monkeypatch.setenv("FAIRLEAD_LAB_INDEX", "200")
    lab = bench_lab()
    assert (lab.name, lab.index) == ("blongname", 72)
