# SPDX-License-Identifier: Apache-2.0
"""`bgp_password_info`: secrets of sessions, from where the plan says that they are."""

import base64

from modules.object_api import serving
from support.modules import fail_module, run_module

NAMESPACE = "metallb-system"


def _peer(name, *, password=None, secret=None):
    ref = secret and {"namespace": NAMESPACE, "name": secret, "key": "password"}
    return {
        "name": name, "namespace": NAMESPACE, "password": password, "password_secret": ref,
    }  # fmt: skip


def _secret(kind, text):
    return {"type": kind, "data": {"password": base64.b64encode(text.encode()).decode()}}


def test_each_is_read_from_its_place_and_no_other(tmp_path):
    peers = [
        _peer("plain"),
        _peer("inventory", password="inventory"),
        _peer("object", password="object"),
        _peer("named", secret="good"),
        _peer("opaque", secret="opaque"),
        _peer("gone", secret="gone"),
    ]
    plan = {"edges": {"edge1": {"bgp_peers": peers[:4]}, "edge2": {"bgp_peers": peers}}}
    with serving() as api:
        secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        api.objects[f"{secrets}/good"] = _secret("kubernetes.io/basic-auth", "from-secret")
        api.objects[f"{secrets}/opaque"] = _secret("Opaque", "wrong type")
        api.objects[f"/apis/metallb.io/v1beta2/namespaces/{NAMESPACE}/bgppeers/object"] = {
            "spec": {"password": "from-object"}
        }
        result = run_module(
            "bgp_password_info", {"kubeconfig": api.kubeconfig(tmp_path), "plan": plan}
        )
        assert api.writes() == []
    assert result["passwords"] == {"object": "from-object", "named": "from-secret"}


def test_a_plan_without_sessions_needs_none_and_a_slice_is_no_plan(tmp_path):
    with serving() as api:
        given = {"kubeconfig": api.kubeconfig(tmp_path), "plan": {"edges": {"edge1": {}}}}
        assert run_module("bgp_password_info", given)["passwords"] == {}
        said = fail_module("bgp_password_info", {**given, "plan": {"bgp_peers": []}})
    assert said.startswith("plan: has no edges: give the whole plan")
