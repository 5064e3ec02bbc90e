# SPDX-License-Identifier: Apache-2.0
"""Writes to `IPAddressPool` objects: the counters in their status, and nothing else."""

from typing import Any

import msgspec

from fairlead.cluster.client import MERGE_PATCH, KubeApi
from fairlead.cluster.metadata import ObjectMeta
from fairlead.cluster.writes import ObjectRef
from fairlead.model.names import ObjectKey
from fairlead.planner.usage import PoolUsage

API_VERSION = "metallb.io/v1beta1"


class PoolHead(msgspec.Struct, frozen=True):
    """A pool object as it stands; `generation` counts the versions of its spec."""

    ref: ObjectRef
    generation: str
    status: dict[str, Any]


class _PoolObject(msgspec.Struct):
    metadata: ObjectMeta
    status: dict[str, Any] | None = None


def read_pool(api: KubeApi, key: ObjectKey) -> PoolHead:
    """Read a pool object's head.

    Raises:
        ApiError: 404 when it is gone, others as answered.
        ApiUnavailableError: No answer.
    """
    found = msgspec.json.decode(api.request("GET", _path(key)), type=_PoolObject)
    meta = found.metadata
    ref = ObjectRef(key, meta.uid, meta.resource_version, "IPAddressPool", API_VERSION)
    return PoolHead(ref, str(meta.generation), found.status or {})


def write_counters(api: KubeApi, pool: PoolHead, usage: PoolUsage) -> bool:
    """Make the counters in a pool's status true; return whether they had to be written.

    Raises:
        ApiError, ApiUnavailableError: They could not be written.
    """
    counters = {
        "assignedIPv4": usage.assigned_ipv4,
        "assignedIPv6": usage.assigned_ipv6,
        "availableIPv4": usage.available_ipv4,
        "availableIPv6": usage.available_ipv6,
    }
    if {name: pool.status.get(name) for name in counters} == counters:
        return False
    api.request(
        "PATCH",
        f"{_path(pool.ref.key)}/status",
        body={"status": counters},
        content_type=MERGE_PATCH,
    )
    return True


def _path(key: ObjectKey) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/ipaddresspools/{key.name}"
