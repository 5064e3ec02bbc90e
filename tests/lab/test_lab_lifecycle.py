# SPDX-License-Identifier: Apache-2.0
"""The lab itself: up and down any number of times, over what a killed run left, side by side.

These labs are the test's own (other names, other indices) and have no cluster.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead_lab import edges, netns, network, process
from fairlead_lab.config import LabConfig

pytestmark = pytest.mark.lab

ONE, TWO = LabConfig("lifea", 241), LabConfig("lifeb", 242)
LAB = Path(__file__).resolve().parents[2] / "lab/lab"


def command(cfg: LabConfig, *args: str) -> list[str]:
    return [str(LAB), "--name", cfg.name, "--index", str(cfg.index), *args]


def lab(cfg: LabConfig, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(cfg, *args), check=False, capture_output=True, text=True, timeout=280
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def remains(cfg: LabConfig) -> list[str]:
    """Everything on this machine that has the lab's name."""
    links = json.loads(netns.run(["ip", "-j", "link", "show"]).stdout)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [
        *netns.names(f"{cfg.name}-"),
        *(link["ifname"] for link in links if link["ifname"].startswith(cfg.name)),
        *(line for line in mounts if cfg.name in line),
        *(f"process {pid}" for pid in process.marked(f"{process.MARK}={cfg.name}".encode())),
        *(str(path) for path in (cfg.state_dir, cfg.disk_dir) if path.exists()),
    ]


def answers(host: str | None, address: str) -> bool:
    ping = ["ping", "-q", "-c1", "-W1", address]
    return netns.run(ping, host, check=False).returncode == 0


def network_works(cfg: LabConfig) -> bool:
    client = cfg.netns("client")
    return (
        answers(None, cfg.client_address)
        and answers(None, cfg.address6("client"))
        and answers(client, cfg.rclient_address)
        and answers(client, cfg.rclient_address6)
        and process.alive(cfg, "router-bird")
    )


def wait_for(probe: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Every test begins and ends without a trace of its labs."""
    for cfg in (ONE, TWO):
        lab(cfg, "down")
        assert remains(cfg) == []
    yield
    for cfg in (ONE, TWO):
        lab(cfg, "down")
        assert remains(cfg) == []


def test_up_and_down_twice():
    for _ in range(2):
        for _ in range(2):
            lab(ONE, "up", "--only", "network")
            assert network_works(ONE)
        before = process.load(ONE, "router-bird")
        lab(ONE, "up", "--only", "network")
        assert process.load(ONE, "router-bird") == before, "what stands is left alone"
        for _ in range(2):
            lab(ONE, "down")
            assert remains(ONE) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_up_goes_on_from_wherever_a_run_was_stopped(number: signal.Signals):
    """Stopped after each namespace in turn: before it is complete, while it is being filled."""
    for host in ("lan", "router", "client", "rclient"):
        with subprocess.Popen(
            command(ONE, "up", "--only", "network"), stderr=subprocess.DEVNULL
        ) as run:
            wait_for(
                lambda host=host, run=run: netns.exists(ONE.netns(host)) or run.poll() is not None
            )
            run.send_signal(number)
        lab(ONE, "up", "--only", "network")
        assert network_works(ONE)
        lab(ONE, "down")
        assert remains(ONE) == []


def test_down_clears_what_a_killed_run_left():
    with subprocess.Popen(
        command(ONE, "up", "--only", "network"), stderr=subprocess.DEVNULL
    ) as run:
        wait_for(lambda: netns.exists(ONE.netns("client")) or run.poll() is not None)
        run.kill()
    lab(ONE, "down")
    assert remains(ONE) == []


def test_half_made_things_are_mended():
    """A name without a namespace, a cable with one end off the bridge, a record of a stranger."""
    lab(ONE, "up", "--only", "network")
    netns.delete_netns(ONE.netns("rclient"))
    (netns.NETNS_DIR / ONE.netns("rclient")).touch()
    netns.batch(ONE.netns("lan"), "link set client nomaster")
    process.stop(ONE, "router-bird")
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            record = {"name": "router-bird", "pid": stranger.pid, "start": 1, "argv": []}
            (ONE.state_dir / "pids/router-bird.json").write_text(json.dumps(record))
            lab(ONE, "up", "--only", "network")
            assert network_works(ONE)
            lab(ONE, "down")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_two_labs_stand_side_by_side():
    first, second = (
        subprocess.Popen(command(cfg, "up", "--only", "network"), stderr=subprocess.DEVNULL)
        for cfg in (ONE, TWO)
    )
    with first, second:
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert network_works(ONE)
    assert network_works(TWO)
    assert not answers(ONE.netns("client"), TWO.client_address)
    lab(ONE, "down")
    assert remains(ONE) == []
    assert network_works(TWO)


def test_two_labs_cannot_have_one_index():
    lab(ONE, "up", "--only", "network")
    done = lab(LabConfig("lifeb", ONE.index), "up", "--only", "network", check=False)
    assert done.returncode == 1
    assert f"another lab has the index {ONE.index}" in done.stderr
    assert remains(TWO) == []
    done = lab(LabConfig("lifea", 250), "up", "--only", "network", check=False)
    assert f"stands with index {ONE.index}, not 250" in done.stderr


def test_cables_are_pulled_and_put_back():
    lab(ONE, "up", "--only", "network")
    for host, address in (("client", ONE.client_address), ("rclient", ONE.rclient_address)):
        lab(ONE, "cut", host)
        assert not answers(ONE.netns("router"), address)
        lab(ONE, "heal", host)
        wait_for(lambda address=address: answers(ONE.netns("router"), address))
    assert lab(ONE, "cut", "nobody", check=False).stderr.startswith("lab: no cable to 'nobody'")


def test_guests_boot_over_what_a_killed_run_left_and_obey_their_switches():
    with subprocess.Popen(command(ONE, "up", "--only", "edges"), stderr=subprocess.DEVNULL) as run:
        wait_for(lambda: process.alive(ONE, "edge2") or run.poll() is not None, 250)
        run.kill()
    lab(ONE, "up", "--only", "edges")
    for edge in ONE.edges:
        assert lab(ONE, "ssh", edge, "hostname").stdout == f"{edge}\n"
        assert answers(None, ONE.address6(edge))
    installed = lab(ONE, "ssh", "edge1", "dpkg-query -W -f='${Package}\\n'").stdout.split()
    assert not {"keepalived", "bird2", "ipvsadm", "fairlead"} & set(installed), "guests are bare"
    lab(ONE, "ssh", "edge1", "modprobe ip_vs && apt-get -qq update && apt-get -qq download ipvsadm")

    lab(ONE, "freeze", "edge2")
    assert not answers(None, ONE.address("edge2"))
    assert json.loads(lab(ONE, "status", "--json").stdout)["edges"]["edge2"]["frozen"]
    lab(ONE, "thaw", "edge2")
    wait_for(lambda: edges.greets(ONE, "edge2"))

    lab(ONE, "cut", "edge2")
    assert not answers(None, ONE.address("edge2"))
    assert not network.ports(ONE)["edge2"]
    lab(ONE, "heal", "edge2")
    wait_for(lambda: answers(None, ONE.address("edge2")))

    boot = "cat /proc/sys/kernel/random/boot_id"
    before = lab(ONE, "ssh", "edge1", f"touch /root/kept; sync; {boot}").stdout
    lab(ONE, "reboot", "edge1")
    after = lab(ONE, "ssh", "edge1", f"ls /root/kept >&2 && {boot}").stdout
    assert before != after
    lab(ONE, "power", "edge1", "off")
    assert not answers(None, ONE.address("edge1"))
    lab(ONE, "power", "edge1", "on")
    assert lab(ONE, "ssh", "edge1", boot).stdout not in {before, after}


def test_a_guest_that_powers_itself_off_stays_off():
    lab(ONE, "up", "--only", "edges")
    lab(ONE, "ssh", "edge1", "systemctl poweroff", check=False)
    wait_for(lambda: not process.alive(ONE, "edge1"), 60)
    assert network.ports(ONE)["edge1"]
    assert process.alive(ONE, "edge2")


def test_a_second_command_waits_for_the_first():
    with subprocess.Popen(
        command(ONE, "up", "--only", "network"), stderr=subprocess.DEVNULL
    ) as run:
        wait_for(lambda: netns.exists(ONE.netns("lan")) or run.poll() is not None)
        os.kill(run.pid, signal.SIGSTOP)
        with subprocess.Popen(command(ONE, "down"), stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            assert "waiting for it" in second.stderr.readline()
            os.kill(run.pid, signal.SIGCONT)
            assert run.wait(60) == 0
            assert second.wait(60) == 0
    assert remains(ONE) == []
