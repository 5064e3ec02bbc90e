# SPDX-License-Identifier: Apache-2.0
"""`vrrp`: keepalived's file, under the eyes of keepalived itself."""

import json
import subprocess

import pytest

from support.harness import wait_for
from support.modules import SYSTEM_PYTHON, fail_module, run_module

CONF = "/etc/fairlead/keepalived/vrrp.conf"
VIPS = ["192.0.2.160", "2001:db8::a0"]


def plan(*addresses, **changes):
    instance = {
        "instance": "fairlead",
        "interface": "eth0",
        "vrid": 51,
        "priority": 200,
        "advert_interval": 0.1,
        "preempt": False,
        "source": "192.0.2.11",
        "peers": ["192.0.2.12"],
        "advertised_address": "192.0.2.9/24",
        "addresses": list(addresses),
        **changes,
    }
    return {"virtual_servers": [], "addresses": [], "vrrp": [instance], "bgp": []}


def vrrp(edge, wanted, **options):
    return run_module("vrrp", {"plan": wanted}, place=edge, **options)


def test_the_distributions_python_hands_over_to_the_shipped_one(edge):
    assert vrrp(edge, plan(*VIPS), python=SYSTEM_PYTHON)["path"] == CONF
    said = fail_module("vrrp", {"plan": {}}, place=edge, python=SYSTEM_PYTHON)
    assert "Object missing required field" in said


def test_check_then_do_then_nothing(edge):
    foreseen = vrrp(edge, plan(*VIPS), check=True)
    assert foreseen["changed"]
    assert edge.files() == {}, "check mode wrote"
    done = vrrp(edge, plan(*VIPS))
    assert done["diff"] == foreseen["diff"]
    assert done["path"] == CONF
    assert done["diff"]["after"] == edge.path(CONF).read_text()
    assert all(vip in done["diff"]["after"] for vip in VIPS)
    again = vrrp(edge, plan(*VIPS))
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"]


def test_diff_shows_the_one_line_that_changes(edge):
    vrrp(edge, plan("192.0.2.160"))
    diff = vrrp(edge, plan("192.0.2.160", "192.0.2.161"))["diff"]
    before, after = diff["before"].splitlines(), diff["after"].splitlines()
    added = [line for line in after if line not in before]
    assert len(added) == 1
    assert "192.0.2.161" in added[0]


def test_running_keepalived_takes_a_new_vip_without_a_restart(edge):
    edge.path("/etc/keepalived/keepalived.conf").write_text(
        "include /etc/fairlead/keepalived/*.conf\n"
    )
    vrrp(edge, plan("192.0.2.160"))
    argv = [*edge.enter(), "keepalived", "-n", "-P", "-l"]
    daemon = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the first VIP", lambda: "192.0.2.160" in addresses(edge))
        pid = edge.path("/run/keepalived.pid").read_text()
        vrrp(edge, plan("192.0.2.161"))
        wait_for("the new VIP", lambda: "192.0.2.161" in addresses(edge))
        wait_for("the old VIP gone", lambda: "192.0.2.160" not in addresses(edge))
        assert edge.path("/run/keepalived.pid").read_text() == pid
    finally:
        daemon.kill()
        daemon.wait()


def addresses(edge):
    shown = json.loads(edge.run("ip", "-j", "address", "show", "dev", "eth0"))
    return {entry["local"] for link in shown for entry in link["addr_info"]}


@pytest.mark.parametrize("check", [True, False])
def test_what_keepalived_refuses_never_becomes_the_live_file(edge, check):
    vrrp(edge, plan(*VIPS))
    before = edge.files()
    twice = plan(*VIPS)
    twice["vrrp"] += [{**twice["vrrp"][0], "instance": "other"}]
    said = fail_module("vrrp", {"plan": twice}, place=edge, check=check)
    assert said.startswith(f"{CONF}: not replaced, keepalived refused the new text")
    assert edge.files() == before


@pytest.mark.parametrize("check", [True, False])
def test_an_interface_that_is_not_there_is_named_and_nothing_is_written(edge, check):
    vrrp(edge, plan(*VIPS))
    before = edge.files()
    wanted = plan(*VIPS, interface="nosuch0")
    said = fail_module("vrrp", {"plan": wanted}, place=edge, check=check)
    assert said.startswith(f"{CONF}: nothing was written")
    assert "nosuch0" in said
    assert edge.files() == before


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (plan(source="192.0.2.300"), "'192.0.2.300' is not an IP address"),
        (plan(vrid="51"), "Expected `int`, got `str` - at `$.vrrp[0].vrid`"),
        ({"vrrp": []}, "Object missing required field `virtual_servers`"),
    ],
)
def test_bad_plans_are_refused(wanted, said, edge):
    assert said in fail_module("vrrp", {"plan": wanted}, place=edge)
    assert CONF not in edge.files()


def test_the_lock_is_waited_for_and_its_holder_named(edge):
    lock = edge.path("/run/fairlead/edge.lock")
    lock.touch()
    argv = [*edge.enter(), "flock", "/run/fairlead/edge.lock", "sleep", "60"]
    holder = subprocess.Popen(argv)
    try:
        wait_for("the lock taken", lambda: not _free(edge))
        params = {"plan": plan(*VIPS), "lock_timeout": 0.2}
        said = fail_module("vrrp", params, place=edge)
        assert "the edge is being changed by" in said
        assert "try again when it has finished" in said
        assert vrrp(edge, plan(*VIPS), check=True)["changed"], "check mode takes no lock"
    finally:
        holder.kill()
        holder.wait()


def _free(edge):
    argv = [*edge.enter(), "flock", "--nonblock", "/run/fairlead/edge.lock", "true"]
    return subprocess.run(argv, check=False).returncode == 0
