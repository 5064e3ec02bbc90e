# SPDX-License-Identifier: Apache-2.0
"""`cluster_access`: account, rights and token for the edges."""

import json

import pytest
import yaml

from modules.object_api import TOKEN, serving
from support.modules import fail_module, run_module

KINDS = {
    "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
    "Secret", "CustomResourceDefinition", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}  # fmt: skip
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POOLS = "/api/v1/namespaces/metallb-system"


@pytest.fixture
def api():
    with serving() as server:
        yield server


def access(api, tmp_path, *, check=False, **params):
    return run_module(
        "cluster_access", {"kubeconfig": api.kubeconfig(tmp_path), **params}, check=check
    )


def test_check_then_do_then_nothing(api, tmp_path):
    foreseen = access(api, tmp_path, check=True)
    assert foreseen["changed"]
    assert foreseen["kubeconfig"] == "", "there is no token yet"
    assert api.writes() == []
    done = access(api, tmp_path)
    assert done["changes"] == foreseen["changes"]
    assert done["diff"] == foreseen["diff"]
    assert {change.split()[0] for change in done["changes"]} == KINDS
    written = len(api.writes())
    for check in (True, False):
        again = access(api, tmp_path, check=check)
        assert not again["changed"]
        assert again["changes"] == []
        assert again["kubeconfig"] == done["kubeconfig"]
    assert len(api.writes()) == written


def test_secrets_may_be_read_beside_peers_and_nowhere_else(api, tmp_path):
    name = "fairlead-edge-peer-secrets"
    asked = {"peer_namespace": "peers"}
    access(api, tmp_path, **asked)
    assert name not in str(api.objects), "there is no such namespace yet"
    api.objects["/api/v1/namespaces/peers"] = {"metadata": {"name": "peers"}}
    changes = access(api, tmp_path, **asked)["changes"]
    assert changes == [f"Role {name}", f"RoleBinding {name}"]
    rules = [
        (path.split("/namespaces/")[1].split("/")[0], rule)
        for path, item in api.objects.items()
        for rule in item.get("rules", ())
        if "secrets" in rule["resources"]
    ]
    verbs = ["get", "list", "watch"]
    assert rules == [("peers", {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs})]
    assert not access(api, tmp_path, **asked)["changed"]
    access(api, tmp_path, state="absent", **asked)
    assert name not in str(api.objects)


def test_kubeconfig_is_the_edges_own(api, tmp_path):
    server = "https://192.0.2.10:6443"
    document = yaml.safe_load(access(api, tmp_path, server=server)["kubeconfig"])
    assert document["clusters"][0]["cluster"]["server"] == server
    assert document["users"][0]["user"] == {"token": TOKEN}
    default = yaml.safe_load(access(api, tmp_path)["kubeconfig"])
    assert default["clusters"][0]["cluster"]["server"] == api.url


def test_a_right_taken_away_by_hand_comes_back_and_is_in_the_diff(api, tmp_path):
    access(api, tmp_path)
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/fairlead-edge"
    wanted = api.objects[role]["rules"]
    api.objects[role]["rules"] = wanted[1:]
    result = access(api, tmp_path)
    assert result["changes"] == ["ClusterRole fairlead-edge"]
    assert "nodes" in result["diff"]["after"]
    assert api.objects[role]["rules"] == wanted


def test_absent_removes_all_of_it_and_nothing_else(api, tmp_path):
    other = "/api/v1/namespaces/production"
    api.objects[other] = {"metadata": {"name": "production"}}
    access(api, tmp_path, namespace="lb")
    params = {"namespace": "lb", "state": "absent"}
    held = dict(api.objects)
    foreseen = access(api, tmp_path, check=True, **params)
    assert api.objects == held
    done = access(api, tmp_path, **params)
    assert done["changes"] == foreseen["changes"]
    assert done["changes"][-1] == "Namespace lb"
    assert set(api.objects) == {other, POOLS}, "the namespace of the pools may hold anything"
    assert not access(api, tmp_path, **params)["changed"]


def test_two_groups_live_side_by_side(api, tmp_path):
    """Also in one namespace; each is taken away without a trace in the other."""
    access(api, tmp_path)
    first = json.loads(json.dumps(api.objects))
    done = access(api, tmp_path, group="public")
    assert done["changes"], "it has an account of its own"
    assert all("public" in change for change in done["changes"])
    assert {path: api.objects[path] for path in first} == first, "nothing of the first is touched"
    assert not access(api, tmp_path)["changed"]
    assert not access(api, tmp_path, group="public")["changed"]
    gone = access(api, tmp_path, group="public", state="absent")
    assert all("public" in change for change in gone["changes"])
    assert api.objects == first


def test_the_last_group_takes_the_shared_things_along(api, tmp_path):
    access(api, tmp_path)
    access(api, tmp_path, group="public")
    access(api, tmp_path, state="absent")
    assert "/api/v1/namespaces/fairlead-system" in api.objects
    assert any(path.startswith(CRDS) for path in api.objects)
    access(api, tmp_path, group="public", state="absent")
    assert set(api.objects) <= {POOLS}


def test_a_second_group_of_the_same_name_is_refused(api, tmp_path):
    access(api, tmp_path)
    before = json.loads(json.dumps(api.objects))
    params = {"kubeconfig": api.kubeconfig(tmp_path), "namespace": "elsewhere"}
    said = fail_module("cluster_access", params)
    assert "fairlead_group" in said
    assert "fairlead-system" in said
    assert api.objects == before


def test_the_token_is_in_no_diff(api, tmp_path):
    assert TOKEN not in str(access(api, tmp_path)["diff"])


def test_a_right_that_is_missing_is_named(api, tmp_path):
    api.forbidden.add("/apis/rbac.authorization.k8s.io/v1/clusterroles")
    said = fail_module("cluster_access", {"kubeconfig": api.kubeconfig(tmp_path)})
    assert "POST /apis/rbac.authorization.k8s.io/v1/clusterroles: HTTP 403 Forbidden" in said


def test_definitions_are_installed_where_there_are_none(api, tmp_path):
    assert access(api, tmp_path, check=True)["crds"] == "absent"
    assert access(api, tmp_path)["crds"] == "ours"
    assert f"{CRDS}/ipaddresspools.metallb.io" in api.objects


def test_definitions_can_be_switched_off(api, tmp_path):
    assert access(api, tmp_path, crds=False)["crds"] == "absent"
    assert not any(path.startswith(CRDS) for path in api.objects)


def test_definitions_of_somebody_else_stay_and_nothing_is_added(api, tmp_path):
    path = f"{CRDS}/l2advertisements.metallb.io"
    theirs = {"metadata": {"name": "l2advertisements.metallb.io"}, "spec": {}}
    api.objects[path] = theirs
    result = access(api, tmp_path)
    assert result["crds"] == "foreign"
    access(api, tmp_path, state="absent")
    assert [one for one in api.objects if one.startswith(CRDS)] == [path]
    assert api.objects[path] is theirs


def test_removal_takes_what_edges_told_with_it(api, tmp_path):
    access(api, tmp_path, crds=False)
    group = "/apis/metallb.io/v1beta1/namespaces/metallb-system"
    told, state = f"{group}/servicel2statuses", f"{group}/configurationstates"
    api.lists[told] = [{"metadata": {"name": "l2-abcde"}, "status": {"node": "edge1"}}]
    api.lists[state] = [{"metadata": {"name": "controller"}, "status": {"result": "Valid"}}]
    for path in (f"{told}/l2-abcde", f"{state}/controller"):
        api.objects[path] = {"metadata": {"name": path.rpartition("/")[2]}}
    params = {"crds": False, "state": "absent"}
    foreseen = access(api, tmp_path, check=True, **params)
    assert f"{told}/l2-abcde" in api.objects
    assert f"{state}/controller" in api.objects
    done = access(api, tmp_path, **params)
    assert done["changes"][:2] == [
        "ServiceL2Status metallb-system/l2-abcde",
        "ConfigurationState metallb-system/controller",
    ]
    assert done["changes"] == foreseen["changes"]
    assert f"{told}/l2-abcde" not in api.objects
    assert f"{state}/controller" not in api.objects


def test_definitions_with_objects_outlive_removal(api, tmp_path):
    access(api, tmp_path)
    pools = "/apis/metallb.io/v1beta1/ipaddresspools"
    api.lists[pools] = [{"metadata": {"name": "lan"}}]
    access(api, tmp_path, state="absent")
    left = [one for one in api.objects if one.startswith(CRDS)]
    assert left == [f"{CRDS}/ipaddresspools.metallb.io"]
