# SPDX-License-Identifier: Apache-2.0
"""What the edges need in the cluster: a namespace, an account, exactly its rights, a kubeconfig.

Objects are compared field by field with what is there, so that a second run changes nothing and a
diff shows only what differs.
"""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fairlead.cluster.client import MERGE_PATCH, ApiError, KubeApi
from fairlead.cluster.kubeconfig import KubeConfigError
from fairlead.cluster.metadata import ObjectMeta
from fairlead.cluster.pages import list_all, page_decoder
from fairlead.model.errors import FairleadError
from fairlead.model.groups import DEFAULT_GROUP, group_labels, named
from fairlead.snapshot.resources import RESOURCES, Place

_TOKEN_SECONDS = 30.0
_NAMESPACES = "/api/v1/namespaces"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_BINDINGS = f"{_RBAC}/clusterrolebindings"
LABELS = {"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/managed-by": "ansible"}


class AccessError(FairleadError):
    """The cluster did not give what the edges need."""


class _Subject(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Binding(msgspec.Struct):
    metadata: ObjectMeta
    subjects: list[_Subject] | None = None


_DECODE = page_decoder(_Binding)


@dataclass(frozen=True)
class EdgeAccount:
    """The account of an edge group, and where it is at home."""

    namespace: str
    group: str = DEFAULT_GROUP

    @property
    def name(self) -> str:
        """Of the account, its roles, its bindings and its token."""
        return named("fairlead-edge", self.group)

    @property
    def secrets(self) -> str:
        """Of the role that reads Secrets of BGP peers, and its binding."""
        return f"{self.name}-peer-secrets"


@dataclass(frozen=True)
class AccessChange:
    """One object: its name and its fields before and after; equal where nothing was to do."""

    name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        """Whether the object had to be (or would be) written."""
        return self.before != self.after


def secret_objects(account: EdgeAccount, peers: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the right to read Secrets beside BGP peers, and nowhere else."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{peers}"
    name = account.secrets
    return [
        (f"{rbac}/roles", _rbac(account, "Role", name, rules=rules(Place.PEERS))),
        (f"{rbac}/rolebindings", _binding(account, "RoleBinding", "Role", name)),
    ]


def objects(account: EdgeAccount, pool_namespace: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return (collection, object) pairs in the order in which they must be made.

    Args:
        account: Whose; account, token and Leases are in its namespace.
        pool_namespace: Where the objects of metallb.io are, with what edges write and read there;
            "" leaves these rights out.
    """
    inside = f"/api/v1/namespaces/{account.namespace}"
    own = _object("v1", "ServiceAccount", account.name, account.group)
    return [
        (_NAMESPACES, _object("v1", "Namespace", account.namespace)),
        (f"{inside}/serviceaccounts", own),
        (f"{_RBAC}/clusterroles", _rbac(account, "ClusterRole", rules=rules(Place.EVERYWHERE))),
        (_BINDINGS, _binding(account, "ClusterRoleBinding", "ClusterRole")),
        *_rights(account, account.namespace, Place.HOME),
        *(_rights(account, pool_namespace, Place.POOLS) if pool_namespace else ()),
        (f"{inside}/secrets", _token_secret(account)),
    ]


def _rights(account: EdgeAccount, where: str, place: Place) -> list[tuple[str, dict[str, Any]]]:
    """What the account may do in one namespace."""
    inside = f"{_RBAC}/namespaces/{where}"
    return [
        (f"{inside}/roles", _rbac(account, "Role", rules=rules(place))),
        (f"{inside}/rolebindings", _binding(account, "RoleBinding", "Role")),
    ]


def rules(place: Place) -> list[dict[str, Any]]:
    """The rules of the account's role for a place: exactly what the table of kinds says."""
    granted: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in RESOURCES:
        for name, verbs in one.rights if one.granted is place else ():
            granted.setdefault((one.group, verbs), []).append(name)
    return [
        {"apiGroups": [group], "resources": names, "verbs": list(verbs)}
        for (group, verbs), names in granted.items()
    ]


def _object(
    version: str, kind: str, name: str, group: str = DEFAULT_GROUP, **fields: Any
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "labels": LABELS | group_labels(group)}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}


def _rbac(account: EdgeAccount, kind: str, name: str = "", **fields: Any) -> dict[str, Any]:
    version = "rbac.authorization.k8s.io/v1"
    return _object(version, kind, name or account.name, account.group, **fields)


def _binding(account: EdgeAccount, kind: str, role: str, name: str = "") -> dict[str, Any]:
    name = name or account.name
    subject = {
        "kind": "ServiceAccount",
        "name": account.name,
        "namespace": account.namespace,
    }
    return _rbac(
        account,
        kind,
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
        subjects=[subject],
    )


def _token_secret(account: EdgeAccount) -> dict[str, Any]:
    # A token bound to nothing but its account: edges are no pods, and can't renew projected ones
    # while the API server is away.
    kind = "kubernetes.io/service-account-token"
    secret = _object("v1", "Secret", account.name, account.group, type=kind)
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": account.name}
    return secret


def other_groups(api: KubeApi, account: EdgeAccount) -> list[str]:
    """Accounts of other edge groups in this cluster, `namespace/name`.

    Raises:
        AccessError: Another group goes by the same name.
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    labels = ",".join(f"{key}={value}" for key, value in LABELS.items())
    _, bindings = list_all(api, _BINDINGS, _DECODE, query={"labelSelector": labels})
    found: list[str] = []
    for one in bindings:
        for subject in one.subjects or ():
            if (subject.namespace, subject.name) == (account.namespace, account.name):
                continue
            if one.metadata.name == account.name:
                raise AccessError(
                    f"edges of namespace {subject.namespace} are the group {account.group!r} of "
                    "this cluster already: give this one a name of its own (fairlead_group) and "
                    "another load balancer class"
                )
            found.append(f"{subject.namespace}/{subject.name}")
    return found


def ensure_access(
    api: KubeApi,
    account: EdgeAccount,
    *,
    pool_namespace: str = "",
    peers: str = "",
    check: bool = False,
) -> list[AccessChange]:
    """Make namespace, account, rights and token exist as they should.

    Args:
        api: An account that may make them.
        account: Of the edge group, with its home.
        pool_namespace: Namespace of the objects of metallb.io, where edges write what they
            announce; "" for none. It is made if it is missing, and otherwise left as it is: it
            may be MetalLB's.
        peers: Namespace of BGP peers whose Secrets may be read, "" for none; one that does not
            exist is passed over.
        check: Report only.

    Raises:
        AccessError: Another edge group goes by the same name.
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    other_groups(api, account)
    changes = []
    if pool_namespace and get(api, f"{_NAMESPACES}/{pool_namespace}") is None:
        made = _object("v1", "Namespace", pool_namespace)
        changes.append(ensure(api, _NAMESPACES, made, check))
    wanted = objects(account, pool_namespace)
    if peers and (get(api, f"{_NAMESPACES}/{peers}") is not None or peers == pool_namespace):
        wanted += secret_objects(account, peers)
    return changes + [ensure(api, path, one, check) for path, one in wanted]


def remove_access(
    api: KubeApi,
    account: EdgeAccount,
    *,
    pool_namespace: str = "",
    peers: str = "",
    check: bool = False,
) -> list[AccessChange]:
    """Remove account and rights, then the namespace (with Lease and token in it).

    A namespace that is another group's home as well stays. That of the pools is namespace.py's:
    others may use it.
    """
    changes = []
    known = objects(account, pool_namespace)
    known += secret_objects(account, peers) if peers else []
    shared_home = any(
        other.startswith(f"{account.namespace}/") for other in other_groups(api, account)
    )
    for path, wanted in reversed(known):
        if path == _NAMESPACES and shared_home:
            continue
        name = wanted["metadata"]["name"]
        found = get(api, f"{path}/{name}")
        if found is not None and not check:
            api.request("DELETE", f"{path}/{name}")
        before = {} if found is None else shared(wanted, found)
        changes.append(AccessChange(f"{wanted['kind']} {name}", before, {}))
    return changes


def ensure(
    api: KubeApi,
    path: str,
    wanted: dict[str, Any],
    check: bool,
    *,
    known: dict[str, Any] | None = None,
) -> AccessChange:
    """Make one object have the fields that are wanted.

    Args:
        api: An account that may.
        path: The collection.
        wanted: The object; fields that it lacks are left as they are.
        check: Only say what would be done.
        known: The object as it stands, if it was read already.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    name = wanted["metadata"]["name"]
    found = known or get(api, f"{path}/{name}")
    before = {} if found is None else shared(wanted, found)
    change = AccessChange(f"{wanted['kind']} {name}", before, wanted)
    if change.changed and not check:
        if found is None:
            api.request("POST", path, body=wanted)
        else:
            api.request("PATCH", f"{path}/{name}", body=wanted, content_type=MERGE_PATCH)
    return change


def get(api: KubeApi, path: str) -> dict[str, Any] | None:
    """Read an object; None where there is none."""
    try:
        data: dict[str, Any] = msgspec.json.decode(api.request("GET", path))
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return data


def shared(wanted: Any, found: Any) -> Any:
    """What is there of the fields that are wanted; defaults of the API server don't count."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {key: shared(wanted[key], found[key]) for key in wanted if key in found}
    same_length = isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found)
    if same_length:
        return [shared(one, other) for one, other in zip(wanted, found, strict=True)]
    return found


def edge_kubeconfig(
    api: KubeApi, account: EdgeAccount, admin: Path, server: str | None = None
) -> str:
    """Return a kubeconfig for the account; waits until the cluster has filled in the token.

    Args:
        api: An account that may read the Secret.
        account: Whose.
        admin: Kubeconfig from which server and its CA are taken.
        server: URL of the API server as edges reach it; None takes the admin's.

    Raises:
        AccessError: No token came, e.g. no controller manager runs.
        KubeConfigError: The admin's kubeconfig can't be used.
    """
    token = _token(api, account)
    cluster = _cluster(admin)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "cluster", "cluster": {**cluster, "server": server or cluster["server"]}}
        ],
        "users": [{"name": account.name, "user": {"token": token}}],
        "contexts": [{"name": "edge", "context": {"cluster": "cluster", "user": account.name}}],
        "current-context": "edge",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _token(api: KubeApi, account: EdgeAccount) -> str:
    path = f"/api/v1/namespaces/{account.namespace}/secrets/{account.name}"
    deadline = time.monotonic() + _TOKEN_SECONDS
    while True:
        secret = get(api, path) or {}
        token = secret.get("data", {}).get("token")
        if token:
            return base64.b64decode(token).decode()
        if time.monotonic() > deadline:
            raise AccessError(
                f"Secret {account.namespace}/{account.name} got no token in {_TOKEN_SECONDS:g} s: "
                "is a controller manager with the token controller running?"
            )
        time.sleep(0.2)


def _cluster(admin: Path) -> dict[str, Any]:
    """The admin's current cluster, with the CA inline."""
    try:
        config = yaml.safe_load(admin.read_text())
        current = config["current-context"]
        context = next(c["context"] for c in config["contexts"] if c["name"] == current)
        found = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        cluster = {"server": found["server"]}
        if "certificate-authority" in found:
            authority = (admin.parent / found["certificate-authority"]).read_bytes()
            cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
        elif "certificate-authority-data" in found:
            cluster["certificate-authority-data"] = found["certificate-authority-data"]
    except (OSError, KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
        raise KubeConfigError(
            f"kubeconfig {admin}: no current cluster can be read from it: {error!r}"
        ) from error
    return cluster
