# SPDX-License-Identifier: Apache-2.0
"""The namespace of pools at removal, asked of a real API server: when it goes, when it stays."""

from collections.abc import Iterator
from typing import Any

import pytest

from fairlead.cluster.access import LABELS, EdgeAccount, ensure_access, get, remove_access
from fairlead.cluster.client import MERGE_PATCH, KubeApi
from fairlead.cluster.definitions import ensure_crds
from fairlead.cluster.namespace import remove_if_unused
from fairlead.edge.netns import entered
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import solo_api

pytestmark = pytest.mark.lab

HOME, POOLS = "fairlead-system", "metallb-system"
PATH = f"/api/v1/namespaces/{POOLS}"
EXTRAS: list[tuple[str, dict[str, Any]]] = [
    (f"{PATH}/configmaps", {}),
    (f"{PATH}/secrets", {"stringData": {"password": "bgp"}}),
    (f"{PATH}/services", {"spec": {"ports": [{"port": 80}]}}),
    (f"/apis/coordination.k8s.io/v1/namespaces/{POOLS}/leases", {}),
    (
        f"/apis/metallb.io/v1beta1/namespaces/{POOLS}/ipaddresspools",
        {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "spec": {"addresses": ["192.0.2.0/24"]},
        },
    ),
]


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    cfg = LabConfig(name="flcns", index=94)
    with solo_api(cfg), entered(cfg.netns("cp")):
        yield KubeApi(cfg.admin_kubeconfig)


@pytest.fixture
def installed(api: KubeApi) -> KubeApi:
    """Access and definitions as the role makes them, and what controllers (none runs here) add."""
    ensure_access(api, EdgeAccount(HOME), pool_namespace=POOLS, peers=POOLS)
    ensure_crds(api)
    for kind, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
        if get(api, f"{PATH}/{kind}/{name}") is None:
            api.request("POST", f"{PATH}/{kind}", body={"metadata": {"name": name}})
    return api


def names(api: KubeApi, *, check: bool = False) -> list[str]:
    return [change.name for change in remove_if_unused(api, POOLS, LABELS, check=check)]


def test_stays_while_anything_of_anybody_is_in_it(installed: KubeApi) -> None:
    for path, body in EXTRAS:
        installed.request("POST", path, body={**body, "metadata": {"name": "somebodys"}})
        assert names(installed) == [], path
        installed.request("DELETE", f"{path}/somebodys")
    assert names(installed, check=True) == [f"Namespace {POOLS}"]
    assert get(installed, PATH)


def test_stays_where_somebody_else_made_it(installed: KubeApi) -> None:
    label = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    installed.request("PATCH", PATH, body=label, content_type=MERGE_PATCH)
    assert names(installed) == []
    label = {"metadata": {"labels": LABELS}}
    installed.request("PATCH", PATH, body=label, content_type=MERGE_PATCH)


def test_goes_where_only_ours_is_left(installed: KubeApi) -> None:
    remove_access(installed, EdgeAccount(HOME), pool_namespace=POOLS, peers=POOLS)
    assert names(installed) == [f"Namespace {POOLS}"]
    found = get(installed, PATH)  # no controller runs here that would end it
    assert found is None or "deletionTimestamp" in found["metadata"]
    assert names(installed) == []
