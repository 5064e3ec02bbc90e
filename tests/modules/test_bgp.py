# SPDX-License-Identifier: Apache-2.0
"""`bgp`: BIRD's file, under the eyes of BIRD itself."""

import pytest

from fairlead.render.bird import SESSION_PREFIX
from support.harness import wait_for
from support.modules import SYSTEM_PYTHON, fail_module, run_module

CONF = "/etc/bird/bird.conf"
POOLS = ["192.0.2.160-192.0.2.191", "2001:db8::a0-2001:db8::bf"]
TOR1 = {"name": "tor1", "address": "192.0.2.1", "asn": 64500}
TOR2 = {"name": "tor2", "address": "192.0.2.2", "asn": 64501, "bfd": True}


def params(*peers, **changes):
    inventory = {
        "edges": [{"name": "edge1", "address": "192.0.2.11"}],
        "bgp": {"local_asn": 64512, "peers": list(peers)},
    }
    return {"inventory": inventory, "edge": "edge1", "pools": POOLS, **changes}


def bgp(edge, wanted, **options):
    return run_module("bgp", wanted, place=edge, python=SYSTEM_PYTHON, **options)


def test_check_then_do_then_nothing(edge):
    distribution = edge.path(CONF).read_text()
    foreseen = bgp(edge, params(TOR1), check=True)
    assert foreseen["changed"]
    assert edge.path(CONF).read_text() == distribution, "check mode wrote"
    assert foreseen["diff"]["before"] == distribution
    done = bgp(edge, params(TOR1))
    assert done["diff"] == foreseen["diff"]
    assert done["path"] == CONF
    assert done["diff"]["after"] == edge.path(CONF).read_text()
    assert not bgp(edge, params(TOR1))["changed"]


def test_running_bird_takes_a_new_peer_and_keeps_the_old_session(edge):
    bgp(edge, params(TOR1))
    edge.run("bird")
    info = edge_info(edge)
    assert set(info["bgp_sessions"]) == {"tor1"}
    pid = edge.run("pidof", "bird")
    since = session(edge, "tor1")
    bgp(edge, params(TOR1, TOR2))
    wait_for("both sessions", lambda: set(edge_info(edge)["bgp_sessions"]) == {"tor1", "tor2"})
    assert edge.run("pidof", "bird") == pid
    assert session(edge, "tor1") == since


def session(edge, peer):
    """Name, protocol, table, state and time of the last change of a session."""
    shown = edge.run("birdc", "show", "protocols").splitlines()
    return next(line.split()[:5] for line in shown if line.startswith(SESSION_PREFIX + peer))


def edge_info(edge):
    return run_module("edge_info", {"interface": "eth0"}, place=edge)


def test_secrets_are_in_the_file_and_not_in_the_diff(edge):
    done = bgp(edge, params({**TOR1, "password": "sesame-opens"}))
    assert "sesame-opens" in edge.path(CONF).read_text()
    assert edge.path(CONF).stat().st_mode & 0o007 == 0
    assert "sesame-opens" not in str(done)
    assert done["diff"] == {"prepared": "The file holds TCP MD5 secrets and is not shown.\n"}


def test_what_bird_refuses_never_becomes_the_live_file(edge):
    bgp(edge, params(TOR1))
    before = edge.files()
    # BIRD wants an interface beside a link-local address; nothing before it knows that.
    wanted = params({**TOR1, "address": "fe80::1"})
    wanted["inventory"]["edges"][0]["address6"] = "2001:db8::11"
    said = fail_module("bgp", wanted, place=edge)
    assert said.startswith(f"{CONF}: not replaced, bird refused the new text")
    assert edge.files() == before


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (params(TOR1, edge="edge9"), "inventory: edges: there is no edge named 'edge9'"),
        (params({**TOR1, "asn": 0}), "inventory: bgp.peers[0].asn"),
        (params({**TOR1, "adress": "192.0.2.1"}), "unknown field `adress`"),
        (params(TOR1, TOR1), "inventory: bgp.peers[1].name: 'tor1' is there twice"),
        (params(TOR1, pools=["192.0.2.191-192.0.2.160"]), "pools[0]"),
    ],
)
def test_bad_input_names_the_field(wanted, said, edge):
    before = edge.files()
    assert said in fail_module("bgp", wanted, place=edge)
    assert edge.files() == before
