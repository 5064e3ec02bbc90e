# SPDX-License-Identifier: Apache-2.0
"""An admission policy for Services: addresses that can't be meant are refused at `kubectl apply`.

Only what changes is judged: an update that leaves type, annotation and field alone passes whatever
they say, so that nothing that stands in a cluster becomes uneditable. Services of a load balancer
class are somebody else's. When the API server can't evaluate the policy it lets the Service pass
(`failurePolicy: Ignore`), as then the agent's Event says the same.
"""

from typing import Any

from fairlead.crds.definition import LABELS

NAME = "fairlead-service-addresses"
_KEYS = ("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs")


def service_policy() -> tuple[dict[str, Any], dict[str, Any]]:
    """The policy, and what puts it in force."""
    made = {"apiVersion": "admissionregistration.k8s.io/v1"}
    policy = {
        **made,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME, "labels": dict(LABELS)},
        "spec": {
            "failurePolicy": "Ignore",
            "matchConstraints": {"resourceRules": [_services()]},
            "matchConditions": [
                {"name": "ours", "expression": _ours()},
                {"name": "changed", "expression": _changed()},
            ],
            "variables": [{"name": "ips", "expression": _ips()}],
            "validations": _validations(),
        },
    }
    binding = {
        **made,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME, "labels": dict(LABELS)},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return policy, binding


def _services() -> dict[str, Any]:
    return {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["services"],
        "scope": "Namespaced",
    }


def _annotation(thing: str) -> str:
    """CEL: the annotation, in the current spelling if it is there, else in the old one."""
    notes = f"{thing}.metadata.annotations"
    new, old = (f"'{key}' in {notes} ? {notes}['{key}']" for key in _KEYS)
    return f"(has({notes}) ? ({new} : ({old} : '')) : '')"


def _ours() -> str:
    return (
        "object.spec.type == 'LoadBalancer' && !has(object.spec.loadBalancerClass)"
        f" && {_annotation('object')} != ''"
    )


def _changed() -> str:
    field = "has({0}.spec.loadBalancerIP) ? {0}.spec.loadBalancerIP : ''"
    return (
        "oldObject == null || oldObject.spec.type != 'LoadBalancer'"
        f" || {_annotation('oldObject')} != {_annotation('object')}"
        f" || ({field.format('oldObject')}) != ({field.format('object')})"
    )


def _ips() -> str:
    return f"{_annotation('object')}.split(',').map(one, one.trim())"


def _validations() -> list[dict[str, str]]:
    key = _KEYS[0]
    valid = "variables.ips.all(one, isIP(one))"
    return [
        {
            "expression": "variables.ips.size() <= 2",
            "message": f"{key}: more than two addresses",
            "messageExpression": f"'{key}: ' + string(variables.ips.size())"
            " + ' addresses are more than two: give one, or one of each family'",
        },
        {
            "expression": valid,
            "message": f"{key}: not an IP address",
            "messageExpression": f"'{key}: \"' + variables.ips.filter(one, !isIP(one))[0]"
            " + '\" is not an IP address'",
        },
        {
            "expression": f"variables.ips.size() != 2 || !{valid}"
            " || ip(variables.ips[0]).family() != ip(variables.ips[1]).family()",
            "message": f"{key}: two addresses of one family: a pair is one IPv4 and one IPv6",
        },
        {
            "expression": "!has(object.spec.loadBalancerIP) || object.spec.loadBalancerIP == ''",
            "message": f"{key} and spec.loadBalancerIP exclude each other: give one of them",
        },
    ]
