# SPDX-License-Identifier: Apache-2.0
"""What can't be served says what and why on the Service, and disturbs nobody."""

import pytest

from support.harness import Lab, wait_for

pytestmark = pytest.mark.lab

SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: shapes
  annotations: {{{annotation}}}
spec:
  type: LoadBalancer
  selector: {{app: nobody}}
  ports: [{{name: http, port: 80}}]
"""

CASES = {
    "outside": (
        'metallb.io/loadBalancerIPs: "192.0.2.77"',
        'Failed to allocate IP for "shapes/outside": ["192.0.2.77"] is not allowed in config',
    ),
    "malformed": (
        'metallb.io/loadBalancerIPs: "10.0.0.300"',
        'invalid metallb.io/loadBalancerIPs: "10.0.0.300"',
    ),
    "no-pool": ('metallb.io/address-pool: "nowhere"', 'unknown pool "nowhere"'),
}


@pytest.fixture
def neighbour(lab: Lab):
    """A Service that works and must go on working."""
    text = lab.manifest("single-tcp").replace("single-tcp", "neighbour")
    lab.apply(text)
    lab.ready_pods("neighbour", 3)
    vip = lab.vip("neighbour")
    lab.answers("TCP", vip, 80)
    yield vip
    lab.delete(text)


def _warning(lab: Lab, service: str, text: str) -> bool:
    return any(
        event["type"] == "Warning" and text in event["message"] for event in lab.events(service)
    )


@pytest.mark.parametrize("name", CASES)
def test_refusal_is_a_warning_that_says_why(lab: Lab, neighbour: str, name: str) -> None:
    annotation, message = CASES[name]
    text = SERVICE.format(name=name, annotation=annotation)
    lab.apply(text)
    try:
        wait_for(f"a Warning: {message}", lambda: _warning(lab, name, message))
        assert not lab.get("service", name)["status"]["loadBalancer"].get("ingress")
        assert lab.tcp(neighbour, 80).pod
        assert lab.vip("neighbour") == neighbour
    finally:
        lab.delete(text)


def test_exhausted_pool_is_a_warning_and_a_freed_address_is_offered(
    lab: Lab, neighbour: str
) -> None:
    pool = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: tiny, namespace: metallb-system}
spec: {addresses: [198.18.0.200/32], autoAssign: false}
"""
    lab.kubectl("create", "namespace", "metallb-system", check=False)
    services = [
        SERVICE.format(name=name, annotation="metallb.io/address-pool: tiny")
        for name in ("first", "second")
    ]
    lab.apply(pool)
    try:
        lab.apply(services[0])
        assert lab.vip("first") == "198.18.0.200"
        lab.apply(services[1])
        wait_for("a Warning", lambda: _warning(lab, "second", "no available IPs in pool tiny"))
        lab.delete(services[0])
        assert lab.vip("second") == "198.18.0.200"
        assert lab.tcp(neighbour, 80).pod
    finally:
        lab.delete("---".join(services))
        lab.delete(pool)
