# SPDX-License-Identifier: Apache-2.0
"""`fairlead.io/port-range`: many ports of a VIP as one virtual server, and who can serve that."""

from fairlead.model.kube import Service
from fairlead.model.names import Forwarding
from fairlead.planner.options import PORT_RANGE, ServiceOptions
from fairlead.planner.requests import PREFIX as METALLB
from fairlead.planner.requests import SHARING, annotation

NOT_SERVED = "PortRangeNotServed"

_OBSTACLES = {
    Forwarding.DSR: "kube-proxy on the nodes answers on declared ports only",
    Forwarding.TUNNEL: "kube-proxy on the nodes answers on declared ports only",
    Forwarding.MASQUERADE: "no port of the range has a nodePort",
}


def range_obstacle(service: Service, options: ServiceOptions) -> str:
    """Why a Service's port range is not served, "" where it is (or where it has none)."""
    if options.port_range is None:
        return ""
    if options.forwarding in _OBSTACLES:
        return (
            f"{PORT_RANGE} can't be served by forwarding mode {options.forwarding}: "
            f"{_OBSTACLES[options.forwarding]}; only mode pod keeps every port on its way to a pod"
        )
    if annotation(service, SHARING):
        return (
            f"{PORT_RANGE} needs the address for this Service alone, "
            f"but {METALLB}{SHARING} lets others in"
        )
    return ""
