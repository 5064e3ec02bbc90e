# SPDX-License-Identifier: Apache-2.0
"""A LAN of namespaces in one kernel: client, two edges, three real servers, all in DSR position.

One process plays everybody: a socket opened inside `entered(namespace)` stays there.
"""

import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from fairlead.edge.netns import entered

VIP = "10.9.0.100"
CLIENT = "10.9.0.200"
EDGES = ("10.9.0.11", "10.9.0.12")
REALS = ("10.9.0.1", "10.9.0.2", "10.9.0.3")
PORT = 80
QUIET_ARP = ("conf/all/arp_ignore=1", "conf/all/arp_announce=2")
DIRECTOR = (
    "ip_forward=1",
    "conf/all/rp_filter=0",
    "conf/all/send_redirects=0",
    "conf/eth0/send_redirects=0",
    "vs/sloppy_tcp=1",
    "vs/expire_nodest_conn=1",
)


class Network:
    """Namespaces `<name>-lan`, `-c`, `-e1`, `-e2`, `-r1`.. joined by a bridge in the first."""

    def __init__(self, name):
        self.name = name
        self.edges = [f"{name}-e{number}" for number in (1, 2)]
        self.reals = [f"{name}-r{number}" for number in (1, 2, 3)]
        self.client = f"{name}-c"
        self._lan = f"{name}-lan"
        self._servers = []

    def build(self):
        hosts = dict(
            zip([self.client, *self.edges, *self.reals], [CLIENT, *EDGES, *REALS], strict=True)
        )
        links = ["link add br0 type bridge", "link set br0 up"]
        for number, host in enumerate(hosts):
            links += [
                f"link add p{number} type veth peer name eth0 netns {host}",
                f"link set p{number} master br0 up",
            ]
        batch(None, [f"netns add {name}" for name in [self._lan, *hosts]])
        batch(self._lan, links)
        for host, address in hosts.items():
            vip = [] if host == self.client else [f"addr add {VIP}/32 dev lo"]
            up = ["link set lo up", "link set eth0 up", f"addr add {address}/24 dev eth0"]
            batch(host, [*up, *vip])
            sysctls(host, QUIET_ARP if vip else ())
        for edge in self.edges:
            sysctls(edge, DIRECTOR)
        self.point_at(0)

    def point_at(self, edge):
        """Send the client's traffic for the VIP to an edge (what VRRP or BGP would do)."""
        batch(self.client, [f"route replace {VIP}/32 via {EDGES[edge]} dev eth0"])

    def serve(self):
        """Start an echo server on every real server; each answers with its own number first."""
        for number, real in enumerate(self.reals, 1):
            server = EchoServer(real, number)
            self._servers.append(server)
            server.start()

    def connect(self, source_port=0):
        """A connection from the client to the VIP, and the number of its real server."""
        with entered(self.client):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.settimeout(5)
        try:
            made.bind((CLIENT, source_port))
            made.connect((VIP, PORT))
            return made, made.recv(1)[0]
        except OSError:
            made.close()
            raise

    def destroy(self):
        for server in self._servers:
            server.stop()
        names = [self.client, *self.edges, *self.reals, self._lan]
        batch(None, [f"netns del {name}" for name in names])


class EchoServer(threading.Thread):
    """Greets with one byte, its number, then echoes."""

    def __init__(self, namespace, number, at=("0.0.0.0", PORT), protocol=socket.IPPROTO_TCP):
        super().__init__(daemon=True)
        self._number = number
        with entered(namespace):
            self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(at)
        self._listener.listen(512)

    def run(self):
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(accepted,), daemon=True).start()

    def _echo(self, accepted):
        with suppress(OSError), accepted:
            accepted.sendall(bytes([self._number]))
            while data := accepted.recv(65536):
                accepted.sendall(data)

    def stop(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def inside(namespace, script):
    """A shell script in a namespace."""
    subprocess.run(["ip", "netns", "exec", namespace, "sh", "-ec", script], check=True)


def batch(namespace, commands):
    """Several `ip` commands by one process: starting one costs 30 ms in this kernel."""
    where = ["-n", namespace] if namespace else []
    text = "\n".join(commands) + "\n"
    subprocess.run(["ip", *where, "-batch", "-"], check=True, input=text, text=True)


def sysctls(namespace, settings):
    """Settings below /proc/sys/net/ipv4 of a namespace."""
    with entered(namespace):
        for setting in settings:
            name, value = setting.split("=")
            (Path("/proc/sys/net/ipv4") / name).write_text(value)
