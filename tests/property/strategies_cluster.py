# SPDX-License-Identifier: Apache-2.0
"""Clusters small enough to collide: few addresses, few names, every rule in reach."""

from ipaddress import ip_address

import msgspec
from hypothesis import strategies as st

from fairlead.model.inventory import BgpPeer, BgpSettings, Edge, Inventory
from fairlead.model.kube import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Node,
    Service,
    ServicePort,
    Taint,
)
from fairlead.model.names import Announce, Family, ObjectKey, Protocol, TrafficPolicy
from fairlead.model.plan import ObjectError, ServicePlan
from fairlead.model.pool import AddressRange, Pool, PoolSelection
from fairlead.model.selector import LabelSelector
from fairlead.model.snapshot import Snapshot
from fairlead.planner.requests import POOL_NOTE
from property.strategies_adverts import (
    COMMUNITIES,
    aggregates,
    bgp_advertisements,
    l2_advertisements,
    peers,
    some,
)

V4 = [ip_address(f"10.0.0.{host}") for host in range(12)]
V6 = [ip_address(f"fd00::{host:x}") for host in range(6)]
NAMES = [ObjectKey(namespace, name) for namespace in ("a", "b") for name in "stuvwx"]
NODES = ["n1", "n2", "n3", "n4"]
UNUSABLE = ObjectError(kind="IPAddressPool", namespace="metallb-system", name="u", message="bad")
"""A pool object that can't be read and was never in force."""
TIMES = ["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]


def inventory(**changes: object) -> Inventory:
    edges = tuple(
        Edge(
            name=f"edge{n}",
            address=ip_address(f"192.0.2.1{n}"),
            interfaces=("eth1",) if n == 2 else (),
        )
        for n in (1, 2)
    )
    peer = BgpPeer(name="tor", address=ip_address("192.0.2.1"), asn=64500, edges=("edge2",))
    base = Inventory(
        edges=edges,
        announce=(Announce.VRRP, Announce.BGP),
        bgp=BgpSettings(peers=(peer,)),
        communities=COMMUNITIES,
    )
    return msgspec.structs.replace(base, **changes)


def address_range(first, last) -> AddressRange:
    return AddressRange(first, last, f"{first}-{last}")


@st.composite
def pools(draw) -> tuple[Pool, ...]:
    cuts = sorted(draw(st.sets(st.integers(0, len(V4) - 1), min_size=0, max_size=6)))
    ranges = [
        address_range(V4[low], V4[high]) for low, high in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    cuts = sorted(draw(st.sets(st.integers(0, len(V6) - 1), min_size=0, max_size=4)))
    ranges += [
        address_range(V6[low], V6[high]) for low, high in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    names = draw(st.permutations(["p", "q", "r"]))
    by_pool: dict[str, list[AddressRange]] = {}
    for part in ranges:
        by_pool.setdefault(draw(st.sampled_from(names)), []).append(part)
    selector = st.sampled_from([{}, {"tier": "web"}]).map(LabelSelector)
    selection = st.none() | st.builds(
        PoolSelection,
        priority=st.integers(0, 2),
        namespaces=st.sampled_from([(), ("a",), ("a", "b")]),
        namespace_selectors=st.lists(selector, max_size=1).map(tuple),
        service_selectors=st.lists(selector, max_size=1).map(tuple),
    )
    return tuple(
        Pool(
            name=name,
            namespace="metallb-system",
            origin="cluster",
            ranges=tuple(parts),
            auto_assign=draw(st.sampled_from([True, True, True, False])),
            avoid_buggy_ips=draw(st.booleans()),
            selection=draw(selection),
        )
        for name, parts in by_pool.items()
    )


_PORTS = [
    ServicePort("http", Protocol.TCP, 80, 8080, 30080),
    ServicePort("https", Protocol.TCP, 443, "https", 30443),
    ServicePort("dns", Protocol.UDP, 53, 53, 0),
]
_ANNOTATIONS = {
    "metallb.io/loadBalancerIPs": ["", "10.0.0.1", "10.0.0.2", "10.0.0.3,fd00::1", "fd00::2", "x"],
    "metallb.universe.tf/loadBalancerIPs": ["10.0.0.4", "10.0.0.1,10.0.0.2"],
    "metallb.io/address-pool": ["p", "q", "nowhere"],
    "metallb.io/allow-shared-ip": ["k", "l", ""],
    "fairlead.io/forwarding": ["dsr", "pod", "masquerade", "tunnel", "flying"],
    "fairlead.io/scheduler": ["rr", "best"],
    "fairlead.io/one-packet": ["true"],
    "fairlead.io/port-range": ["10000-20000/UDP", "50-90/TCP", "9-8/UDP"],
    "fairlead.io/slow-start": ["30", "soon"],
}


@st.composite
def services(draw, key: ObjectKey) -> Service:
    annotations = {
        name: draw(st.sampled_from(_ANNOTATIONS[name]))
        for name in sorted(draw(st.sets(st.sampled_from(sorted(_ANNOTATIONS)), max_size=3)))
    }
    if draw(st.booleans()):
        annotations[POOL_NOTE] = draw(st.sampled_from(["p", "q", UNUSABLE.name]))
    held = draw(
        st.lists(st.sampled_from([*V4, *V6]), max_size=2, unique=True)
        | st.just([])
        | st.sampled_from(V4).map(lambda address: [address])
    )
    policy = draw(
        st.sampled_from(["SingleStack", "SingleStack", "PreferDualStack", "RequireDualStack"])
    )
    cluster_ips = draw(
        st.sampled_from([("10.96.0.1",), ("fd00:96::1",)])
        if policy == "SingleStack"
        else st.sampled_from(
            [
                ("10.96.0.1",),
                ("10.96.0.1", "fd00:96::1"),
                ("fd00:96::1", "10.96.0.1"),
                ("nonsense",),
            ]
        )
    )
    return Service(
        key=key,
        # A manifest that no API server has seen has no status either.
        uid="u" if held else draw(st.sampled_from(["", "u"])),
        created=draw(st.sampled_from(TIMES)),
        labels=draw(st.sampled_from([{}, {"tier": "web"}])),
        annotations=annotations,
        type=draw(st.sampled_from(["LoadBalancer"] * 5 + ["ClusterIP"])),
        load_balancer_class=draw(st.sampled_from([None] * 5 + ["other"])),
        load_balancer_ip=draw(st.sampled_from([""] * 5 + ["10.0.0.5", "y"])),
        cluster_ips=draw(st.sampled_from([cluster_ips, cluster_ips, ()])),
        ip_families=draw(st.sampled_from([(), (Family.IPV6,), (Family.IPV4, Family.IPV6)])),
        ip_family_policy=policy,
        ports=tuple(draw(st.lists(st.sampled_from(_PORTS), max_size=3, unique=True))),
        selector=draw(st.sampled_from([{}, {"app": "one"}, {"app": "two"}])),
        policy=draw(st.sampled_from(list(TrafficPolicy))),
        affinity_seconds=draw(st.sampled_from([None, None, 1800])),
        ingress=tuple((address, draw(st.sampled_from(["", "VIP", "Proxy"]))) for address in held),
        ingress_errors=draw(st.sampled_from([()] * 6 + [("zz",)])),
    )


@st.composite
def slices(draw, index: int) -> EndpointSlice:
    service = draw(st.sampled_from(NAMES))
    family = draw(st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6]))
    prefix = "10.244.0." if family is Family.IPV4 else "fd00:244::"
    endpoint = st.builds(
        Endpoint,
        addresses=st.integers(1, 9).map(lambda host: (ip_address(f"{prefix}{host}"),)),
        node=st.sampled_from([*NODES, "", "unknown"]),
        ready=st.booleans(),
        serving=st.booleans(),
        terminating=st.booleans(),
    )
    ports = st.sampled_from(
        [
            EndpointPort("http", Protocol.TCP, 8080),
            EndpointPort("https", Protocol.TCP, 8443),
            EndpointPort("https", Protocol.TCP, 9443),
            EndpointPort("dns", Protocol.UDP, 53),
        ]
    )
    return EndpointSlice(
        ObjectKey(service.namespace, f"slice-{index}"),
        service,
        family,
        tuple(draw(st.lists(ports, max_size=3, unique_by=lambda port: port.name))),
        tuple(draw(st.lists(endpoint, max_size=5))),
    )


@st.composite
def nodes(draw, name: str) -> Node:
    host = int(name[1:])
    both = (ip_address(f"192.0.2.10{host}"), ip_address(f"fd00:2::{host}"))
    return Node(
        name,
        draw(st.sampled_from([both, both[:1], ()])),
        labels=draw(
            st.sampled_from(
                [{}, {}, {"node.kubernetes.io/exclude-from-external-load-balancers": ""}]
            )
        ),
        taints=draw(st.sampled_from([(), (Taint("ToBeDeletedByClusterAutoscaler", ""),)])),
        ready=draw(st.booleans()),
        network_unavailable=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def snapshots(draw) -> Snapshot:
    keys = draw(st.sets(st.sampled_from(NAMES), max_size=8))
    count = draw(st.integers(0, 6))
    own_pools = draw(pools())
    return Snapshot(
        services=tuple(draw(services(key)) for key in sorted(keys)),
        slices=tuple(draw(slices(index)) for index in range(count)),
        nodes=tuple(draw(nodes(name)) for name in NODES if draw(st.booleans())),
        namespaces=(Namespace("a", {"tier": "web"}), Namespace("b")),
        pools=own_pools,
        l2_advertisements=draw(some(l2_advertisements())),
        bgp_advertisements=(*draw(some(bgp_advertisements())), *draw(aggregates(own_pools))),
        bgp_peers=draw(some(peers())),
        errors=draw(st.sampled_from([(), (UNUSABLE,)])),
    )


def applied(service: Service, decision: ServicePlan | None) -> Service:
    """The Service as it stands once a decision was written, and the API server filled in."""
    if decision is None:
        return service
    note = {POOL_NOTE: decision.pool} if decision.pool else {}
    kept = {key: value for key, value in service.annotations.items() if key != POOL_NOTE}
    return msgspec.structs.replace(
        service,
        annotations={**kept, **note},
        ingress=tuple((address, "VIP") for address in decision.addresses),
        ingress_errors=(),
    )
