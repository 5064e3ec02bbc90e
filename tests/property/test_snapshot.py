# SPDX-License-Identifier: Apache-2.0
"""Whatever a manifest or a cluster holds: it is parsed, or refused with a sentence."""

import contextlib

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.model.errors import InventoryError, ObjectFieldError
from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import plan_to_json
from fairlead.planner.plan import make_plan
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import Document, snapshot_from_documents
from fairlead.snapshot.objects import field_error
from fairlead.snapshot.resources import PLANNED, convert_object, parse_object
from property.strategies_cluster import inventory

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = [
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "spec",
    "status",
    "type",
    "ports",
    "port",
    "protocol",
    "targetPort",
    "nodePort",
    "loadBalancer",
    "ingress",
    "ip",
    "addresses",
    "endpoints",
    "conditions",
    "ready",
    "nodeName",
    "addressType",
    "serviceAllocation",
    "namespaces",
    "serviceSelectors",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "clusterIPs",
    "ipFamilies",
    "kind",
    "items",
    "taints",
    "effect",
    "address",
    "edges",
    "pools",
    "vrrp",
    "bgp",
    "peers",
    "asn",
    "announce",
]
VALUES = [
    "",
    "x",
    "LoadBalancer",
    "TCP",
    "UDP",
    "ICMP",
    "10.0.0.1",
    "10.0.0.0/24",
    "fd00::/64",
    "10.0.0.9-10.0.0.1",
    "fe80::1%eth0",
    "IPv4",
    "Local",
    "In",
    "Exists",
    "InternalIP",
    "Ready",
    "True",
    "a\nb",
    "Service",
    "List",
    "ServiceList",
    "é",
    "../x",
    "0",
    "\x00",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.floats(allow_nan=False)
    | st.sampled_from(VALUES)
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=20,
)
objects = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.sampled_from(["x", "y", ""])}, optional={"labels": values}
        ),
    },
    optional=dict.fromkeys(("spec", "status", "endpoints", "ports", "addressType"), values),
)


@UNHURRIED
@given(st.sampled_from(sorted(PLANNED)), objects | values)
def test_any_object_is_parsed_or_refused(kind: str, data) -> None:
    if not isinstance(data, dict):
        data = {"metadata": data}
    with contextlib.suppress(ObjectFieldError):
        parsed = parse_object(kind, data)
        assert make_plan(_snapshot(kind, parsed), inventory()) is not None


def _snapshot(kind: str, parsed) -> Snapshot:
    attribute = {
        "Service": "services",
        "EndpointSlice": "slices",
        "Node": "nodes",
        "Namespace": "namespaces",
        "IPAddressPool": "pools",
        "L2Advertisement": "l2_advertisements",
        "BGPAdvertisement": "bgp_advertisements",
        "BGPPeer": "bgp_peers",
        "BFDProfile": "bfd_profiles",
        "Community": "communities",
    }[kind]
    return Snapshot(**{attribute: (parsed,)})


@UNHURRIED
@given(st.sampled_from(sorted(PLANNED)), objects)
def test_the_wire_refuses_what_a_manifest_refuses(kind: str, data) -> None:
    def by_manifest():
        return parse_object(kind, data)

    def by_wire():
        try:
            wire = msgspec.json.decode(msgspec.json.encode(data), type=PLANNED[kind].wire)
        except msgspec.ValidationError as error:
            raise field_error(error) from None
        return convert_object(kind, wire)

    results = []
    for way in (by_manifest, by_wire):
        try:
            results.append(way())
        except ObjectFieldError:
            results.append(None)
    # Nulls are dropped from manifests; the API server never sends one where a value must be.
    if "null" not in msgspec.json.encode(data).decode():
        assert results[0] == results[1]


@UNHURRIED
@given(st.lists(values | objects.map(lambda data: {"kind": "Service", **data}), max_size=4))
def test_any_documents_make_a_plan(contents) -> None:
    documents = [Document("f", number + 1, value) for number, value in enumerate(contents)]
    snapshot = snapshot_from_documents(documents)
    assert plan_to_json(make_plan(snapshot, inventory()))
    for error in snapshot.errors:
        assert error.file == "f"
        assert 1 <= error.document <= len(contents)
        assert error.message


@UNHURRIED
@given(st.dictionaries(st.sampled_from(WORDS), values, max_size=4))
def test_any_inventory_is_parsed_or_refused(data) -> None:
    with contextlib.suppress(InventoryError):
        inventory_from_dict(data)
