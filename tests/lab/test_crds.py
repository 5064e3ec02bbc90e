# SPDX-License-Identifier: Apache-2.0
"""Our definitions of metallb.io in a real API server: what passes, what is refused, what is left.

An API server without MetalLB's definitions, and without anything else: it costs a few seconds.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from fairlead.cluster.access import AccessChange
from fairlead.cluster.client import MERGE_PATCH, ApiError, KubeApi
from fairlead.cluster.definitions import (
    CRDS,
    CrdState,
    crd_state,
    ensure_crds,
    remove_crds,
)
from fairlead.crds import definitions
from fairlead.crds.definition import REVISION_ANNOTATION
from fairlead.edge.netns import entered
from fairlead_lab import controlplane, kubebuild
from fairlead_lab.config import LabConfig
from fairlead_lab.solo import solo_api
from support.crd_cases import BAD, GOOD, Case, peer, pool
from support.harness import wait_for

pytestmark = pytest.mark.lab

NAMESPACE = "metallb-system"
PLURALS = {made.kind: made.plural for made in definitions()}
SERVICES = "/api/v1/namespaces/default/services"


class Cluster:
    def __init__(self, cfg: LabConfig) -> None:
        self.cfg, self.api = cfg, KubeApi(cfg.admin_kubeconfig)
        self.programs = kubebuild.ensure(cfg)

    def kubectl(self, *args: str, text: str | None = None) -> str:
        return controlplane.kubectl(self.cfg, self.programs, *args, text=text)

    def path(self, case: Case) -> str:
        return f"/apis/{case.version}/namespaces/{NAMESPACE}/{PLURALS[case.kind]}"

    def create(self, case: Case, *, dry: bool = False) -> Any:
        body = {
            "apiVersion": case.version,
            "kind": case.kind,
            "metadata": {"name": case.name},
            "spec": case.spec,
        }
        query = {"dryRun": "All"} if dry else {}
        return json.loads(self.api.request("POST", self.path(case), query=query, body=body))

    def answer(self, case: Case) -> str:
        """What the API server says to a manifest; "" where it is taken."""
        try:
            self.create(case, dry=True)
        except ApiError as error:
            return str(error)
        return ""

    def crd(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.api.request("GET", f"{CRDS}/{name}")))


@pytest.fixture(scope="module")
def server() -> Iterator[LabConfig]:
    cfg = LabConfig(name="flcrd", index=93)
    with solo_api(cfg):
        yield cfg


@pytest.fixture(scope="module")
def cluster(server: LabConfig) -> Iterator[Cluster]:
    with entered(server.netns("cp")):
        made = Cluster(server)
        made.api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": NAMESPACE}})
        assert crd_state(made.api) is CrdState.ABSENT
        assert changed(ensure_crds(made.api, check=True))
        assert crd_state(made.api) is CrdState.ABSENT
        assert len(changed(ensure_crds(made.api))) == len(definitions()) + 2
        yield made


def changed(changes: list[AccessChange]) -> list[str]:
    return [change.name for change in changes if change.changed]


# -- manifests ------------------------------------------------------------------------------------


def test_all_good_manifests_pass(cluster: Cluster) -> None:
    refused = {case.name: said for case in GOOD if (said := cluster.answer(case))}
    assert refused == {}


def test_all_bad_manifests_are_refused_with_a_sentence(cluster: Cluster) -> None:
    said = {case.name: cluster.answer(case) for case in BAD}
    wrong = {
        case.name: said[case.name]
        for case in BAD
        if "HTTP 422" not in said[case.name]
        or not all(part in said[case.name] for part in case.says)
    }
    assert wrong == {}


def test_kubectl_apply_says_which_field_and_why(cluster: Cluster) -> None:
    bad = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "lan", "namespace": NAMESPACE},
        "spec": pool("192.0.2.20-192.0.2.10"),
    }
    with pytest.raises(controlplane.ClusterError) as caught:
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(bad))
    assert "spec.addresses[0]" in str(caught.value)
    assert 'range "192.0.2.20-192.0.2.10" is reversed' in str(caught.value)
    bad["spec"] = pool("192.0.2.0/24", auto_assign=False)
    with pytest.raises(controlplane.ClusterError, match=r'unknown field "spec\.auto_assign"'):
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(bad))


def test_defaults_and_columns(cluster: Cluster) -> None:
    made = cluster.create(Case("lan", "IPAddressPool", pool("192.0.2.0/24")))
    assert made["spec"]["autoAssign"] is True
    assert made["spec"]["avoidBuggyIPs"] is False
    shown = cluster.kubectl("-n", NAMESPACE, "get", "ipaddresspools")
    assert [line.split() for line in shown.splitlines()] == [
        ["NAME", "AUTO", "ASSIGN", "AVOID", "BUGGY", "IPS", "ADDRESSES"],
        ["lan", "true", "false", '["192.0.2.0/24"]'],
    ]
    cluster.create(Case("tor", "BGPPeer", peer(), version="metallb.io/v1beta2"))
    shown = cluster.kubectl("-n", NAMESPACE, "get", "bgppeers")
    assert shown.splitlines()[1].split() == ["tor", "192.0.2.1", "64500"]


def test_counters_are_written_through_the_status_subresource(cluster: Cluster) -> None:
    case = Case("counted", "IPAddressPool", pool("198.51.100.0/24"))
    cluster.create(case)
    counters = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 255,
                "availableIPv6": 2**63 - 1}  # fmt: skip
    path = f"{cluster.path(case)}/counted"
    cluster.api.request(
        "PATCH", f"{path}/status", body={"status": counters}, content_type=MERGE_PATCH
    )
    found = json.loads(cluster.api.request("GET", path))
    assert found["status"] == counters
    assert found["metadata"]["generation"] == 1


def test_peers_read_and_write_the_same_in_both_versions(cluster: Cluster) -> None:
    spec = peer(passwordSecret={"name": "s"}, connectTime="10s", vrf="red")
    new = Case("both", "BGPPeer", spec, version="metallb.io/v1beta2")
    old = new._replace(version="metallb.io/v1beta1")
    cluster.create(new)
    as_old = json.loads(cluster.api.request("GET", f"{cluster.path(old)}/both"))
    assert as_old["apiVersion"] == "metallb.io/v1beta1"
    as_old["spec"]["holdTime"] = "9s"
    cluster.api.request("PUT", f"{cluster.path(old)}/both", body=as_old)
    found = json.loads(cluster.api.request("GET", f"{cluster.path(new)}/both"))["spec"]
    assert found["passwordSecret"] == {"name": "s"}
    assert (found["connectTime"], found["vrf"], found["holdTime"]) == ("10s", "red", "9s")


def test_graceful_restart_of_a_peer_is_fixed(cluster: Cluster) -> None:
    case = Case("fixed", "BGPPeer", peer(enableGracefulRestart=True), version="metallb.io/v1beta2")
    cluster.create(case)
    with pytest.raises(ApiError, match="can't be changed"):
        cluster.api.request(
            "PATCH",
            f"{cluster.path(case)}/fixed",
            body={"spec": {"enableGracefulRestart": False}},
            content_type=MERGE_PATCH,
        )


# -- Services -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addresses", "spec", "says"),
    [
        ("192.0.2.1", {}, ""),
        ("192.0.2.1, 2001:db8::1", {}, ""),
        ("192.0.2.1,192.0.2.2,192.0.2.3", {}, "3 addresses are more than two"),
        ("192.0.2.1,192.0.2.2", {}, "two addresses of one family"),
        ("192.0.2.1,lan", {}, '"lan" is not an IP address'),
        ("192.0.2.1", {"loadBalancerIP": "192.0.2.1"}, "exclude each other"),
        ("a,b,c", {"loadBalancerClass": "example.com/other"}, ""),
        ("a,b,c", {"type": "ClusterIP"}, ""),
    ],
)
@pytest.mark.parametrize("key", ["metallb.io", "metallb.universe.tf"])
def test_addresses_that_a_service_cannot_mean_are_refused(
    cluster: Cluster, key: str, addresses: str, spec: dict[str, Any], says: str
) -> None:
    body = service(f"{key}/loadBalancerIPs", addresses, **spec)

    def ask() -> str:
        try:
            cluster.api.request("POST", SERVICES, query={"dryRun": "All"}, body=body)
        except ApiError as error:
            return str(error)
        return ""

    assert (says in ask()) if says else ask() == ""


def service(key: str, addresses: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "annotations": {key: addresses}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
    }


def test_a_service_that_was_wrong_before_can_still_be_edited(cluster: Cluster) -> None:
    changes = [change for change in remove_crds(cluster.api) if "Policy" in change.name]
    assert len(changes) == 2
    ensure_after = service("metallb.io/loadBalancerIPs", "a,b,c")

    def accepted() -> bool:  # the API server forgets a policy some time after the answer to DELETE
        try:
            cluster.api.request("POST", SERVICES, body=ensure_after)
        except ApiError as error:
            if error.status != 422:
                raise
            return False
        return True

    wait_for("the API server without the policy", accepted)
    assert changed(ensure_crds(cluster.api))
    edit = {"metadata": {"labels": {"a": "b"}}}
    cluster.api.request("PATCH", f"{SERVICES}/web", body=edit, content_type=MERGE_PATCH)
    cluster.api.request("DELETE", f"{SERVICES}/web")


# -- life of the definitions ----------------------------------------------------------------------


def test_second_run_changes_nothing_and_drift_is_repaired(cluster: Cluster) -> None:
    assert changed(ensure_crds(cluster.api)) == []
    where = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/addresses"
    patch = [{"op": "replace", "path": f"{where}/description", "value": "Somebody else's words."}]
    cluster.kubectl(
        "patch", "crd", "ipaddresspools.metallb.io", "--type=json", "-p", json.dumps(patch)
    )
    name = "CustomResourceDefinition ipaddresspools.metallb.io"
    assert changed(ensure_crds(cluster.api, check=True)) == [name]
    assert changed(ensure_crds(cluster.api)) == [name]
    assert changed(ensure_crds(cluster.api)) == []


def test_definitions_of_a_newer_release_are_left_alone(cluster: Cluster) -> None:
    name = "communities.metallb.io"
    notes = {"metadata": {"annotations": {REVISION_ANNOTATION: "999"}}}
    newer = {**notes, "spec": {"names": {"shortNames": ["com"]}}}
    cluster.api.request("PATCH", f"{CRDS}/{name}", body=newer, content_type=MERGE_PATCH)
    assert changed(ensure_crds(cluster.api)) == []
    assert cluster.crd(name)["spec"]["names"]["shortNames"] == ["com"]
    notes["metadata"]["annotations"][REVISION_ANNOTATION] = "0"
    cluster.api.request("PATCH", f"{CRDS}/{name}", body=notes, content_type=MERGE_PATCH)
    assert changed(ensure_crds(cluster.api)) == [f"CustomResourceDefinition {name}"]


def test_removal_keeps_definitions_that_have_objects(cluster: Cluster) -> None:
    case = Case("kept", "IPAddressPool", pool("203.0.113.0/24"))
    cluster.create(case)
    gone = changed(remove_crds(cluster.api))
    assert "CustomResourceDefinition ipaddresspools.metallb.io" not in gone
    assert "CustomResourceDefinition communities.metallb.io" in gone
    assert "CustomResourceDefinition servicel2statuses.metallb.io" in gone
    assert json.loads(cluster.api.request("GET", f"{cluster.path(case)}/kept"))["spec"]
    assert changed(ensure_crds(cluster.api))


def upstream(cluster: Cluster) -> dict[str, dict[str, Any]]:
    text = kubebuild.metallb_crds(cluster.cfg).read_text()
    found = [one for one in yaml.safe_load_all(text) if one]
    return {one["metadata"]["name"]: one for one in found}


def skeleton(schema: dict[str, Any]) -> Any:
    """Names and types of a schema, without what is said about them."""
    made: dict[str, Any] = {"type": schema["type"]}
    if "default" in schema:
        made["default"] = schema["default"]
    if "properties" in schema:
        made |= {name: skeleton(child) for name, child in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            made[key] = skeleton(schema[key])
    return made


def test_names_types_versions_and_columns_are_those_of_metallb(cluster: Cluster) -> None:
    theirs = upstream(cluster)
    assert set(theirs) == {made.name for made in definitions()}
    # Newer than what Fairlead knows: kubectl refuses it as an unknown field, silence would lie.
    advertisement = theirs["bgpadvertisements.metallb.io"]["spec"]["versions"][0]
    fields = advertisement["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del fields["asPathPrepend"]
    for made in definitions():
        ours, known = made.manifest()["spec"], theirs[made.name]["spec"]
        assert (ours["group"], ours["scope"]) == (known["group"], known["scope"])
        assert ours["names"] == known["names"]
        for version, other in zip(ours["versions"], known["versions"], strict=True):
            for key in ("name", "served", "storage", "subresources", "additionalPrinterColumns"):
                assert version.get(key) == other.get(key), (made.name, key)
            if version["storage"]:
                mine = skeleton(version["schema"]["openAPIV3Schema"])
                assert mine == skeleton(other["schema"]["openAPIV3Schema"]), made.name


def test_definitions_of_metallb_are_never_touched(cluster: Cluster) -> None:
    """The last one here: MetalLB's manifests replace ours, as an administrator may do."""
    crds = str(kubebuild.metallb_crds(cluster.cfg))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
    before = {made.name: cluster.crd(made.name) for made in definitions()}
    assert crd_state(cluster.api) is CrdState.FOREIGN
    assert changed(ensure_crds(cluster.api)) == []
    assert all("Policy" in name for name in changed(remove_crds(cluster.api)))
    assert {made.name: cluster.crd(made.name) for made in definitions()} == before
