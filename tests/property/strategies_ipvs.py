# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of plans, as small worlds in which collisions are likely."""

from ipaddress import ip_address

from hypothesis import strategies as st

from fairlead.diff.ipvs import desired_from
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer

VIPS4 = [ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("203.0.113.1")]
VIPS6 = [ip_address("2001:db8::1"), ip_address("2001:db8:f::1")]
NODES4 = [ip_address(f"10.0.0.{last}") for last in range(1, 7)]
NODES6 = [ip_address(f"fd00::{last}") for last in range(1, 4)]
SCHEDULERS = [("mh", ("fallback", "port")), ("mh", ("fallback",)), ("rr", ()), ("wlc", ())]


def owned(address):
    """Pools of ours; 203.0.113.0/24 and 2001:db8:f::/48 are foreign."""
    return not str(address).startswith(("203.0.113.", "2001:db8:f:"))


@st.composite
def virtual_servers(draw, vips=tuple(VIPS4 + VIPS6)):
    address = draw(st.sampled_from(vips))
    nodes = NODES4 if address.version == 4 else NODES6
    port = draw(st.sampled_from([80, 443]))
    protocol = draw(st.sampled_from([Protocol.TCP, Protocol.UDP]))
    scheduler, flags = draw(st.sampled_from(SCHEDULERS))
    chosen = draw(st.lists(st.sampled_from(nodes), unique=True, max_size=len(nodes)))
    return VirtualServer(
        address=address,
        protocol=protocol,
        port=port,
        scheduler=scheduler,
        flags=flags,
        forwarding=draw(st.sampled_from(list(Forwarding))),
        service=ObjectKey("default", "any"),
        persistence_seconds=draw(st.sampled_from([None, 1800])),
        one_packet=protocol is Protocol.UDP and draw(st.booleans()),
        real_servers=tuple(RealServer(node, port, draw(st.integers(0, 4))) for node in chosen),
    )


def plans(vips=tuple(VIPS4 + VIPS6)):
    """Virtual servers of an edge with distinct keys."""
    return st.lists(
        virtual_servers(vips),
        max_size=6,
        unique_by=lambda one: (one.address, one.protocol, one.port),
    )


def tables(vips=tuple(VIPS4 + VIPS6)):
    """Desired tables."""
    return plans(vips).map(desired_from)


OURS = tuple(one for one in VIPS4 + VIPS6 if owned(one))
