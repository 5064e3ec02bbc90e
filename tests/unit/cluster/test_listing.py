# SPDX-License-Identifier: Apache-2.0
"""One reading of a cluster: pages, kinds that are not there, rights that are missing."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.listing import ListDeniedError, list_objects
from fairlead.snapshot.resources import METALLB, PLANNED
from unit.cluster.scripted_api import ScriptedApi, Step, listing, reply, serving, thing

SERVICES = "/api/v1/services"
POOLS = "/apis/metallb.io/v1beta1/ipaddresspools"
FORBIDDEN = {"kind": "Status", "reason": "Forbidden", "message": "not for you", "code": 403}
EXPIRED = {"kind": "Status", "reason": "Expired", "message": "compacted", "code": 410}
CORE = [one.path() for one in PLANNED.values() if one.group != METALLB]
CRDS = [one.path() for one in PLANNED.values() if one.group == METALLB]

server = pytest.fixture(serving)


@pytest.fixture
def api(server: ScriptedApi, tmp_path: Path) -> KubeApi:
    """A client of the scripted API server; what no test scripts answers 404."""
    return KubeApi(server.kubeconfig(tmp_path))


def script(server: ScriptedApi, steps: Mapping[str, tuple[Step, ...]] | None = None) -> None:
    """Empty lists of the kinds that are always there, but for those given by path."""
    for path in CORE:
        server.on("GET", path, *(steps or {}).get(path, (reply(listing(1)),)))


def test_objects_come_as_they_would_stand_in_manifests(server: ScriptedApi, api: KubeApi) -> None:
    service = thing("web", 7)
    service["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    script(server, {SERVICES: (reply(listing(9, service)),)})
    server.on("GET", POOLS, reply(listing(9, thing("lan", 8))))
    assert list_objects(api) == [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default", "resourceVersion": "7"},
        },
        {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": {"name": "lan", "namespace": "default", "resourceVersion": "8"},
        },
    ]
    assert {verb for verb, *_ in server.requests} == {"GET"}


def test_long_lists_come_in_pages(server: ScriptedApi, api: KubeApi) -> None:
    pages = (
        reply(listing(9, thing("a", 1), token="more")),
        reply(listing(9, thing("b", 2))),
    )
    script(server, {SERVICES: pages})
    assert [one["metadata"]["name"] for one in list_objects(api)] == ["a", "b"]
    queries = [query for verb, path, query, *_ in server.requests if path == SERVICES]
    assert queries == [{"limit": "500"}, {"limit": "500", "continue": "more"}]


def test_pages_of_a_state_that_is_gone_come_in_one_piece(server: ScriptedApi, api: KubeApi) -> None:
    pages = (
        reply(listing(9, thing("a", 1), token="old")),
        reply(EXPIRED, 410),
        reply(listing(12, thing("c", 3))),
    )
    script(server, {SERVICES: pages})
    assert [one["metadata"]["name"] for one in list_objects(api)] == ["c"]
    queries = [query for verb, path, query, *_ in server.requests if path == SERVICES]
    assert queries == [{"limit": "500"}, {"limit": "500", "continue": "old"}, {}]


def test_slices_of_headless_services_are_not_asked_for(server: ScriptedApi, api: KubeApi) -> None:
    """As the agent's watch has it: they are never ours and may be many."""
    script(server)
    list_objects(api)
    (query,) = [query for _, path, query, *_ in server.requests if "endpointslices" in path]
    assert query["labelSelector"] == ("kubernetes.io/service-name,!service.kubernetes.io/headless")


def test_missing_rights_are_named_all_at_once(server: ScriptedApi, api: KubeApi) -> None:
    script(server, {SERVICES: (reply(FORBIDDEN, 403),), "/api/v1/nodes": (reply({}, 403),)})
    server.on("GET", POOLS, reply(FORBIDDEN, 403))
    server.on("GET", "/apis/metallb.io/v1beta1", reply({"kind": "APIResourceList"}))
    with pytest.raises(ListDeniedError) as caught:
        list_objects(api)
    assert str(caught.value) == (
        "API server: this account may not list nodes, services, ipaddresspools.metallb.io; bind a "
        "ClusterRole with the verb list on these resources to it (role cluster_access makes one)"
    )


def test_no_right_to_what_is_not_installed_is_no_matter(server: ScriptedApi, api: KubeApi) -> None:
    """Rights are checked before existence: 403 says nothing about a definition that is absent."""
    script(server)
    for path in CRDS:
        server.on("GET", path, reply(FORBIDDEN, 403))
    assert list_objects(api) == []


def test_other_answers_are_errors(server: ScriptedApi, api: KubeApi) -> None:
    script(server, {SERVICES: (reply({"message": "on fire"}, 500),)})
    with pytest.raises(ApiError, match="GET /api/v1/services: HTTP 500"):
        list_objects(api)
