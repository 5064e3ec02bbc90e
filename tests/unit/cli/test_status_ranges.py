# SPDX-License-Identifier: Apache-2.0
"""How `fairlead status` names a virtual server on a firewall mark."""

from ipaddress import ip_address

import pytest

from fairlead.cli.status import virtual_server_status
from fairlead.cli.status_text import where
from fairlead.model.ipvs import AddressFamily, Counters, IpvsService, ServiceKey, ServiceStatus
from fairlead.model.names import Protocol
from fairlead.render.port_marks import PortMark

MARK = 0x0FA00001
RANGES = (
    PortMark(ip_address("192.0.2.20"), Protocol.UDP, 10_000, 15_059, MARK),
    PortMark(ip_address("192.0.2.20"), Protocol.UDP, 15_061, 20_000, MARK),
    PortMark(ip_address("2001:db8::a0"), Protocol.UDP, 10_000, 20_000, MARK),
)

ROWS = {
    "range": (
        AddressFamily.INET,
        MARK,
        "192.0.2.20 UDP 10000-15059, 192.0.2.20 UDP 15061-20000",
    ),
    "the-other-family": (AddressFamily.INET6, MARK, "2001:db8::a0 UDP 10000-20000"),
    "foreign": (AddressFamily.INET, 7, "fwmark 7"),
    "ours-without-marks": (AddressFamily.INET, MARK + 1, f"fwmark {MARK + 1}"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_range_is_named_by_its_ports(row: str) -> None:
    family, mark, text = ROWS[row]
    service = IpvsService(key=ServiceKey.of_fwmark(family, mark), scheduler="mh")
    assert where(virtual_server_status(ServiceStatus(service, Counters()), RANGES)) == text
