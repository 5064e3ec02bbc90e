# SPDX-License-Identifier: Apache-2.0
"""One of everything that IPVS knows, for round trips."""

from ipaddress import ip_address

from fairlead.model.ipvs import (
    AddressFamily,
    ForwardMethod,
    IpProtocol,
    IpvsDest,
    IpvsEntry,
    IpvsService,
    ServiceFlag,
    ServiceKey,
    TunnelFlag,
    TunnelType,
)

TCP, UDP, SCTP = IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP
MASQUERADE, TUNNEL, DIRECT = ForwardMethod.MASQUERADE, ForwardMethod.TUNNEL, ForwardMethod.DIRECT


def key(protocol, address, port):
    return ServiceKey.of(protocol, ip_address(address), port)


def service(of, scheduler="wrr", flags=0, timeout=0, prefix=None, engine=""):
    full = 32 if of.family == AddressFamily.INET else 128
    return IpvsService(
        key=of,
        scheduler=scheduler,
        flags=int(flags),
        timeout=timeout,
        prefix=full if prefix is None else prefix,
        engine=engine,
    )


def dest(address, port=80, weight=1, method=DIRECT, **more):
    return IpvsDest(ip_address(address).packed, port, weight, int(method), **more)


MH_FLAGS = ServiceFlag.SCHED1 | ServiceFlag.SCHED2
SERVICES = [
    service(key(TCP, "192.0.2.1", 80), "mh", MH_FLAGS),
    service(key(UDP, "192.0.2.1", 53), "wlc", ServiceFlag.ONE_PACKET),
    service(key(SCTP, "192.0.2.1", 3868)),
    service(key(TCP, "192.0.2.2", 443), "mh", MH_FLAGS | ServiceFlag.PERSISTENT, 10800),
    service(key(TCP, "192.0.2.3", 443), "wrr", ServiceFlag.PERSISTENT, 300, prefix=24),
    service(key(TCP, "192.0.2.3", 0), "wrr", ServiceFlag.PERSISTENT, 300),
    service(key(TCP, "2001:db8::1", 80), "mh", ServiceFlag.SCHED1),
    service(key(UDP, "2001:db8::1", 53), "sh", ServiceFlag.PERSISTENT, 60, prefix=64),
    service(ServiceKey.of_fwmark(AddressFamily.INET, 7), "rr"),
    service(ServiceKey.of_fwmark(AddressFamily.INET6, 7), "rr"),
    service(key(TCP, "192.0.2.9", 80), "none"),
    service(key(UDP, "192.0.2.9", 5060), "rr", ServiceFlag.PERSISTENT, 60, engine="sip"),
]
DESTS4 = [
    dest("10.0.0.1", 8080, 3, MASQUERADE),
    dest("10.0.0.2", 80, 0),
    dest("10.0.0.3", 80, 65535, TUNNEL),
    dest(
        "10.0.0.4",
        80,
        1,
        TUNNEL,
        tunnel_type=int(TunnelType.GUE),
        tunnel_port=6080,
        tunnel_flags=int(TunnelFlag.REMCSUM),
    ),
    dest(
        "10.0.0.5",
        80,
        1,
        TUNNEL,
        tunnel_type=int(TunnelType.GRE),
        tunnel_flags=int(TunnelFlag.CSUM),
    ),
    dest("10.0.0.6", 80, 2, upper=1000, lower=800),
    dest("10.0.0.7", 80, 2, ForwardMethod.LOCAL),
]
DESTS6 = [
    dest("fd00::1", 80, 5),
    dest("fd00::2", 8080, 1, MASQUERADE),
    dest("10.0.0.9", 80, 1, TUNNEL),
]


def entries():
    """Every service with every real server of its family."""
    return {
        one.key: IpvsEntry(one, tuple(DESTS4 if one.key.family == AddressFamily.INET else DESTS6))
        for one in SERVICES
    }
