# SPDX-License-Identifier: Apache-2.0
"""TCP MD5 secrets of BGP sessions: `BGPPeer` objects and the Secrets that they name.

Only Secrets of type kubernetes.io/basic-auth count, as upstream has it. Nothing here is logged, and
no error repeats what was read.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.metadata import ObjectMeta
from fairlead.model.errors import ObjectFieldError
from fairlead.model.names import ObjectKey
from fairlead.snapshot.resources import PLANNED, SECRET

SECRET_TYPE: Final = "kubernetes.io/basic-auth"  # noqa: S105 - a type's name


class SecretWire(msgspec.Struct):
    """What is read of a Secret; `data` is base64."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    type: str = ""
    data: dict[str, str] | None = None


class PeerSecret(msgspec.Struct, frozen=True):
    """A Secret's readable values; its repr shows none of them."""

    key: ObjectKey
    values: Mapping[str, str]

    def __repr__(self) -> str:
        return f"PeerSecret({self.key})"


def peer_secret(wire: SecretWire) -> PeerSecret:
    """A Secret of the right type as text values; another type has none.

    Raises:
        ObjectFieldError: A value is not base64 of text; the value is not repeated.
    """
    key = ObjectKey(wire.metadata.namespace, wire.metadata.name)
    if wire.type != SECRET_TYPE:
        return PeerSecret(key, {})
    values = {}
    for name, text in (wire.data or {}).items():
        try:
            values[name] = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ObjectFieldError(f"data.{name}", "is not base64 of UTF-8 text") from None
    return PeerSecret(key, values)


def read_passwords(api: KubeApi, peers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return secrets by name of the peer, for sessions as a plan's JSON has them.

    Peers of the inventory are left out: whoever has the inventory has their secrets.

    Raises:
        ApiError: An answer other than success or 404.
        ApiUnavailableError: No answer.
    """
    found: dict[str, str] = {}
    for peer in peers:
        if (ref := peer["password_secret"]) is not None:
            wire = _get(api, f"{SECRET.path(ref['namespace'])}/{ref['name']}", SecretWire)
            text = peer_secret(wire).values.get(ref["key"]) if wire else None
        elif peer["password"] == "object":  # noqa: S105 - where it stands
            path = PLANNED["BGPPeer"].path(peer["namespace"])
            one = _get(api, f"{path}/{peer['name']}", dict[str, Any])
            text = one["spec"].get("password") if one else None
        else:
            continue
        if text is not None:
            found[peer["name"]] = text
    return found


def _get(api: KubeApi, path: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(api.request("GET", path), type=kind)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
