# SPDX-License-Identifier: Apache-2.0
"""keepalived's VRRP instances; IPVS never stands in this file (keepalived runs with -P).

The syntax is that of keepalived 2.2.7 (Debian 12) and 2.3 (Debian 13), from keepalived.conf(5).
"""

from dataclasses import dataclass
from ipaddress import ip_interface

from fairlead.model.addresses import address_order
from fairlead.model.errors import InventoryError
from fairlead.model.names import IPAddress
from fairlead.model.plan import VrrpInstance
from fairlead.render.environment import render, word


@dataclass(frozen=True, kw_only=True)
class _InstanceView:
    """What the template prints; strings and numbers only."""

    name: str
    interface: str
    vrid: int
    priority: int
    advert_interval: str
    preempt: bool
    source: str
    peers: tuple[str, ...]
    advertised: str
    addresses: tuple[str, ...]
    devices: tuple[str, ...]
    tracked: tuple[str, ...]


def render_keepalived(instances: tuple[VrrpInstance, ...]) -> str:
    """Return the text of `vrrp.conf`: one vrrp_instance per value, by instance name.

    Raises:
        InventoryError: A name or the advertised address can't stand in the file.
    """
    views = [_view(instance) for instance in sorted(instances, key=lambda item: item.instance)]
    return render("vrrp.conf.j2", instances=views)


def _view(instance: VrrpInstance) -> _InstanceView:
    return _InstanceView(
        name=word("vrrp.instance", instance.instance),
        interface=word("edges[].interface", instance.interface),
        vrid=instance.vrid,
        priority=instance.priority,
        advert_interval=f"{instance.advert_interval:g}",
        preempt=instance.preempt,
        source=str(instance.source),
        peers=_peers(instance),
        advertised=_advertised(instance),
        addresses=tuple(_host_prefix(vip) for vip in sorted(instance.addresses, key=address_order)),
        devices=tuple(
            word("interfaces", name) for name in instance.devices or (instance.interface,)
        ),
        # Its own interface is tracked anyway.
        tracked=tuple(name for name in instance.devices if name != instance.interface),
    )


def _advertised(instance: VrrpInstance) -> str:
    if not instance.advertised_address:
        raise InventoryError(
            "vrrp.advertised_address",
            "is missing: VRRP needs a free address of the LAN, with its prefix length",
        )
    try:
        interface = ip_interface(instance.advertised_address)
    except ValueError as error:
        raise InventoryError(
            "vrrp.advertised_address", f"{error}; give an address with prefix length"
        ) from error
    if interface.version != instance.source.version:
        raise InventoryError(
            "vrrp.advertised_address",
            f"{interface} is not of the family of the edge's own address {instance.source}: "
            "adverts carry addresses of the family they travel in (RFC 5798)",
        )
    return interface.with_prefixlen


def _peers(instance: VrrpInstance) -> tuple[str, ...]:
    for peer in instance.peers:
        if peer.version != instance.source.version:
            raise InventoryError(
                "edges[].address",
                f"{peer} is not of the family of {instance.source}, the address of another edge: "
                "the edges of a VRRP group speak to each other over one family",
            )
    return tuple(str(peer) for peer in sorted(instance.peers, key=address_order))


def _host_prefix(address: IPAddress) -> str:
    return f"{address}/{address.max_prefixlen}"
