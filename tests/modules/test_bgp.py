# SPDX-License-Identifier: Apache-2.0
"""`bgp`: BIRD's file, under the eyes of BIRD itself."""

import pytest

from fairlead.model.snapshot import Snapshot
from fairlead.planner.encode import plan_to_dict
from fairlead.planner.plan import make_plan
from fairlead.render.bird import SESSION_PREFIX
from fairlead.snapshot.inventory import inventory_from_dict
from fairlead.snapshot.passwords import passwords_of, without_passwords
from support.bird import MOMENT, up_since
from support.harness import wait_for
from support.modules import fail_module, run_module

CONF = "/etc/fairlead/bird/fairlead.conf"
MAIN = 'protocol device {}\ninclude "/etc/fairlead/bird/*.conf";\n'
POOLS = [{"name": "lan", "addresses": ["192.0.2.160-192.0.2.191", "2001:db8::a0-2001:db8::bf"]}]
TOR1 = {"name": "tor1", "address": "192.0.2.1", "asn": 64500}
TOR2 = {"name": "tor2", "address": "192.0.2.2", "asn": 64501, "bfd": True}


def params(*peers, **changes):
    inventory = {
        "edges": [{"name": "edge1", "address": "192.0.2.11"}],
        "announce": ["bgp"],
        "pools": POOLS,
        "bgp": {"local_asn": 64512, "peers": list(peers)},
    }
    plan = plan_to_dict(make_plan(Snapshot(), inventory_from_dict(inventory)))
    return {
        "inventory": without_passwords(inventory),
        "inventory_passwords": passwords_of(inventory),
        "edge": "edge1",
        "plan": plan["edges"]["edge1"],
        **changes,
    }


def without(wanted, part):
    """Parameters whose plan has an empty object where there should be a full one."""
    return {**wanted, "plan": {**wanted["plan"], part: [{}]}}


def bgp(edge, wanted, **options):
    return run_module("bgp", wanted, place=edge, **options)


def test_a_plan_of_before_there_were_sessions_has_none(edge):
    wanted = params()
    del wanted["plan"]["bgp_peers"]
    assert bgp(edge, wanted)["errors"] == []
    assert "protocol bgp" not in edge.path(CONF).read_text()


def test_check_then_do_then_nothing(edge):
    foreseen = bgp(edge, params(TOR1), check=True)
    assert foreseen["changed"]
    assert not edge.path(CONF).exists(), "check mode wrote"
    assert foreseen["diff"]["before"] == ""
    done = bgp(edge, params(TOR1))
    assert done["diff"] == foreseen["diff"]
    assert done["path"] == CONF
    assert done["diff"]["after"] == edge.path(CONF).read_text()
    assert not bgp(edge, params(TOR1))["changed"]


def test_running_bird_takes_a_new_peer_and_keeps_the_old_session(edge):
    bgp(edge, params(TOR1))
    edge.path("/etc/bird/bird.conf").write_text(MAIN)
    edge.run("bird")
    info = edge_info(edge)
    assert set(info["bgp_sessions"]) == {"tor1"}
    pid = edge.run("pidof", "bird")
    before, since = session(edge, "tor1")
    bgp(edge, params(TOR1, TOR2))
    wait_for("both sessions", lambda: set(edge_info(edge)["bgp_sessions"]) == {"tor1", "tor2"})
    assert edge.run("pidof", "bird") == pid
    after, still = session(edge, "tor1")
    assert after == before
    assert abs(still - since) < MOMENT


def session(edge, peer):
    """Name, protocol, table and state of a session; time of day of its last change in seconds."""
    name = SESSION_PREFIX + peer
    shown = edge.run("birdc", "show", "protocols")
    row = next(line.split() for line in shown.splitlines() if line.startswith(name))
    return row[:4], up_since(shown, name)


def edge_info(edge):
    return run_module("edge_info", {"interface": "eth0"}, place=edge)


def test_secrets_are_in_the_file_and_not_in_the_diff(edge):
    done = bgp(edge, params({**TOR1, "password": "sesame-opens"}))
    assert "sesame-opens" in edge.path(CONF).read_text()
    assert edge.path(CONF).stat().st_mode & 0o007 == 0
    assert "sesame-opens" not in str(done)
    assert "password (hidden);" in done["diff"]["after"]


def test_a_document_with_secrets_is_refused_without_repeating_them(edge):
    wanted = params(TOR1)
    wanted["inventory"]["bgp"]["peers"][0]["password"] = "sesame-opens"
    said = fail_module("bgp", wanted, place=edge)
    assert "bgp.peers[tor1].password" in said
    assert "sesame" not in said


def test_a_secret_of_the_cluster_is_handed_in_and_a_missing_one_is_told(edge):
    wanted = params(TOR1)
    wanted["plan"]["bgp_peers"][0]["password_secret"] = {
        "namespace": "metallb-system", "name": "tor", "key": "password",
    }  # fmt: skip
    done = bgp(edge, wanted)
    assert "no Secret metallb-system/tor" in done["errors"][0]
    assert done["errors"][0] in str(done["warnings"])
    assert SESSION_PREFIX not in edge.path(CONF).read_text()
    done = bgp(edge, {**wanted, "passwords": {"tor1": "sesame-opens"}})
    assert done["errors"] == []
    assert 'password "sesame-opens";' in edge.path(CONF).read_text()
    assert "sesame-opens" not in str(done)


@pytest.mark.parametrize("check", [True, False])
def test_a_session_that_bird_refuses_is_left_out_and_the_others_come_up(edge, check):
    bgp(edge, params(TOR2))
    # BIRD takes no port 0; nothing before it looks at a plan's numbers.
    wanted = params(TOR1, TOR2, {**TOR1, "name": "tor3", "address": "192.0.2.3"})
    wanted["plan"]["bgp_peers"][0]["port"] = 0
    done = bgp(edge, wanted, check=check)
    assert done["changed"]
    (error,) = done["errors"]
    assert "bgp.peers[tor1].name: BIRD refuses the session: " in error
    assert error in str(done["warnings"])
    text = edge.path(CONF).read_text()
    assert [f"{SESSION_PREFIX}{name}" in text for name in ("tor1", "tor2", "tor3")] == (
        [False, True, not check]
    )
    if not check:
        again = bgp(edge, wanted)
        assert (again["changed"], again["errors"]) == (False, [error])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (params(TOR1, edge="edge9"), "inventory: edges: there is no edge named 'edge9'"),
        (without(params(TOR1), "bgp_policies"), "missing required field `prefixes`"),
    ],
)
def test_bad_input_names_the_field(wanted, said, edge):
    before = edge.files()
    assert said in fail_module("bgp", wanted, place=edge)
    assert edge.files() == before
