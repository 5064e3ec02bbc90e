# SPDX-License-Identifier: Apache-2.0
"""The printed table of `fairlead status`: what is there is shown, and none of it is markup."""

import io
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from rich.console import Console

from fairlead.cli.edge_status import EdgeStatus, RealServerStatus, VirtualServerStatus, VrrpStatus
from fairlead.cli.status import _ownership
from fairlead.cli.status_text import print_status
from fairlead.edge.bird_sessions import Session
from fairlead.snapshot.inventory import inventory_from_dict

ODD = ("[fd00:222::a0]:80: refused", "spec.addresses[0]: '[/x]' is neither", "[red]x[/red] :cat:")


def server(address: str | None, real: str, **fields) -> VirtualServerStatus:
    settings = {
        "protocol": "TCP",
        "port": 80,
        "fwmark": 0,
        "ranges": (),
        "scheduler": "mh",
        "flags": ("fallback", "port"),
        "persistence_seconds": None,
        "one_packet": False,
        "connections": 0,
    }
    reals = (RealServerStatus(real, 80, 2, "direct", 1, 0),)
    return VirtualServerStatus(address=address, real_servers=reals, **(settings | fields))


def printed(**fields) -> list[str]:
    base = {"edge": "edge1", "problems": (), "vrrp": (), "bgp": (), "vips": {}, "agent": None}
    status = EdgeStatus(virtual_servers=fields.pop("virtual_servers", ()), **(base | fields))
    out = io.StringIO()
    print_status(status, Console(file=out, highlight=False, markup=False, emoji=False, width=240))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("address", "real", "row"),
    [
        ("192.0.2.160", "192.0.2.101", "TCP 192.0.2.160:80 mh fallback port 192.0.2.101:80"),
        (
            "fd00:222::a0",
            "fd00:222::101",
            "TCP [fd00:222::a0]:80 mh fallback port [fd00:222::101]:80",
        ),
        ("2001:db8::a0", "2001:db8::1", "TCP [2001:db8::a0]:80 mh fallback port [2001:db8::1]:80"),
    ],
)
def test_a_virtual_server_of_either_family_is_a_row(address: str, real: str, row: str) -> None:
    lines = printed(virtual_servers=(server(address, real),))
    assert lines[-1] == f"{row} direct 2 1 0"


def test_a_range_is_named_by_its_ports() -> None:
    one = server(None, "10.0.0.1", fwmark=7, ranges=("[::1] TCP 10-20",))
    assert printed(virtual_servers=(one,))[-1].startswith("[::1] TCP 10-20 mh")


@pytest.mark.parametrize("text", ODD)
def test_no_text_is_markup(text: str) -> None:
    lines = printed(
        problems=(text,),
        vips={text: (text,)},
        vrrp=(VrrpStatus(text, text, text, "master"),),
        bgp=(Session(name=text, state=text, neighbor=text),),
        virtual_servers=(server("192.0.2.1", "192.0.2.2", scheduler=text, flags=()),),
    )
    assert f"problem: {text}" in lines
    assert f"VIPs on {text}: {text}" in lines
    assert f"VRRP {text} on {text}: master ({text})" in lines
    assert any(line.startswith(f"BGP {text} {text}: {text}") for line in lines)


def test_vips_are_those_of_the_group_and_no_machine() -> None:
    inventory = inventory_from_dict(
        {
            "edges": [{"name": "edge1", "address": "192.0.2.11", "address6": "2001:db8::11"}],
            "pools": [{"name": "lan", "addresses": ["192.0.2.0/24", "2001:db8::/64"]}],
            "vrrp": {"advertised_address": "192.0.2.9/24"},
        }
    )
    key = SimpleNamespace(ip=ip_address("203.0.113.7"))
    owned = _ownership(inventory, None, [SimpleNamespace(service=SimpleNamespace(key=key))])
    ours = ["192.0.2.160", "2001:db8::a0", "203.0.113.7"]
    assert all(owned(ip_address(text)) for text in ours)
    others = ["192.0.2.11", "2001:db8::11", "192.0.2.9", "198.51.100.1"]
    assert not any(owned(ip_address(text)) for text in others)
