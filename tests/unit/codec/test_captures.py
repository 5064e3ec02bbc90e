# SPDX-License-Identifier: Apache-2.0
"""Our requests are, byte by byte, those that ipvsadm sends for the same rule."""

from ipaddress import ip_address

import pytest

from fairlead.edge.ipvs import decode, encode
from fairlead.edge.ipvs.constants import Cmd
from fairlead.model.ipvs import (
    AddressFamily,
    ForwardMethod,
    IpProtocol,
    IpvsDest,
    IpvsService,
    ServiceFlag,
    ServiceKey,
    TunnelFlag,
    TunnelType,
)
from unit.codec import captures

TCP, UDP, SCTP = IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP
FALLBACK, PORT = ServiceFlag.SCHED1, ServiceFlag.SCHED2
PERSISTENT, ONE_PACKET = ServiceFlag.PERSISTENT, ServiceFlag.ONE_PACKET


def key(protocol, address, port):
    return ServiceKey.of(protocol, ip_address(address), port)


def service(of, scheduler, flags=0, timeout=0, prefix=None, engine=""):
    full = 32 if of.family == AddressFamily.INET else 128
    return IpvsService(
        key=of,
        scheduler=scheduler,
        flags=int(flags),
        timeout=timeout,
        prefix=full if prefix is None else prefix,
        engine=engine,
    )


def dest(address, port, weight=1, method=ForwardMethod.DIRECT, **more):
    return IpvsDest(ip_address(address).packed, port, weight, int(method), **more)


WEB = key(TCP, "192.0.2.1", 80)
WEB6 = key(TCP, "2001:db8::1", 80)
MARK7 = ServiceKey.of_fwmark(AddressFamily.INET, 7)
MARK8 = ServiceKey.of_fwmark(AddressFamily.INET6, 8)

SERVICES = {
    "-A -t 192.0.2.1:80 -s rr": service(WEB, "rr"),
    "-A -t 192.0.2.1:81 -s mh -b mh-fallback,mh-port": service(
        key(TCP, "192.0.2.1", 81), "mh", FALLBACK | PORT
    ),
    "-A -u 192.0.2.1:53 -s wlc -o": service(key(UDP, "192.0.2.1", 53), "wlc", ONE_PACKET),
    "-A --sctp-service 192.0.2.1:3868 -s wrr": service(key(SCTP, "192.0.2.1", 3868), "wrr"),
    "-A -t 192.0.2.2:443 -s sh -b sh-port -p 1800": service(
        key(TCP, "192.0.2.2", 443), "sh", PERSISTENT | PORT, 1800
    ),
    "-A -t 192.0.2.3:443 -s wrr -p 300 -M 255.255.255.0": service(
        key(TCP, "192.0.2.3", 443), "wrr", PERSISTENT, 300, prefix=24
    ),
    "-A -u 192.0.2.4:5060 -s rr -p 60 --pe sip -o": service(
        key(UDP, "192.0.2.4", 5060), "rr", PERSISTENT | ONE_PACKET, 60, engine="sip"
    ),
    "-A -f 7 -s wlc": service(MARK7, "wlc"),
    "-A -f 8 -6 -s wlc": service(MARK8, "wlc"),
    "-A -t [2001:db8::1]:80 -s mh -b mh-fallback": service(WEB6, "mh", FALLBACK),
    "-A -t [2001:db8::2]:80 -s rr -p 300 -M 64": service(
        key(TCP, "2001:db8::2", 80), "rr", PERSISTENT, 300, prefix=64
    ),
}

DESTS = {
    "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3": (
        WEB,
        dest("10.0.0.1", 8080, 3, ForwardMethod.MASQUERADE),
    ),
    "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0": (WEB, dest("10.0.0.2", 80, 0)),
    "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 65535": (
        WEB,
        dest("10.0.0.3", 80, 65535, ForwardMethod.TUNNEL),
    ),
    "-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i --tun-type gue --tun-port 6080 --tun-remcsum": (
        WEB,
        dest(
            "10.0.0.4",
            80,
            1,
            ForwardMethod.TUNNEL,
            tunnel_type=int(TunnelType.GUE),
            tunnel_port=6080,
            tunnel_flags=int(TunnelFlag.REMCSUM),
        ),
    ),
    "-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i --tun-type gre --tun-csum": (
        WEB,
        dest(
            "10.0.0.5",
            80,
            1,
            ForwardMethod.TUNNEL,
            tunnel_type=int(TunnelType.GRE),
            tunnel_flags=int(TunnelFlag.CSUM),
        ),
    ),
    "-a -t 192.0.2.1:80 -r 10.0.0.6:80 -g -w 2 -x 1000 -y 800": (
        WEB,
        dest("10.0.0.6", 80, 2, upper=1000, lower=800),
    ),
    "-a -u 192.0.2.1:53 -r 10.0.0.1:53 -g": (key(UDP, "192.0.2.1", 53), dest("10.0.0.1", 53)),
    "-a --sctp-service 192.0.2.1:3868 -r 10.0.0.1:3868 -m": (
        key(SCTP, "192.0.2.1", 3868),
        dest("10.0.0.1", 3868, 1, ForwardMethod.MASQUERADE),
    ),
    "-a -f 7 -r 10.0.0.1 -g": (MARK7, dest("10.0.0.1", 0)),
    "-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:80 -g -w 5": (WEB6, dest("2001:db8:1::1", 80, 5)),
    "-a -t [2001:db8::1]:80 -r 10.0.0.9:80 -i -w 1": (
        WEB6,
        dest("10.0.0.9", 80, 1, ForwardMethod.TUNNEL),
    ),
}


@pytest.mark.parametrize("command", SERVICES)
def test_new_service_is_ipvsadms(command):
    assert encode.service(Cmd.NEW_SERVICE, SERVICES[command]) == captures.request(command)


def test_set_service_is_ipvsadms():
    command = "-E -t 192.0.2.1:80 -s mh -b mh-port"
    assert encode.service(Cmd.SET_SERVICE, service(WEB, "mh", PORT)) == captures.request(command)


def nests(body):
    """Attribute values of a body, by type."""
    return {kind: body[a:b] for kind, (a, b) in decode.attributes(body, 4, len(body)).items()}


def assert_same_dest(body, recorded, *, whole):
    """ipvsadm repeats the whole service beside a real server; the kernel reads its key alone."""
    ours, theirs = nests(body), nests(recorded)
    assert body[:4] == recorded[:4]
    assert theirs[1].startswith(ours[1])
    # An IPv4 real server behind an IPv6 service: ipvsadm leaves the rest of the address it parsed
    # before in the unused part of the field.
    recorded_dest = bytearray(theirs[2])
    if recorded_dest[4] == AddressFamily.INET:
        recorded_dest[16:28] = bytes(12)
    assert recorded_dest == ours[2] if whole else recorded_dest.startswith(ours[2])


@pytest.mark.parametrize("command", DESTS)
def test_new_dest_is_ipvsadms(command):
    of, value = DESTS[command]
    body = encode.dest_prefix(Cmd.NEW_DEST, of) + encode.dest_attr(value)
    assert_same_dest(body, captures.request(command), whole=True)


def test_set_dest_is_ipvsadms():
    body = encode.dest_prefix(Cmd.SET_DEST, WEB) + encode.dest_attr(dest("10.0.0.2", 80, 7))
    command = "-e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 7"
    assert_same_dest(body, captures.request(command), whole=True)


@pytest.mark.parametrize(
    ("command", "of", "value"),
    [
        ("-d -t 192.0.2.1:80 -r 10.0.0.1:8080", WEB, dest("10.0.0.1", 8080)),
        ("-d -t [2001:db8::1]:80 -r [2001:db8:1::1]:80", WEB6, dest("2001:db8:1::1", 80)),
        ("-d -t [2001:db8::1]:80 -r 10.0.0.9:80", WEB6, dest("10.0.0.9", 80)),
    ],
)
def test_del_dest_is_ipvsadms(command, of, value):
    body = encode.dest_prefix(Cmd.DEL_DEST, of) + encode.dest_key_attr(value)
    assert_same_dest(body, captures.request(command), whole=False)


@pytest.mark.parametrize(
    ("command", "cmd", "of"),
    [
        ("-D -t 192.0.2.1:80", Cmd.DEL_SERVICE, WEB),
        ("-D -f 8 -6", Cmd.DEL_SERVICE, MARK8),
        ("-Z -t 192.0.2.1:80", Cmd.ZERO, WEB),
    ],
)
def test_naming_a_service_is_the_beginning_of_ipvsadms(command, cmd, of):
    body, recorded = encode.service_request(cmd, of), captures.request(command)
    assert body[:4] == recorded[:4]
    assert nests(recorded)[1].startswith(nests(body)[1])


def test_flush_is_ipvsadms():
    assert encode.command(Cmd.FLUSH) == captures.request("-C")


def one(raw):
    (message,) = decode.messages(raw, len(raw))
    return raw, message


def test_services_that_the_kernel_lists_are_those_that_were_made():
    listed = [decode.service(*one(raw)) for raw in captures.replies("-Ln", Cmd.NEW_SERVICE)]
    expected = {value.key: value for value in SERVICES.values()}
    expected[WEB] = service(WEB, "mh", PORT)
    assert {value.key: value for value in listed} == expected


def test_dests_that_the_kernel_lists_are_those_that_were_made():
    listed = {decode.dest(*one(raw)) for raw in captures.replies("-Ln", Cmd.NEW_DEST)}
    expected = {value for _, value in DESTS.values()} - {dest("10.0.0.2", 80, 0)}
    assert listed == expected | {dest("10.0.0.2", 80, 7)}
