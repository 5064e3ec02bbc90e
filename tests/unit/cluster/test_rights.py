# SPDX-License-Identifier: Apache-2.0
"""The edges' account has exactly the rights that the code uses: each request, each rule."""

import re
from queue import SimpleQueue
from typing import Any, cast

import msgspec
import pytest

from fairlead.cluster.access import rules
from fairlead.cluster.client import ApiError, ApiUnavailableError, KubeApi
from fairlead.cluster.configuration_states import (
    Component,
    ConfigState,
    ConfigStateStore,
    Reason,
    StateObject,
)
from fairlead.cluster.feed import ClusterFeed
from fairlead.cluster.lease import KubeLeaseStore, LeaseSpec
from fairlead.cluster.metadata import ObjectMeta
from fairlead.cluster.pools import read_pool, write_counters
from fairlead.cluster.status_objects import (
    StatusKind,
    StatusObject,
    StatusObjectStore,
    StatusRow,
)
from fairlead.cluster.writes import EventRecorder, IngressStatus, ServiceRef, write_status
from fairlead.model.names import ObjectKey
from fairlead.model.plan import PlanEvent
from fairlead.planner.usage import PoolUsage
from fairlead.snapshot.resources import Place

Right = tuple[str, str, str, str]  # verb, group, resource, namespace ("" is all of them)
PLACES = {Place.EVERYWHERE: "", Place.POOLS: "pools", Place.HOME: "home", Place.PEERS: "pools"}
URL = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<space>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?P<status>/status)?)?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Witness:
    """An API that notes the right that each request needs; every object exists and is empty."""

    def __init__(self) -> None:
        self.used: set[Right] = set()
        self.generation = 1
        self.conflict = self.missing = False

    def request(self, method: str, path: str, **_: Any) -> bytes:
        """Note it; answer with something that is an object and a list."""
        found = URL.fullmatch(path)
        assert found, path
        verb = VERBS.get(method) or ("get" if found["name"] else "list")
        self._note(verb, found)
        if self.conflict and method == "POST":
            raise ApiError(method, path, 409)
        if self.missing and method == "GET":
            raise ApiError(method, path, 404)
        labels = {"app.kubernetes.io/managed-by": "fairlead"}
        one = {"metadata": {"name": "x", "labels": labels}, "items": [], "spec": {}}
        return msgspec.json.encode(one)

    def stream(self, path: str, *_: Any, **__: Any) -> Any:
        """Note it, and break off."""
        found = URL.fullmatch(path)
        assert found, path
        self._note("watch", found)
        raise ApiUnavailableError("enough")

    def _note(self, verb: str, url: re.Match[str]) -> None:
        resource = url["plural"] + (url["status"] or "")
        self.used.add((verb, url["group"] or "", resource, url["space"] or ""))


def granted() -> set[Right]:
    """All that the rules grant."""
    return {
        (verb, group, resource, PLACES[place])
        for place in Place
        for rule in rules(place)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def follow(api: KubeApi) -> None:
    """All watches, each until it broke off once."""
    feed = ClusterFeed(api, "pools", SimpleQueue(), secrets=True)
    for watcher in feed._watchers:
        watcher._list()
        with pytest.raises(ApiUnavailableError):
            watcher._watch()


def write(api: KubeApi, witness: Witness) -> None:
    """Each writer once, on all its ways."""
    key = ObjectKey("shop", "web")
    service = ServiceRef(key, "u", "1")
    write_status(api, service, IngressStatus((("192.0.2.1", "VIP"),), "lan"))
    events = EventRecorder(api, "edge1")
    witness.conflict = True  # the Event is there already: read its count, raise it
    events.record(service, PlanEvent("Normal", "Said", "so"))
    witness.conflict = False
    write_counters(api, read_pool(api, ObjectKey("pools", "lan")), PoolUsage("lan", 1))
    reports = StatusObjectStore(api, "pools")
    for kind in StatusKind:
        reports.own(kind, "edge1")
        reports.create(StatusRow(kind, "edge1", key, ("eth0",)))
        reports.delete(kind, StatusObject(ObjectMeta(name="x")))
    states = ConfigStateStore(api, "pools")
    states.of_all()
    for witness.missing in (True, False):  # it is made; its labels are mended
        states.make_true(ConfigState(Component.SPEAKER, "edge1", Reason.RECONCILED))
    states.delete(msgspec.convert({"metadata": {"name": "x"}}, type=StateObject))
    leases = KubeLeaseStore(api, "home", "fairlead")
    leases.put(leases.get() or leases.create(LeaseSpec()))
    leases.create(LeaseSpec())


def test_every_request_has_its_right_and_every_right_its_request() -> None:
    witness = Witness()
    api = cast("KubeApi", witness)
    follow(api)
    write(api, witness)
    given = granted()
    for verb, group, resource, space in witness.used:
        assert {(verb, group, resource, space), (verb, group, resource, "")} & given
    asked = {used[:3] for used in witness.used}
    # Whoever may list may as well get: it shows nothing more.
    harmless = {("get", *rest) for verb, *rest in asked if verb == "list"}
    assert {one[:3] for one in given} - harmless == asked - harmless


def test_what_is_granted_everywhere_reads_or_writes_no_object_but_its_status() -> None:
    """Events apart, edges write in namespaces of others nothing but a status."""
    writes = {
        (verb, resource)
        for verb, _, resource, space in granted()
        if not space and verb not in ("get", "list", "watch")
    }
    assert writes == {
        ("patch", "services/status"),
        ("patch", "ipaddresspools/status"),
        ("create", "events"),
        ("patch", "events"),
    }


def test_secrets_are_granted_beside_peers_only() -> None:
    places = [place for place in Place for rule in rules(place) if "secrets" in rule["resources"]]
    assert places == [Place.PEERS]
