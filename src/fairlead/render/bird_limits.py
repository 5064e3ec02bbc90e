# SPDX-License-Identifier: Apache-2.0
"""What a peer may ask for and BIRD 2 does not have: said, never left out in silence."""

from collections.abc import Iterator

from fairlead.model.bgp import BfdSettings, BgpPeer
from fairlead.model.plan import ObjectError

DEFAULT_PORT = 179

# Names of the fields in a `BGPPeer`, where they are not those of the inventory in other letters.
_SPEC = {
    "address": "peerAddress",
    "asn": "peerASN",
    "dual_stack": "dualStackAddressFamily",
    "ebgp_multihop": "ebgpMultiHop",
    "interface": "interface",
    "my_asn": "myASN",
    "name": "",
    "password": "password",
    "password_secret": "passwordSecret",
    "port": "peerPort",
    "source_address": "sourceAddress",
    "bfd": "bfdProfile",
    "vrf": "vrf",
}


def place(peer: BgpPeer, field: str, message: str) -> ObjectError:
    """An error about one field of a peer, with the name that the field has where it stands."""
    if peer.origin == "inventory":
        where = f"bgp.peers[{peer.name}].{field}"
    else:
        where = f"spec.{_SPEC[field]}" if _SPEC[field] else "metadata.name"
    return ObjectError(
        kind="BGPPeer", namespace=peer.namespace, name=peer.name, field=where, message=message
    )


def peer_limits(peer: BgpPeer) -> Iterator[ObjectError]:
    """What of a peer BIRD can't do; the session runs without it."""
    if peer.bfd is not None:
        for message in _bfd_limits(peer.bfd, several_hops=peer.ebgp_multihop):
            yield place(peer, "bfd", message)
    if peer.address is None and peer.port != DEFAULT_PORT:
        yield place(
            peer,
            "port",
            f"BIRD waits for the neighbour of an interface on port {DEFAULT_PORT} and can't call "
            f"port {peer.port}",
        )
    if peer.address is None and peer.ebgp_multihop:
        yield place(
            peer,
            "ebgp_multihop",
            "the neighbour of an interface is one hop away; the session runs without multihop",
        )


def _bfd_limits(settings: BfdSettings, *, several_hops: bool) -> Iterator[str]:
    if settings.echo:
        yield (
            "echoMode: BIRD has no BFD echo; the session is watched by control packets at the "
            "receive and transmit intervals"
        )
    if several_hops and settings.minimum_ttl != BfdSettings().minimum_ttl:
        yield (
            f"minimumTtl: BIRD can't require a TTL of {settings.minimum_ttl} from a peer that is "
            "several hops away; packets of any TTL are taken"
        )
