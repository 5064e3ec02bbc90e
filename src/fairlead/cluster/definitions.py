# SPDX-License-Identifier: Apache-2.0
"""Installs our definitions of metallb.io where nobody else's are, and never touches those.

A definition is ours if it carries our label and revision and nobody stamped it since: MetalLB's
manifests and its Helm chart keep labels that they find, but leave an annotation. One foreign
definition means that the cluster has MetalLB: then nothing is installed at all, since a mixture
would break its upgrades. Deleting a definition deletes every object of its kind, so removal leaves
those that have any, unless edges write them.
"""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec

from fairlead.cluster.access import AccessChange, AccessError, ensure, get, shared
from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.configuration_states import KIND, ConfigStateStore
from fairlead.cluster.status_objects import StatusKind, StatusObjectStore
from fairlead.crds import definitions
from fairlead.crds.definition import (
    GROUP,
    LABELS,
    NAME_LABEL,
    REVISION,
    REVISION_ANNOTATION,
    Definition,
)
from fairlead.crds.policy import service_policy
from fairlead.crds.statuses import DERIVED
from fairlead.model.groups import DEFAULT_GROUP

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_STAMPS = ("controller-gen.kubebuilder.io/version", "meta.helm.sh/release-name")
_ESTABLISH_SECONDS = 30.0
_Crds = dict[str, dict[str, Any]]


class CrdState(StrEnum):
    """Whose definitions the cluster has."""

    OURS = "ours"
    FOREIGN = "foreign"
    ABSENT = "absent"


def crd_state(api: KubeApi) -> CrdState:
    """Whose definitions of metallb.io are there; a single foreign one decides.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    found = _found(api).values()
    if not found:
        return CrdState.ABSENT
    return CrdState.OURS if all(map(_ours, found)) else CrdState.FOREIGN


def ensure_crds(api: KubeApi, *, check: bool = False) -> list[AccessChange]:
    """Install or renew our definitions, and the policy for Services; nothing where others' are.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
        AccessError: A definition was accepted and is not served.
    """
    found = _staying(api, check)
    if not all(map(_ours, found.values())):
        return []
    changes = [_ensure_crd(api, made, found.get(made.name), check) for made in definitions()]
    if any(change.changed for change in changes) and not check:
        _wait_established(api)
    return changes + [ensure(api, path, wanted, check) for path, wanted in _policy()]


def remove_crds(api: KubeApi, *, check: bool = False) -> list[AccessChange]:
    """Remove our definitions that have no objects, or only such as edges write; and the policy.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    changes = [_remove(api, path, wanted, check) for path, wanted in reversed(_policy())]
    found = _found(api)
    if not all(map(_ours, found.values())):
        return changes
    for made in reversed(definitions()):
        known = found.get(made.name)
        if known is None or (made.kind not in DERIVED and _has_objects(api, made)):
            continue
        changes.append(_remove(api, CRDS, made.manifest(), check))
    return changes


def remove_status_objects(
    api: KubeApi, namespace: str, *, group: str = DEFAULT_GROUP, check: bool = False
) -> list[AccessChange]:
    """Remove status objects of a group, where the definitions stay; MetalLB's are not ours.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    store = StatusObjectStore(api, namespace, group)
    changes = []
    for kind in StatusKind:
        for found in store.of_all(kind):
            if not check:
                store.delete(kind, found)
            name = f"{kind.value[0]} {namespace}/{found.metadata.name}"
            shown = {"labels": found.metadata.labels, "status": found.status}
            changes.append(AccessChange(name, shown, {}))
    return changes + _remove_states(api, namespace, group, check)


def _remove_states(api: KubeApi, namespace: str, group: str, check: bool) -> list[AccessChange]:
    store = ConfigStateStore(api, namespace, group=group)
    changes = []
    for found in store.of_all():
        if not check:
            store.delete(found)
        shown = {"labels": found.metadata.labels, "status": msgspec.to_builtins(found.status)}
        changes.append(AccessChange(f"{KIND} {namespace}/{found.metadata.name}", shown, {}))
    return changes


def _found(api: KubeApi) -> _Crds:
    """The definitions of our kinds that are there, whoever made them, by name."""
    known = {made.name: get(api, f"{CRDS}/{made.name}") for made in definitions()}
    return {name: crd for name, crd in known.items() if crd is not None}


def _staying(api: KubeApi, check: bool, pause: Callable[[float], None] = time.sleep) -> _Crds:
    """Those that are not on their way out; waits until those are gone, for they can't be made anew.

    Raises:
        AccessError: A definition is being deleted and does not go.
    """
    deadline = time.monotonic() + _ESTABLISH_SECONDS
    while True:
        found = _found(api)
        leaving = sorted(name for name in found if _is_leaving(found[name]))
        if not leaving or check:
            return {name: crd for name, crd in found.items() if name not in leaving}
        if time.monotonic() > deadline:
            raise AccessError(
                f"CustomResourceDefinitions {', '.join(leaving)} are being deleted and still "
                f"there after {_ESTABLISH_SECONDS:g} s: `kubectl describe crd` says why"
            )
        pause(0.1)


def _is_leaving(crd: dict[str, Any]) -> bool:
    return "deletionTimestamp" in crd["metadata"]


def _ours(crd: dict[str, Any]) -> bool:
    meta = crd["metadata"]
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    mine = labels.get(NAME_LABEL) == LABELS[NAME_LABEL] and REVISION_ANNOTATION in notes
    return mine and not any(stamp in notes for stamp in _STAMPS)


def _ensure_crd(
    api: KubeApi, made: Definition, known: dict[str, Any] | None, check: bool
) -> AccessChange:
    wanted = made.manifest()
    if known is not None and _revision(known) > REVISION:
        same = shared(wanted, known)
        return AccessChange(f"{wanted['kind']} {made.name}", same, same)  # a newer release's
    return ensure(api, CRDS, wanted, check, known=known)


def _revision(crd: dict[str, Any]) -> int:
    text = crd["metadata"]["annotations"].get(REVISION_ANNOTATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _policy() -> list[tuple[str, dict[str, Any]]]:
    policy, binding = service_policy()
    return [
        (f"{_ADMISSION}/validatingadmissionpolicies", policy),
        (f"{_ADMISSION}/validatingadmissionpolicybindings", binding),
    ]


def _remove(api: KubeApi, path: str, wanted: dict[str, Any], check: bool) -> AccessChange:
    name = wanted["metadata"]["name"]
    known = get(api, f"{path}/{name}")
    if known is not None and not check:
        api.request("DELETE", f"{path}/{name}")
    before = {} if known is None else shared(wanted, known)
    return AccessChange(f"{wanted['kind']} {name}", before, {})


def _has_objects(api: KubeApi, made: Definition) -> bool:
    path = f"/apis/{GROUP}/{made.versions[-1].name}/{made.plural}"
    try:
        listed = msgspec.json.decode(api.request("GET", path, query={"limit": 1}))
    except ApiError as error:
        if error.status == 404:  # not served (yet), so nobody made one
            return False
        raise
    return bool(listed["items"])


def _wait_established(api: KubeApi, pause: Callable[[float], None] = time.sleep) -> None:
    deadline = time.monotonic() + _ESTABLISH_SECONDS
    waiting: Iterable[str] = [made.name for made in definitions()]
    while waiting := [name for name in waiting if not _established(api, name)]:
        if time.monotonic() > deadline:
            raise AccessError(
                f"CustomResourceDefinitions {', '.join(waiting)} are not served after "
                f"{_ESTABLISH_SECONDS:g} s: `kubectl describe crd` says why"
            )
        pause(0.1)


def _established(api: KubeApi, name: str) -> bool:
    status = (get(api, f"{CRDS}/{name}") or {}).get("status") or {}
    return any(
        one["type"] == "Established" and one["status"] == "True"
        for one in status.get("conditions") or ()
    )
