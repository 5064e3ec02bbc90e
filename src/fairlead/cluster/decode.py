# SPDX-License-Identifier: Apache-2.0
"""Decoding of lists and watch events of one kind, such that one bad object spoils nothing.

The usual case is one typed decode by msgspec, which looks only at the fields that are named: about
60 us for an EndpointSlice of 100 endpoints. Only what the typed decoder refuses is taken apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from fairlead.cluster.metadata import ObjectMeta
from fairlead.cluster.nesting import decoded
from fairlead.cluster.pages import ListMeta
from fairlead.model.errors import ObjectFieldError
from fairlead.model.plan import ObjectError
from fairlead.snapshot.objects import field_error

T = TypeVar("T")


@dataclass(frozen=True)
class WatchTarget(Generic[T]):
    """One kind to follow.

    Attributes:
        path: Collection, e.g. `/api/v1/services`.
        wire: msgspec type of one object; must have `metadata` with `namespace`, `name` and
            `resource_version`.
        parse: Wire object to model value; raises ObjectFieldError.
        selector: labelSelector, "" for none.
        fields: fieldSelector, "" for none.
        optional: Whether the API server may not know the kind (a CRD), or this account may lack the
            right to read it: both count as an empty list, until it was read once.
    """

    kind: str
    path: str
    wire: type[Any]
    parse: Callable[[Any], T]
    selector: str = ""
    fields: str = ""
    optional: bool = False


class ApiStatus(msgspec.Struct):
    """A `Status` of the API machinery; decodes the metadata of any other object, too."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    code: int = 0
    reason: str = ""
    message: str = ""


class RawEvent(msgspec.Struct):
    """A watch event whose object stays bytes."""

    type: str
    object: msgspec.Raw


class RawList(msgspec.Struct):
    """A list whose items stay bytes."""

    metadata: ListMeta
    items: list[msgspec.Raw]


class Decoders(Generic[T]):
    """Decoders of one kind: typed for the usual, raw to take apart what the typed one refuses."""

    def __init__(self, target: WatchTarget[T]) -> None:
        wire = target.wire
        event = msgspec.defstruct("Event", [("type", str), ("object", wire)])
        page = msgspec.defstruct("Page", [("metadata", ListMeta), ("items", list[wire])])  # type: ignore[valid-type]
        self._target = target
        self.event = msgspec.json.Decoder(event)
        self.page = msgspec.json.Decoder(page)
        self.object = msgspec.json.Decoder(wire)
        self.raw_event = msgspec.json.Decoder(RawEvent)
        self.raw_page = msgspec.json.Decoder(RawList)
        self.status = msgspec.json.Decoder(ApiStatus)

    def objects(self, body: bytes) -> tuple[ListMeta, list[T | ObjectError]]:
        """Decode one page; one bad object does not spoil the others."""
        try:
            page: Any = decoded(self.page.decode, body)
        except msgspec.ValidationError:
            raw = decoded(self.raw_page.decode, body)
            return raw.metadata, [self.one(item) for item in raw.items]
        return page.metadata, [self.parse(item) for item in page.items]

    def parse(self, wire: Any) -> T | ObjectError:
        """Model value of a decoded object, or what is wrong with it."""
        try:
            return self._target.parse(wire)
        except ObjectFieldError as error:
            return self._failure(wire.metadata.namespace, wire.metadata.name, error)

    def one(self, raw: msgspec.Raw | bytes) -> T | ObjectError:
        """Decode one object that may be of any shape."""
        try:
            return self.parse(decoded(self.object.decode, bytes(raw)))
        except msgspec.ValidationError as error:
            meta = self.meta(raw)
            return self._failure(meta.namespace, meta.name, field_error(error))

    def meta(self, raw: msgspec.Raw | bytes) -> ObjectMeta:
        """Metadata of an object, empty where even that is malformed."""
        try:
            return decoded(self.status.decode, bytes(raw)).metadata
        except msgspec.MsgspecError:
            return ObjectMeta()

    def _failure(self, namespace: str, name: str, error: ObjectFieldError) -> ObjectError:
        return ObjectError(
            kind=self._target.kind,
            namespace=namespace,
            name=name,
            field=error.field,
            message=error.message,
        )
