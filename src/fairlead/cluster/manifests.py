# SPDX-License-Identifier: Apache-2.0
"""Reads manifests and the inventory from files, folders (recursively) and standard input."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fairlead.model.errors import FairleadError, InventoryError
from fairlead.model.inventory import Inventory
from fairlead.planned import check_inventory
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.manifests import Document, DocumentError

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BaseLoader):  # type: ignore[misc]  # the C loader is there or not
    """YAML as Kubernetes reads it: dates and `10:30` stay text (sigs.k8s.io/yaml)."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int")
    ]
    for first, resolvers in _BaseLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)


def read_manifests(paths: Iterable[str]) -> Iterator[Document | DocumentError]:
    """Yield the documents of files and folders, in a stable order.

    Args:
        paths: Files, folders (every *.yaml, *.yml, *.json below), `-` for standard input.

    Raises:
        FairleadError: A path does not exist or can't be read.
    """
    for path in paths:
        if path == STDIN:
            yield from parse_documents(sys.stdin.buffer.read(), "<stdin>")
            continue
        for file in _files(Path(path)):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise FairleadError(f"{file}: can't be read: {error.strerror}") from None
            yield from parse_documents(content, str(file))


def parse_documents(content: bytes, file: str) -> Iterator[Document | DocumentError]:
    """Yield the documents of one file; the first that is no YAML ends it with an error."""
    if file.endswith(".json"):
        try:
            yield Document(file, 1, msgspec.json.decode(content))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield DocumentError(file, 1, f"not JSON: {error}")
        return
    number = 0
    try:
        loader = _Loader(content)
        while True:
            number += 1
            if not loader.check_node():
                return
            yield Document(file, number, loader.get_data())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        yield DocumentError(file, number, f"not YAML: {_one_line(error)}")


def load_inventory(path: str) -> Inventory:
    """Read the inventory document and see that its edges could have what it says.

    The one way for whoever has it as a file, so that all of them speak one dialect of YAML.

    Raises:
        FairleadError: It can't be read or used; names the file and the field.
    """
    content = read_inventory(path)
    try:
        inventory = inventory_from_dict(content)
        check_inventory(inventory)
    except InventoryError as error:
        raise FairleadError(f"{path}: {error}") from None
    return inventory


def read_inventory(path: str) -> dict[str, Any]:
    """Read the inventory document; it has exactly one mapping.

    Raises:
        FairleadError: The file can't be read or holds no mapping.
    """
    try:
        content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise FairleadError(f"{path}: can't be read: {error.strerror}") from None
    documents = [d for d in parse_documents(content, path) if not _empty(d)]
    for document in documents:
        if isinstance(document, DocumentError):
            raise FairleadError(f"{path}: {document.message}")
    if not documents:
        return {}
    (first, *others) = documents
    if others or not isinstance(first, Document) or not isinstance(first.content, dict):
        raise InventoryError("document", f"{path} must hold one mapping (edges, pools, ...)")
    return first.content


def _empty(document: Document | DocumentError) -> bool:
    return isinstance(document, Document) and document.content is None


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(
            file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()
        )
    if not path.exists():
        raise FairleadError(f"{path}: no such file or folder")
    return [path]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
