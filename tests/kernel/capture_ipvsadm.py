# SPDX-License-Identifier: Apache-2.0
"""Record what ipvsadm says to the kernel, as fixtures for the codec's byte-exact tests.

Run inside a kernel with IPVS and the nlmon driver, as root, in an otherwise quiet namespace:

    python -m fairlead_lab.uml run --out tests/unit/codec/captures -- \
        .venv/bin/python tests/kernel/capture_ipvsadm.py /out/ipvsadm.json

Every record holds the ipvsadm command, and the netlink messages of the IPVS family that an nlmon
link saw during it, in hex: requests (flag NLM_F_REQUEST) and the kernel's replies.
"""

import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

from fairlead.edge.ipvs.socket import IpvsSocket

COMMANDS = """
-A -t 192.0.2.1:80 -s rr
-A -t 192.0.2.1:81 -s mh -b mh-fallback,mh-port
-A -u 192.0.2.1:53 -s wlc -o
-A --sctp-service 192.0.2.1:3868 -s wrr
-A -t 192.0.2.2:443 -s sh -b sh-port -p 1800
-A -t 192.0.2.3:443 -s wrr -p 300 -M 255.255.255.0
-A -u 192.0.2.4:5060 -s rr -p 60 --pe sip -o
-A -f 7 -s wlc
-A -f 8 -6 -s wlc
-A -t [2001:db8::1]:80 -s mh -b mh-fallback
-A -t [2001:db8::2]:80 -s rr -p 300 -M 64
-E -t 192.0.2.1:80 -s mh -b mh-port
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0
-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 65535
-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i --tun-type gre --tun-csum
-a -t 192.0.2.1:80 -r 10.0.0.6:80 -g -w 2 -x 1000 -y 800
-a -u 192.0.2.1:53 -r 10.0.0.1:53 -g
-a --sctp-service 192.0.2.1:3868 -r 10.0.0.1:3868 -m
-a -f 7 -r 10.0.0.1 -g
-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:80 -g -w 5
-a -t [2001:db8::1]:80 -r 10.0.0.9:80 -i -w 1
-e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 7
-Ln
-d -t 192.0.2.1:80 -r 10.0.0.1:8080
-d -t [2001:db8::1]:80 -r [2001:db8:1::1]:80
-d -t [2001:db8::1]:80 -r 10.0.0.9:80
--set 1000 60 50
-L --timeout
--start-daemon master --mcast-interface veth0 --syncid 7
--start-daemon backup --mcast-interface veth0 --syncid 9 --sync-maxlen 1400 --mcast-group 224.0.0.99 --mcast-port 8850 --mcast-ttl 3
-L --daemon
--stop-daemon master
-Z
-Z -t 192.0.2.1:80
-D -t 192.0.2.1:80
-D -f 8 -6
-C
""".strip().splitlines()  # noqa: E501

NETLINK_GENERIC = 16


def ipvs_family() -> int:
    """Number of the IPVS family."""
    with IpvsSocket() as opened:
        return opened._family


def capture(command: str, family: int) -> list[str]:
    """Messages of the IPVS family that fly while ipvsadm runs."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # a dump's datagrams weigh 32 kB each
        tap.bind(("nlmon0", 3))
        subprocess.run(["ipvsadm", *command.split()], check=True, capture_output=True)
        tap.settimeout(0.2)
        found: list[str] = []
        while True:
            try:
                data, sender = tap.recvfrom(1 << 16)
            except TimeoutError:
                return found
            if sender[1] == NETLINK_GENERIC:
                found += [message.hex() for message in split(data) if kind(message) == family]


def split(data: bytes) -> list[bytes]:
    """The messages of a datagram."""
    parts = []
    while len(data) >= 16:
        length = struct.unpack_from("=I", data)[0]
        parts.append(data[:length])
        data = data[(length + 3) & ~3 :]
    return parts


def kind(message: bytes) -> int:
    """nlmsg_type."""
    return int(struct.unpack_from("=H", message, 4)[0])


def main() -> None:
    """Capture every command."""
    subprocess.run("ip link add nlmon0 type nlmon && ip link set nlmon0 up", shell=True, check=True)
    subprocess.run("ip link add veth0 type veth peer veth1", shell=True, check=True)
    subprocess.run(
        "ip addr add 198.51.100.1/24 dev veth0; ip link set veth0 up; ip link set veth1 up",
        shell=True,
        check=True,
    )
    family = ipvs_family()
    version = subprocess.run(["ipvsadm", "-v"], check=False, capture_output=True, text=True)
    records = [{"command": one, "messages": capture(one, family)} for one in COMMANDS]
    document = {
        "ipvsadm": version.stdout.strip(),
        "kernel": Path("/proc/sys/kernel/osrelease").read_text().strip(),
        "records": records,
    }
    Path(sys.argv[1]).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
