# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of a lab."""

import ipaddress

import pytest

from fairlead_lab.config import ConfigError, LabConfig
from fairlead_lab.edges import mac
from fairlead_lab.router import bird_conf

HOSTS = ("router", "vrrp", "cp", "edge1", "edge2", "node1", "node2", "node3", "client", "root")


def test_the_plan_of_the_first_lab():
    cfg = LabConfig()
    assert {host: cfg.address(host) for host in HOSTS} == {
        "router": "10.222.0.1",
        "vrrp": "10.222.0.9",
        "cp": "10.222.0.10",
        "edge1": "10.222.0.11",
        "edge2": "10.222.0.12",
        "node1": "10.222.0.101",
        "node2": "10.222.0.102",
        "node3": "10.222.0.103",
        "client": "10.222.0.200",
        "root": "10.222.0.254",
    }
    assert cfg.address6("node1") == "fd00:222::65"
    assert cfg.lan_pool == ("10.222.0.160/27", "fd00:222:0::a0/123")


@pytest.mark.parametrize("index", [0, 10, 77, 255])
def test_every_address_lies_in_its_lab(index: int):
    cfg = LabConfig("x", index)
    for host in HOSTS:
        assert ipaddress.ip_address(cfg.address(host)) in ipaddress.ip_network(cfg.lan4)
        assert ipaddress.ip_address(cfg.address6(host)) in ipaddress.ip_network(cfg.lan6)
    pools = [ipaddress.ip_network(pool) for pool in cfg.lan_pool]
    for host in HOSTS:
        assert not any(ipaddress.ip_address(cfg.address(host)) in pool for pool in pools)


def test_two_labs_share_no_address_and_no_name():
    one, two = LabConfig("fl", 0), LabConfig("fl2", 1)
    assert not {one.address(h) for h in HOSTS} & {two.address(h) for h in HOSTS}
    assert not {one.netns(h) for h in HOSTS} & {two.netns(h) for h in HOSTS}
    assert not two.netns("lan").startswith(f"{one.name}-")
    assert mac(one, "edge1") != mac(two, "edge1") != mac(two, "edge2")


@pytest.mark.parametrize("name", ["", "Fl", "1st", "a-b", "far2longname", "a/b", "..", "a\n"])
def test_a_name_that_no_link_or_folder_can_have_is_refused(name: str):
    with pytest.raises(ConfigError, match="lab name"):
        LabConfig(name)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FAIRLEAD_LAB_INDEX", "256"), ("FAIRLEAD_LAB_INDEX", "one"), ("FAIRLEAD_LAB_EDGES", "0")],
)
def test_a_bad_environment_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=value):
        LabConfig.from_env()


def test_an_empty_environment_means_the_first_lab(monkeypatch: pytest.MonkeyPatch):
    for variable in ("", "_INDEX", "_EDGES", "_RELEASE"):
        monkeypatch.setenv(f"FAIRLEAD_LAB{variable}", "")
    assert LabConfig.from_env() == LabConfig("fl", 0, 2, "")


def test_hosts_that_do_not_exist_have_no_address():
    with pytest.raises(ConfigError, match="edge3"):
        LabConfig().address("edge3")
    assert LabConfig(edge_count=3).address("edge3") == "10.222.0.13"


def test_the_router_expects_every_edge_in_both_families():
    text = bird_conf(LabConfig(index=5, edge_count=3))
    for number in (11, 12, 13):
        assert f"neighbor 10.222.5.{number} external;" in text
        assert f"neighbor fd00:222:5::{number:x} external;" in text
        assert f"neighbor 10.222.5.{number} port 1790 internal;" in text
    assert "10.222.5.160/27{32,32}, 203.0.113.0/24{26,32}" in text
