# SPDX-License-Identifier: Apache-2.0
"""The shapes of Services that users bring, as the manifests of this folder hold them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """One port of a Service and the container port that must answer."""

    service: str
    protocol: str
    port: int
    target: int


@dataclass(frozen=True)
class Shape:
    """A manifest: its Deployment, its ports, and whether pods see the client's own address."""

    manifest: str
    app: str
    replicas: int
    ports: tuple[Port, ...]
    local: bool = False
    address: str = ""


SHAPES = (
    Shape("single-tcp", "single-tcp", 3, (Port("single-tcp", "TCP", 80, 8080),)),
    Shape(
        "two-tcp-local",
        "web-local",
        3,
        (Port("web-local", "TCP", 80, 8080), Port("web-local", "TCP", 443, 8443)),
        local=True,
    ),
    Shape("tcp-affinity", "sticky", 3, (Port("sticky", "TCP", 5432, 5432),), local=True),
    Shape("udp-53", "dns-udp", 3, (Port("dns-udp", "UDP", 53, 5353),), local=True),
    Shape(
        "three-udp",
        "media",
        2,
        tuple(Port("media", "UDP", n, n) for n in (10001, 10002, 10003)),
        local=True,
    ),
    Shape(
        "tcp-udp-53",
        "dns-both",
        2,
        (Port("dns-both", "TCP", 53, 5353), Port("dns-both", "UDP", 53, 5353)),
        local=True,
    ),
    Shape(
        "four-ports",
        "four-ports",
        2,
        (
            Port("four-ports", "TCP", 1001, 8001),
            Port("four-ports", "TCP", 1002, 8002),
            Port("four-ports", "UDP", 2001, 9001),
            Port("four-ports", "UDP", 2002, 9002),
        ),
    ),
    Shape(
        "shared-address",
        "shared",
        2,
        (Port("shared-tcp", "TCP", 7000, 7000), Port("shared-udp", "UDP", 7000, 7000)),
        address="10.222.{index}.170",
    ),
    Shape("readiness-probe", "late", 3, (Port("late", "TCP", 80, 8080),), local=True),
    Shape(
        "old-prefix",
        "old-prefix",
        1,
        (Port("old-prefix", "TCP", 80, 8080),),
        address="10.222.{index}.171",
    ),
    Shape(
        "new-prefix",
        "new-prefix",
        1,
        (Port("new-prefix", "TCP", 80, 8080),),
        address="10.222.{index}.172",
    ),
    Shape("masquerade", "masq", 3, (Port("masq", "TCP", 80, 8080), Port("masq", "UDP", 53, 5353))),
)
