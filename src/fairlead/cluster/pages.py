# SPDX-License-Identifier: Apache-2.0
"""The one way to list a collection: in pages, as one state of the cluster.

Facts: API concepts, "Retrieving large results sets in chunks" (kubernetes.io): pages of one list
are of one resourceVersion; when that is compacted before the last page, the answer is 410, and
client-go's pager asks for all in one piece instead.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from fairlead.cluster.client import ApiError, KubeApi
from fairlead.cluster.nesting import decoded

PAGE = 500

T = TypeVar("T")


class ListMeta(msgspec.Struct, rename="camel"):
    """Metadata of a list, or of one page of it."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


Decode = Callable[[bytes], tuple[ListMeta, list[T]]]


def page_decoder(shape: type[T]) -> Decode[T]:
    """A decoder of pages for kinds whose objects are all read or none.

    The decoder raises MsgspecError for an object of another shape.
    """
    page = msgspec.defstruct("Page", [("metadata", ListMeta), ("items", list[shape])])  # type: ignore[valid-type]
    decoder = msgspec.json.Decoder(page)

    def decode(body: bytes) -> tuple[ListMeta, list[T]]:
        found: Any = decoded(decoder.decode, body)
        return found.metadata, found.items

    return decode


def list_all(
    api: KubeApi,
    path: str,
    decode: Decode[T],
    *,
    query: Mapping[str, str | int] | None = None,
    page: int = PAGE,
) -> tuple[str, list[T]]:
    """List a collection.

    Args:
        api: Where.
        path: Of the collection.
        decode: Body of one page to its metadata and objects.
        query: Selectors.
        page: Objects per request: bounds the memory (1,000 big EndpointSlices are 26 MB of JSON).

    Returns:
        The resourceVersion of which the list is, and the objects.

    Raises:
        ApiError, ApiUnavailableError: The API server refused or did not answer.
    """
    found: list[T] = []
    token, limit = "", page
    while True:
        asked: dict[str, str | int] = {"limit": limit} if limit else {}
        asked |= query or {}
        if token:
            asked["continue"] = token
        try:
            body = api.request("GET", path, query=asked)
        except ApiError as error:
            if error.status != 410 or not token:
                raise
            # The pages expired under us (a very slow list): once more, in one piece.
            found, token, limit = [], "", 0
            continue
        meta, items = decode(body)
        found += items
        token = meta.continue_
        if not token:
            return meta.resource_version, found
