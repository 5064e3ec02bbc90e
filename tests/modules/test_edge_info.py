# SPDX-License-Identifier: Apache-2.0
"""`edge_info`: what an edge holds, read from the kernel and the daemons."""

import json

from support.modules import run_module

STABLE = "fe80::7b:42"
"""As the address that stands in the adverts of IPv6 edges."""


def info(edge, **params):
    """What the module tells; the kernel's own link-local addresses depend on chance."""
    found = run_module("edge_info", {"interface": "eth0", **params}, place=edge)
    found["addresses"] = [
        one for one in found["addresses"] if not one.startswith("fe80::") or one == STABLE
    ]
    return found


def test_an_edge_without_work(edge):
    found = info(edge)
    assert found == {
        "changed": False,
        "installed": True,
        "release": "0.1.0-test",
        "addresses": ["192.0.2.11"],
        "bgp_addresses": [],
        "virtual_servers": [],
        "bgp_sessions": {},
        "services": dict.fromkeys(("bird", "fairlead-agent", "keepalived"), "unknown"),
        "agent": {},
    }
    assert edge.files() == {}


def test_addresses_are_the_kernels(edge):
    edge.run("ip", "address", "add", "192.0.2.160/32", "dev", "eth0")
    edge.run("ip", "address", "add", f"{STABLE}/128", "dev", "eth0")
    # Of another type than on an edge: this machine's kernel may have no dummy links.
    edge.run("ip", "link", "add", "fairlead0", "type", "veth")
    edge.run("ip", "address", "add", "192.0.2.161/32", "dev", "fairlead0")
    found = info(edge)
    assert found["addresses"] == ["192.0.2.11", "192.0.2.160", STABLE]
    assert found["bgp_addresses"] == ["192.0.2.161"]


def test_an_old_status_file_is_no_agent(edge):
    edge.path("/run/fairlead/status.json").write_text(json.dumps({"synced": True}))
    assert info(edge)["agent"] == {}


def test_an_interface_that_is_not_there_has_no_addresses(edge):
    assert info(edge, interface="nosuch0")["addresses"] == []
