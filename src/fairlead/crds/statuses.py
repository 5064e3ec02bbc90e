# SPDX-License-Identifier: Apache-2.0
"""Kinds that edges write and people read: who announces what, and whether objects are usable."""

from fairlead.crds.definition import Column, Definition, Version
from fairlead.crds.schema import (
    NAME_LENGTH,
    Schema,
    array,
    checked,
    choice,
    number,
    rule,
    struct,
    text,
)

DERIVED = frozenset({"ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"})
"""Kinds of this page: their objects hold nobody's work and come again by themselves."""

_CONDITION = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"


def l2_status() -> Definition:
    """The definition of ServiceL2Status."""
    interface = struct("An interface.", name=text("Its name.", longest=15))
    interfaces = array("Interfaces that answer; all of them without any.", interface, 64)
    status = _announcement(interfaces=interfaces)
    about = "Which edge answers for a Service on the LAN."
    version = Version("v1beta1", about, _unused(), status, _columns("Allocated Node"))
    return Definition("ServiceL2Status", "servicel2statuses", (version,))


def bgp_status() -> Definition:
    """The definition of ServiceBGPStatus."""
    peer = text("Name of a peer.", longest=NAME_LENGTH)
    status = _announcement(peers=array("Peers that the Service is announced to.", peer, 512))
    about = "Which peers an edge announces a Service to; the intent, not the sessions."
    version = Version("v1beta1", about, _unused(), status, _columns("Node"))
    return Definition("ServiceBGPStatus", "servicebgpstatuses", (version,))


def configuration_state() -> Definition:
    """The definition of ConfigurationState."""
    condition = struct(
        "One aspect.",
        ("lastTransitionTime", "message", "reason", "status", "type"),
        type=text("Which aspect.", longest=316),
        status=choice("Whether it holds.", "True", "False", "Unknown"),
        reason=text("Why, in a word.", longest=1024, minLength=1, pattern=_CONDITION),
        message=text("Why, in a sentence.", longest=32768),
        lastTransitionTime={"type": "string", "format": "date-time",
                            "description": "When the status changed last."},
        observedGeneration=number("Version that was looked at.", 0, 2**63 - 1, size="int64"),
    )  # fmt: skip
    conditions = array("Aspects.", condition, 16)
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    status = struct(
        "What is wrong with them.",
        result=choice("Whether all objects are usable.", "Valid", "Invalid", "Unknown"),
        errorSummary=text("What is wrong, a line for each object.", longest=32768),
        conditions={**conditions, **keyed},
    )
    columns = (
        Column("Result", "string", ".status.result"),
        Column("ErrorSummary", "string", ".status.errorSummary"),
        Column("Age", "date", ".metadata.creationTimestamp"),
    )
    about = "Whether the objects of this group can be used as they stand."
    version = Version("v1beta1", about, None, status, columns)
    return Definition("ConfigurationState", "configurationstates", (version,))


def _announcement(**more: Schema) -> Schema:
    return struct(
        "Who announces what.",
        node=_fixed("Name of the edge."),
        serviceName=_fixed("Name of the Service."),
        serviceNamespace=_fixed("Namespace of the Service."),
        **more,
    )


def _fixed(about: str) -> Schema:
    keep = rule("self == oldSelf", "can't be changed: the object is about one Service on one edge")
    return checked(text(about, longest=NAME_LENGTH), keep)


def _unused() -> Schema:
    return {"type": "object", "description": "Unused."}


def _columns(node: str) -> tuple[Column, ...]:
    return (
        Column(node, "string", ".status.node"),
        Column("Service Name", "string", ".status.serviceName"),
        Column("Service Namespace", "string", ".status.serviceNamespace"),
    )
