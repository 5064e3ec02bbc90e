# SPDX-License-Identifier: Apache-2.0
"""This edge's ways of announcing: secrets of sessions, instances, Events about failures."""

import base64
from ipaddress import ip_address

import msgspec
import pytest

from fairlead.agent.service_events import FailureNotices, missing_failures, planned_failures
from fairlead.agent.wanted import FilterRules
from fairlead.agent.ways import EdgeWays
from fairlead.cluster.peer_secrets import PeerSecret, SecretWire, peer_secret
from fairlead.cluster.writes import ServiceRef
from fairlead.model.bgp import SecretRef
from fairlead.model.errors import ObjectFieldError
from fairlead.model.inventory import Inventory
from fairlead.model.names import Announce, Forwarding, ObjectKey, Protocol
from fairlead.model.plan import NotAnnounced, VirtualServer
from fairlead.planner.delta import EdgeDelta
from golden import cases

(INSTANCE,) = cases.KEEPALIVED["no-vips"]
KEY = ObjectKey("metallb-system", "tor")
PEER = cases.peer(password_secret=SecretRef(*KEY))


def _ways(*announce: Announce) -> EdgeWays:
    return EdgeWays(Inventory(edges=(cases.EDGE,), announce=announce), cases.EDGE)


def _secret(text: str, kind: str = "kubernetes.io/basic-auth", key: str = "password") -> PeerSecret:
    wire = {
        "metadata": {"namespace": KEY.namespace, "name": KEY.name},
        "type": kind,
        "data": {key: base64.b64encode(text.encode()).decode()},
    }
    return peer_secret(msgspec.convert(wire, SecretWire))


def _passwords(ways: EdgeWays) -> dict[str, str]:
    bird = ways.wanted(1, lambda _address: True, FilterRules()).bird
    assert bird is not None
    return dict(bird.passwords)


def test_a_secret_that_comes_changes_or_goes_is_news() -> None:
    ways = _ways(Announce.BGP)
    assert ways.take(EdgeDelta(virtual_servers={}, bgp_peers=(PEER,)))
    assert not ways.take(EdgeDelta(virtual_servers={}))
    assert _passwords(ways) == {}
    for text in ("first0", "second"):
        ways.put_secret(_secret(text))
        assert ways.take(EdgeDelta(virtual_servers={}))
        assert _passwords(ways) == {"tor1": text}
        ways.put_secret(_secret(text))
        assert not ways.take(EdgeDelta(virtual_servers={}))
    ways.replace_secrets((), keep=(KEY,))
    assert _passwords(ways) == {"tor1": "second"}
    ways.replace_secrets((), keep=())
    assert ways.take(EdgeDelta(virtual_servers={}))
    assert _passwords(ways) == {}


@pytest.mark.parametrize(
    "secret", [_secret("x", kind="Opaque"), _secret("x", key="username")], ids=["type", "key"]
)
def test_only_the_right_key_of_the_right_type_counts(secret: PeerSecret) -> None:
    ways = _ways(Announce.BGP)
    ways.take(EdgeDelta(virtual_servers={}, bgp_peers=(PEER,)))
    ways.put_secret(secret)
    assert _passwords(ways) == {}


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
    ways = _ways(Announce.VRRP)
    ways.take(EdgeDelta(virtual_servers={}, vrrp=(INSTANCE, other)))
    wanted = ways.wanted(1, lambda _address: True, FilterRules())
    assert wanted.interfaces == ("eth0", "eth1", "eth2")
    assert wanted.advertised == (ip_address("192.0.2.9"), ip_address("169.254.7.8"))
    assert wanted.bird is None


def test_failures_are_told_once_also_at_the_start() -> None:
    web = ObjectKey("web", "shop")
    notices = FailureNotices(lambda key: ServiceRef(key, "uid", "1") if key == web else None)
    failed = NotAnnounced(
        service=web, edge="edge1", way=Announce.VRRP, reason="announceFailed", message="no eth7"
    )
    (told,) = notices.news(planned_failures([failed]))
    assert (told.event.type, told.event.reason) == ("Warning", "announceFailed")
    assert told.event.message == "no eth7"
    assert notices.news(planned_failures([failed])) == []
    assert notices.news([]) == []
    assert len(notices.news(planned_failures([failed]))) == 1


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
