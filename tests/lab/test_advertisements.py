# SPDX-License-Identifier: Apache-2.0
"""Advertisements, peers and their secrets in the cluster: what really goes out, and from where."""

import base64
import json

import pytest

from fairlead_lab import router
from support.bird import MOMENT, up_since
from support.harness import wait_for
from support.provisioned import ProvisionedLab as Lab

pytestmark = pytest.mark.lab

NAMESPACE = "metallb-system"
VIP, OTHER = "203.0.113.70", "203.0.113.130"
APP = "advertised"
INSIDE = "inside"


def _object(kind: str, name: str, spec: dict, version: str = "v1beta1") -> str:
    return json.dumps(
        {
            "apiVersion": f"metallb.io/{version}",
            "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
    )


def _service(lab: Lab, name: str, address: str, **labels: str) -> str:
    return (
        lab.manifest("single-tcp")
        .partition("---\n")[2]
        .replace("app: single-tcp", f"app: {APP}")
        .replace(
            "name: single-tcp",
            f"name: {name}\n  labels: {json.dumps(labels)}\n"
            f'  annotations: {{metallb.io/loadBalancerIPs: "{address}"}}',
        )
    )


def _only(edge: str) -> list[dict]:
    return [{"matchLabels": {"kubernetes.io/hostname": edge}}]


@pytest.fixture(scope="module")
def bgp(bgp_lab: Lab):
    """Edges that use BGP as well, and two Services on routed addresses."""
    lab = bgp_lab
    lab.kubectl("create", "namespace", NAMESPACE, check=False)
    deployment = lab.manifest("single-tcp").partition("---\n")[0].replace("single-tcp", APP)
    texts = [
        deployment,
        _service(lab, "plain", VIP),
        _service(lab, "gold", OTHER, tier="gold"),
    ]
    for text in texts:
        lab.apply(text)
    lab.ready_pods(APP, 3)
    yield lab
    for text in texts:
        lab.delete(text)


@pytest.fixture
def applied(bgp: Lab):
    """Applies objects for one test."""
    texts: list[str] = []

    def apply(*objects: str) -> None:
        texts.extend(objects)
        bgp.apply("\n---\n".join(objects))

    yield apply
    if texts:
        bgp.delete("\n---\n".join(texts))


def _hears(
    lab: Lab, prefix: str, edges: set[str], table: str = "master4", **attributes: str
) -> None:
    """Wait until the router has a prefix from just these edges, with these attributes."""
    hops = {lab.cfg.edge_address(edge) for edge in edges}

    def same() -> bool:
        found = lab.router_routes(table).get(prefix, {})
        return found.keys() == hops and all(
            found[hop].get(name, "") == value for hop in hops for name, value in attributes.items()
        )

    wait_for(f"{prefix} from {edges or 'nobody'} with {attributes}", same, 20)


def test_without_objects_everything_goes_out_as_it_is(bgp: Lab) -> None:
    for vip in (VIP, OTHER):
        _hears(bgp, f"{vip}/32", set(bgp.edges), community="")


def test_attributes_and_edges_follow_the_objects(bgp: Lab, applied) -> None:
    applied(
        _object(
            "Community",
            "names",
            {"communities": [{"name": "no-transit", "value": "64512:300"}]},
        ),
        _object(
            "BGPAdvertisement",
            "colours",
            {
                "localPref": 300,
                "communities": ["64512:100", "large:64512:7:8", "no-transit"],
                "nodeSelectors": _only("edge1"),
            },
        ),
    )
    _hears(
        bgp,
        f"{VIP}/32",
        {"edge1"},
        community="(64512,100) (64512,300)",
        large_community="(64512, 7, 8)",
        # LOCAL_PREF never leaves the AS: this is the router's own default.
        local_pref="100",
    )


def test_single_services_have_their_own_attributes(bgp: Lab, applied) -> None:
    gold = [{"matchLabels": {"tier": "gold"}}]
    applied(
        _object("BGPAdvertisement", "all", {"communities": ["64512:1"]}),
        _object("BGPAdvertisement", "gold", {"communities": ["64512:9"], "serviceSelectors": gold}),
    )
    _hears(bgp, f"{VIP}/32", set(bgp.edges), community="(64512,1)")
    _hears(bgp, f"{OTHER}/32", set(bgp.edges), community="(64512,1) (64512,9)")


def test_an_aggregate_stands_for_its_addresses_and_goes_with_its_advertisement(
    bgp: Lab, applied
) -> None:

    def since() -> float:
        return up_since(bgp.ssh("edge1", "birdc show protocols"), "peer.router")

    before = since()
    spec = {"aggregationLength": 26, "ipAddressPools": ["routed-pool"]}
    wide = _object("BGPAdvertisement", "wide", spec)
    applied(wide)
    for prefix in ("203.0.113.64/26", "203.0.113.128/26"):
        _hears(bgp, prefix, set(bgp.edges))
    _hears(bgp, f"{VIP}/32", set())
    assert bgp.tcp(VIP, 80, host="rclient").pod
    bgp.delete(wide)
    _hears(bgp, "203.0.113.64/26", set())
    _hears(bgp, f"{VIP}/32", set(bgp.edges))
    # All of it without a session that went down.
    assert since() == pytest.approx(before, abs=MOMENT)


def test_a_peer_with_secret_and_bfd_from_the_cluster(bgp: Lab, applied) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/basic-auth",
        "metadata": {"name": INSIDE, "namespace": NAMESPACE},
        "data": {
            "username": "",
            "password": base64.b64encode(router.INTERNAL_PASSWORD.encode()).decode(),
        },
    }
    peer = {
        "myASN": router.EDGE_ASN,
        "peerASN": router.EDGE_ASN,
        "peerAddress": bgp.cfg.address("inside"),
        "peerPort": router.INTERNAL_PORT,
        "passwordSecret": {"name": INSIDE},
        "bfdProfile": "fast",
        "nodeSelectors": _only("edge2"),
    }
    applied(
        _object("BFDProfile", "fast", {"receiveInterval": 100, "transmitInterval": 100}),
        _object("BGPPeer", INSIDE, peer, "v1beta2"),
        _object("BGPAdvertisement", "inside", {"peers": [INSIDE], "localPref": 300}),
    )

    def complains() -> bool:
        return f"no Secret {NAMESPACE}/{INSIDE}" in bgp.ssh("edge2", "fairlead status", check=False)

    wait_for("the missing Secret is named", complains)
    applied(json.dumps(secret))
    _hears(bgp, f"{VIP}/32", {"edge2"}, router.INTERNAL_TABLE, local_pref="300")
    _hears(bgp, f"{VIP}/32", set())
    name = f"{bgp.cfg.address('inside')}:{router.INTERNAL_PORT}"

    def up() -> bool:
        metrics = bgp.metrics("edge2")
        return all(
            metrics.get(f'metallb_{kind}{{peer="{name}"}}') == value
            for kind, value in (
                ("bgp_session_up", 1),
                ("bfd_session_up", 1),
                ("bgp_announced_prefixes_total", 2),
            )
        )

    wait_for("metrics tell of session, BFD and prefixes", up)
    shown = bgp.ssh("edge2", "fairlead status")
    assert f"BGP {INSIDE} {bgp.cfg.address('inside')}: Established, 2 prefixes, BFD Up" in shown
    # The secret is nowhere but in BIRD's file.
    told = bgp.ssh("edge2", "journalctl -u fairlead-agent; cat /run/fairlead/status.json")
    assert router.INTERNAL_PASSWORD not in told
    mode = bgp.ssh("edge2", "stat -c '%U:%G %a' /etc/fairlead/bird/fairlead.conf").strip()
    assert mode == "fairlead:bird 640"


def test_an_l2_advertisement_puts_the_address_on_one_edge(bgp: Lab, applied) -> None:
    applied(_object("L2Advertisement", "second", {"nodeSelectors": _only("edge2")}))
    wait_for("only edge2 holds the VIP", lambda: bgp.holders(VIP) == ["edge2"], 20)


def test_an_interface_that_nobody_has_is_told_on_the_service(bgp: Lab, applied) -> None:
    applied(_object("L2Advertisement", "elsewhere", {"interfaces": ["eth77"]}))

    def told() -> bool:
        return any(
            event["reason"] == "announceFailed" and "eth77" in event["message"]
            for event in bgp.events("plain")
        )

    wait_for("announceFailed", told)


def test_playbook_and_agent_write_the_same_bytes(bgp: Lab, applied) -> None:
    applied(_object("BGPAdvertisement", "all", {"communities": ["64512:1"]}))
    _hears(bgp, f"{VIP}/32", set(bgp.edges), community="(64512,1)")
    digest = "sha256sum /etc/fairlead/bird/fairlead.conf"
    before = bgp.ssh("edge1", digest)
    bgp.ssh("edge1", "systemctl stop fairlead-agent")
    try:
        output = bgp.playbook("sync", "--diff", announce=["vrrp", "bgp"])
        assert "Give BIRD its sessions and policy" in output
        assert bgp.ssh("edge1", digest) == before
        mode = bgp.ssh("edge1", "stat -c '%U:%G %a' /etc/fairlead/bird/fairlead.conf").strip()
        assert mode == "fairlead:bird 640"
    finally:
        bgp.ssh("edge1", "systemctl start fairlead-agent")
    wait_for("the agent is back", lambda: bgp.in_step("edge1"), 30)
    assert bgp.ssh("edge1", digest) == before
