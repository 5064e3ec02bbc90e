# SPDX-License-Identifier: Apache-2.0
"""Passwords of BGP peers and the inventory document: apart wherever a document may be shown."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def passwords_of(document: Document) -> dict[str, str]:
    """TCP MD5 secrets in a document, by name of the peer."""
    return {
        str(peer["name"]): peer["password"]
        for peer in _peers(document)
        if isinstance(peer, Mapping) and "name" in peer and peer.get("password") is not None
    }


def without_passwords(document: Document) -> Document:
    """The document as it may be shown."""
    return _with_peers(
        document,
        [
            {key: value for key, value in peer.items() if key != "password"}
            if isinstance(peer, Mapping)
            else peer
            for peer in _peers(document)
        ],
    )


def with_passwords(document: Document, passwords: Mapping[str, str]) -> Document:
    """The document with secrets put into it; for the one file that holds both, and for parsing."""
    return _with_peers(
        document,
        [
            {**peer, "password": passwords[peer["name"]]}
            if isinstance(peer, Mapping) and peer.get("name") in passwords
            else peer
            for peer in _peers(document)
        ],
    )


def _peers(document: Document) -> list[Any]:
    """Entries of `bgp.peers`; none where the document has another shape, which parsing tells."""
    bgp = document.get("bgp")
    peers = bgp.get("peers") if isinstance(bgp, Mapping) else None
    return peers if isinstance(peers, list) else []


def _with_peers(document: Document, peers: list[Any]) -> Document:
    if not peers:
        return document
    return {**document, "bgp": {**document["bgp"], "peers": peers}}
