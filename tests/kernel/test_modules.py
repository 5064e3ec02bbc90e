# SPDX-License-Identifier: Apache-2.0
"""`ipvs`, `addresses` and `firewall` on a real kernel."""

import subprocess

import pytest

from fairlead.planner.encode_bgp import peer_dict
from golden import cases
from kernel.network import inside
from support.modules import Inside, fail_module, run_module

pytestmark = pytest.mark.kernel

POOLS = ["192.0.2.160-192.0.2.191", "2001:db8::a0-2001:db8::bf"]
NOTHING = {"virtual_servers": [], "addresses": [], "vrrp": [], "bgp": []}


@pytest.fixture
def place(netns):
    return Inside(netns)


def server(address, port, weights, **changes):
    reals = [{"address": real, "port": port, "weight": w} for real, w in weights.items()]
    return {
        "address": address,
        "protocol": "TCP",
        "port": port,
        "scheduler": "wlc",
        "flags": [],
        "persistence_seconds": None,
        "one_packet": False,
        "forwarding": "dsr",
        "service": "web/shop",
        "real_servers": reals,
        **changes,
    }


def plan(*servers, vips=()):
    addresses = [{"address": vip, "announce": ["bgp"], "ready": True} for vip in vips]
    peers = [peer_dict(cases.peer())]
    return {
        **NOTHING,
        "virtual_servers": list(servers),
        "addresses": addresses,
        "bgp_peers": peers if vips else [],
    }


def saved(netns):
    argv = ["ip", "netns", "exec", netns, "ipvsadm", "-Sn"]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [line.strip() for line in shown.splitlines()]


WEB = server("192.0.2.160", 80, {"192.0.2.101": 2, "192.0.2.102": 1})
WEB_SAVED = [
    "-A -t 192.0.2.160:80 -s wlc",
    "-a -t 192.0.2.160:80 -r 192.0.2.101:80 -g -w 2",
    "-a -t 192.0.2.160:80 -r 192.0.2.102:80 -g -w 1",
]
FOREIGN = ["-A -t 192.0.2.99:8000 -s rr", "-A -f 7 -s rr"]


def test_ipvs_checks_then_does_then_rests(place, netns):
    params = {"plan": plan(WEB), "pools": POOLS}
    foreseen = run_module("ipvs", params, place=place, check=True)
    assert foreseen["changed"]
    assert saved(netns) == [], "check mode wrote"
    done = run_module("ipvs", params, place=place)
    assert (done["changes"], done["diff"]) == (foreseen["changes"], foreseen["diff"])
    assert saved(netns) == WEB_SAVED == done["diff"]["after"].splitlines()
    again = run_module("ipvs", params, place=place)
    assert (again["changed"], again["changes"]) == (False, [])


def test_ipvs_shows_one_change_as_a_command(place, netns):
    run_module("ipvs", {"plan": plan(WEB), "pools": POOLS}, place=place)
    lighter = server("192.0.2.160", 80, {"192.0.2.101": 1, "192.0.2.102": 1})
    done = run_module("ipvs", {"plan": plan(lighter), "pools": POOLS}, place=place)
    (change,) = done["changes"]
    assert change.startswith("ipvsadm -e -t 192.0.2.160:80 -r 192.0.2.101:80 -g -w 1")
    assert "-a -t 192.0.2.160:80 -r 192.0.2.101:80 -g -w 1" in saved(netns)


def test_ipvs_prunes_its_pools_and_nothing_else(place, netns):
    for rule in FOREIGN:
        inside(netns, f"ipvsadm {rule}")
    params = {"plan": plan(WEB), "pools": POOLS}
    run_module("ipvs", params, place=place)
    assert sorted(saved(netns)) == sorted(WEB_SAVED + FOREIGN)
    kept = run_module("ipvs", {"plan": NOTHING, "pools": POOLS, "prune": False}, place=place)
    assert not kept["changed"]
    assert kept["prunable"] == ["-t 192.0.2.160:80"]
    gone = run_module("ipvs", {"plan": NOTHING, "pools": POOLS}, place=place)
    assert gone["prunable"] == []
    assert sorted(saved(netns)) == sorted(FOREIGN)


def test_ipvs_names_what_it_can_not_use(place, netns):
    said = fail_module("ipvs", {"plan": NOTHING, "pools": ["192.0.2.0/99"]}, place=place)
    assert "pools[0]" in said
    bad = server("192.0.2.160", 80, {"192.0.2.101": "heavy"})
    said = fail_module("ipvs", {"plan": plan(bad), "pools": POOLS}, place=place)
    assert "virtual_servers[0].real_servers[0].weight" in said
    unknown = server("192.0.2.160", 80, {}, scheduler="best")
    assert "best" in fail_module("ipvs", {"plan": plan(unknown), "pools": POOLS}, place=place)
    assert saved(netns) == []


def test_addresses_check_then_do_then_rest_then_go(place, netns):
    vips = ["192.0.2.160", "2001:db8::a0"]
    params = {"plan": plan(vips=vips), "pools": POOLS}
    foreseen = run_module("addresses", params, place=place, check=True)
    assert foreseen["changes"] == ["+192.0.2.160/32", "+2001:db8::a0/128"]
    assert "fairlead0" not in links(netns)
    done = run_module("addresses", params, place=place)
    assert done["changes"] == foreseen["changes"]
    assert all(vip in links(netns) for vip in vips)
    assert not run_module("addresses", params, place=place)["changed"]
    inside(netns, "ip address add 203.0.113.7/32 dev fairlead0")
    gone = run_module("addresses", {"plan": NOTHING, "pools": POOLS}, place=place)
    assert gone["changes"] == ["-192.0.2.160/32", "-2001:db8::a0/128"]
    assert "203.0.113.7/32" in links(netns), "not of our pools"


def links(netns):
    argv = ["ip", "-n", netns, "-o", "address", "show"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_addresses_make_no_link_for_nothing(place, netns):
    done = run_module("addresses", {"plan": NOTHING, "pools": POOLS}, place=place)
    assert (done["changed"], done["changes"]) == (False, [])
    inside(netns, "! ip link show dev fairlead0 2>/dev/null")


def test_firewall_checks_then_does_then_rests_then_goes(place):
    masqueraded = server("192.0.2.160", 80, {"192.0.2.101": 1}, forwarding="masquerade")
    restricted = WEB | {"port": 81, "source_ranges": ["198.51.100.0/24"]}
    params = {"plan": plan(masqueraded, restricted)}
    foreseen = run_module("firewall", params, place=place, check=True)
    assert foreseen["changed"]
    assert foreseen["targets"] == ["192.0.2.160 TCP 80"]
    assert foreseen["restricted"] == ["192.0.2.160 TCP 81 from 198.51.100.0/24"]
    assert run_module("firewall", params, place=place, check=True)["changed"], "check mode wrote"
    done = run_module("firewall", params, place=place)
    assert (done["targets"], done["diff"]) == (foreseen["targets"], foreseen["diff"])
    assert not run_module("firewall", params, place=place)["changed"]
    gone = run_module("firewall", {"plan": NOTHING}, place=place)
    assert (gone["changed"], gone["targets"], gone["restricted"]) == (True, [], [])
    assert not run_module("firewall", {"plan": NOTHING}, place=place)["changed"]
