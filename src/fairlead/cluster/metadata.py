# SPDX-License-Identifier: Apache-2.0
"""Metadata of objects that are read beside the plan; the planner's own are in `snapshot.wire`."""

import msgspec


class ObjectMeta(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """`metadata` of any object, as far as somebody here reads it; what is absent is empty."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
