# SPDX-License-Identifier: Apache-2.0
"""Virtual servers of any number and size, the same ones in every benchmark."""

from ipaddress import ip_address

from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer


def virtual_server(number: int, dests: int, weight: int = 1) -> VirtualServer:
    """The number-th virtual server with so many real servers."""
    reals = tuple(
        RealServer(ip_address(f"10.0.{one // 250}.{one % 250 + 1}"), 80, weight)
        for one in range(dests)
    )
    return VirtualServer(
        address=ip_address(int(ip_address("172.16.0.0")) + number),
        protocol=Protocol.TCP,
        port=80,
        scheduler="mh",
        flags=("fallback", "port"),
        forwarding=Forwarding.DSR,
        service=ObjectKey("bench", str(number)),
        real_servers=reals,
    )
