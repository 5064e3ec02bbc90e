# SPDX-License-Identifier: Apache-2.0
"""This edge's kept of announcing: secrets of sessions, instances, Events about failures."""

import base64
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from fairlead.agent.planning import is_filtered
from fairlead.agent.publisher import NoticeChanges
from fairlead.agent.service_events import FailureNotices, missing_failures, planned_failures
from fairlead.agent.target import EdgeTarget
from fairlead.cluster.peer_secrets import PeerSecret, SecretWire, peer_secret
from fairlead.cluster.writes import ServiceRef
from fairlead.model.bgp import SecretRef
from fairlead.model.errors import ObjectFieldError
from fairlead.model.inventory import Inventory
from fairlead.model.names import Announce, Forwarding, ObjectKey, Protocol
from fairlead.model.plan import NotAnnounced, RealServer, VirtualServer
from fairlead.planner.delta import EdgeDelta
from golden import cases

(INSTANCE,) = cases.KEEPALIVED["no-vips"]
KEY = ObjectKey("metallb-system", "tor")
PEER = cases.peer(password_secret=SecretRef(*KEY))


def _kept(*announce: Announce) -> EdgeTarget:
    return EdgeTarget(Inventory(edges=(cases.EDGE,), announce=announce), cases.EDGE)


def _secret(text: str, kind: str = "kubernetes.io/basic-auth", key: str = "password") -> PeerSecret:
    wire = {
        "metadata": {"namespace": KEY.namespace, "name": KEY.name},
        "type": kind,
        "data": {key: base64.b64encode(text.encode()).decode()},
    }
    return peer_secret(msgspec.convert(wire, SecretWire))


def _passwords(kept: EdgeTarget) -> dict[str, str]:
    return dict(kept.target(lambda _address: True).passwords)


def _news(kept: EdgeTarget, **fields: Any) -> bool:
    """What the planner says is taken; whether the announcer has to be told."""
    delta = EdgeDelta(virtual_servers={}, announcing=bool(fields), **fields)
    different = kept.touched or delta.announcing
    kept.take(delta)
    return different


def test_a_secret_that_comes_changes_or_goes_is_news() -> None:
    kept = _kept(Announce.BGP)
    assert _news(kept, bgp_peers=(PEER,))
    assert not _news(kept)
    assert _passwords(kept) == {}
    for text in ("first0", "second"):
        kept.put_secret(_secret(text))
        assert _news(kept)
        assert _passwords(kept) == {"tor1": text}
        kept.put_secret(_secret(text))
        assert not _news(kept)
    kept.replace_secrets((), keep=(KEY,))
    assert _passwords(kept) == {"tor1": "second"}
    kept.replace_secrets((), keep=())
    assert _news(kept)
    assert _passwords(kept) == {}


@pytest.mark.parametrize(
    "secret", [_secret("x", kind="Opaque"), _secret("x", key="username")], ids=["type", "key"]
)
def test_only_the_right_key_of_the_right_type_counts(secret: PeerSecret) -> None:
    kept = _kept(Announce.BGP)
    kept.take(EdgeDelta(virtual_servers={}, bgp_peers=(PEER,), announcing=True))
    kept.put_secret(secret)
    assert _passwords(kept) == {}


def test_a_secret_shows_in_no_text() -> None:
    assert "s3cret" not in repr(_secret("s3cret"))
    wire = SecretWire(type="kubernetes.io/basic-auth", data={"password": "s3cret!"})
    with pytest.raises(ObjectFieldError, match=r"data\.password: is not base64") as caught:
        peer_secret(wire)
    assert "s3cret" not in str(caught.value)


def test_interfaces_and_stable_addresses_of_all_instances() -> None:
    other = msgspec.structs.replace(
        INSTANCE, instance="b", devices=("eth1", "eth2"), advertised_address="169.254.7.8/32"
    )
    kept = _kept(Announce.VRRP)
    kept.take(EdgeDelta(virtual_servers={}, vrrp=(INSTANCE, other), announcing=True))
    target = kept.target(lambda _address: True)
    assert target.interfaces == ("eth0", "eth1", "eth2")
    assert target.advertised == (ip_address("192.0.2.9"), ip_address("169.254.7.8"))
    assert target.by_bgp == frozenset()
    assert replace(target, announce=frozenset()).advertised == ()


def test_failures_are_recorded_once_also_at_the_start() -> None:
    web = ObjectKey("web", "shop")
    notices = FailureNotices(lambda key: ServiceRef(key, "uid", "1") if key == web else None)
    failed = NotAnnounced(
        service=web, edge="edge1", way=Announce.VRRP, reason="announceFailed", message="no eth7"
    )
    (new,) = notices.changes(planned_failures([failed])).new
    assert (new.event.type, new.event.reason) == ("Warning", "announceFailed")
    assert new.event.message == "no eth7"
    assert notices.changes(planned_failures([failed])) == NoticeChanges()
    assert notices.changes([]) == NoticeChanges(over=((web, new.event.message),))
    assert len(notices.changes(planned_failures([failed])).new) == 1


def test_an_interface_that_this_machine_lacks_fails_its_services() -> None:
    vip, other = ip_address("192.0.2.200"), ip_address("192.0.2.201")
    instance = msgspec.structs.replace(INSTANCE, devices=("eth0", "eth7"), addresses=(vip,))
    servers = [
        VirtualServer(
            address=address,
            protocol=Protocol.TCP,
            port=80,
            scheduler="mh",
            flags=(),
            forwarding=Forwarding.DSR,
            service=ObjectKey("web", name),
        )
        for address, name in ((vip, "shop"), (other, "blog"))
    ]
    rows = missing_failures("edge1", (instance,), servers, frozenset({"eth7"}))
    assert rows == [(ObjectKey("web", "shop"), "edge edge1 has no interface eth7")]
    assert missing_failures("edge1", (instance,), servers, frozenset()) == []


def _server(port: int, **fields: Any) -> VirtualServer:
    settings: dict[str, Any] = {
        "address": ip_address("192.0.2.200"),
        "protocol": Protocol.TCP,
        "port": port,
        "scheduler": "mh",
        "flags": (),
        "forwarding": Forwarding.DSR,
        "service": ObjectKey("web", "shop"),
        "real_servers": (RealServer(ip_address("192.0.2.101"), port, 1),),
    }
    return VirtualServer(**(settings | fields))


@pytest.mark.parametrize(
    "fields",
    [{"source_ranges": ()}, {"forwarding": Forwarding.MASQUERADE}, {"mark": 7, "last_port": 90}],
)
def test_the_packet_filter_hears_of_rules_and_not_of_weights(fields: dict[str, Any]) -> None:
    kept, key = _kept(Announce.VRRP), ObjectKey("a", "b")
    assert not is_filtered(_server(80))
    assert is_filtered(_server(80, **fields))
    kept.put_servers(key, (_server(80, **fields), _server(443)))
    assert _news(kept)
    assert [one.port for one in kept.target(bool).virtual_servers] == [80, 443]
    kept.put_servers(key, (_server(80, real_servers=(), **fields), _server(443)))
    assert not _news(kept)
    kept.put_servers(key, ())
    assert _news(kept)
    assert kept.target(bool).virtual_servers == ()
