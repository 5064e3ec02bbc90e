# SPDX-License-Identifier: Apache-2.0
"""The inventory of the example, and the filter that makes the inventory document of it.

The example explains every variable; what it shows as a default is the default.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from ansible.errors import AnsibleFilterError

from fairlead.cluster.manifests import read_inventory
from fairlead.model.names import Announce
from fairlead.snapshot import inventory as parser
from fairlead.snapshot import inventory_adverts as entries
from fairlead.snapshot.inventory import inventory_from_dict

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventory/example"
FILES = sorted(path for path in EXAMPLE.rglob("*.yml"))
SPECS = {
    path.parts[-3]: yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
}


def _filter():
    path = ROOT / "plugins/filter/edges_document.py"
    spec = importlib.util.spec_from_file_location("edges_document", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILTER = _filter()


def keys(struct):
    """Keys of one level of the inventory document, as its parser accepts them."""
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def shown():
    """Variables that stand in the example, set or commented out: name -> value."""
    found = {}
    for path in FILES:
        text = path.read_text()
        for block in re.findall(
            # What is indented below an empty list shows what may stand there instead.
            r"(?m)^# ((?:fairlead|edge|cluster_access)_[a-z0-9_]+: (?:\[\]|\S.*(?:\n#  .*)*))$",
            text,
        ):
            found.update(yaml.safe_load(block.replace("\n# ", "\n")))
        content = yaml.safe_load(text) or {}
        if path.name != "hosts.yml":
            found.update(content)
    return found


# -- the filter ----------------------------------------------------------------------------------


def test_keys_of_the_filter_are_those_of_the_parser():
    assert set(FILTER.GROUP_KEYS) == keys(parser._Inventory) - {"edges"}
    assert set(FILTER.EDGE_KEYS) == keys(parser._Edge) - {"name"}


def test_hosts_that_disagree_are_named():
    hosts = {"a": {"fairlead_scheduler": "mh"}, "b": {"fairlead_scheduler": "rr"}}
    with pytest.raises(AnsibleFilterError, match="fairlead_scheduler differs between a and b"):
        FILTER.edges_document(hosts, ["a", "b"])


def test_the_connections_address_is_taken_and_a_name_is_refused():
    assert FILTER.edges_document({"a": {"ansible_host": "192.0.2.1"}}, ["a"]) == {
        "edges": [{"name": "a", "address": "192.0.2.1"}]
    }
    with pytest.raises(AnsibleFilterError, match="set fairlead_edge_address"):
        FILTER.edges_document({"a": {"ansible_host": "edge.example"}}, ["a"])


def test_passwords_are_apart_from_the_document_and_come_together_again():
    peers = [{"name": "tor1", "asn": 1, "password": "sesame"}, {"name": "tor2", "asn": 2}]
    hosts = {"a": {"ansible_host": "192.0.2.1", "fairlead_bgp": {"local_asn": 3, "peers": peers}}}
    public, secrets = FILTER.edges_document(hosts, ["a"]), FILTER.peer_passwords(hosts, ["a"])
    assert "sesame" not in str(public)
    assert secrets == {"tor1": "sesame"}
    assert FILTER.with_passwords(public, secrets)["bgp"]["peers"] == peers
    assert FILTER.with_passwords(public, {}) == public
    assert hosts["a"]["fairlead_bgp"]["peers"] == peers, "the inventory is not changed"


@pytest.mark.parametrize("bgp", [None, "x", {"peers": "x"}, {"peers": ["x", {"asn": 1}]}])
def test_a_malformed_document_is_left_for_the_parser_to_tell(bgp):
    hosts = {"a": {"ansible_host": "192.0.2.1", "fairlead_bgp": bgp}}
    assert FILTER.peer_passwords(hosts, ["a"]) == {}
    assert FILTER.edges_document(hosts, ["a"]).get("bgp") == bgp


# -- the example ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document():
    """The inventory document of the example, as the playbooks assemble it."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible"),
            "edge1",
            *("-i", str(EXAMPLE), "-m", "ansible.builtin.debug", "-a"),
            "msg={{ hostvars | fairlead.edge.edges_document(groups['edges']) }}",
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.partition("=>")[2])["msg"]


def test_example_is_a_valid_document(document):
    found = inventory_from_dict(document)
    assert [edge.name for edge in found.edges] == ["edge1", "edge2"]
    assert [pool.name for pool in found.pools] == ["lan-pool", "routed-pool", "voice-pool"]
    assert [peer.name for peer in found.bgp.peers] == ["tor1", "tor2"]
    assert found.announce == (Announce.VRRP,)
    assert found.vrrp.advertised_address == "192.0.2.9/24"


def test_addresses_are_for_documentation():
    # RFC 5737 and RFC 3849.
    own = ("192.0.2.", "198.51.100.", "203.0.113.")
    for path in FILES:
        for address in re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", path.read_text()):
            assert address.startswith(own), (path, address)
        for address in re.findall(r"\b[0-9a-f]{4}:[0-9a-f:]+", path.read_text()):
            assert address.startswith("2001:db8:"), (path, address)


@pytest.mark.parametrize(
    ("struct", "known"),
    [
        (parser._Pool, parser._POOL_KEYS),
        (parser.ServiceAllocationWire, parser._ALLOCATION_KEYS),
        (parser._Vrrp, {}),
        (parser._Bgp, {}),
        (entries._PeerEntry, entries._PEER_KEYS | entries._KEYS),
        (entries._Bfd, {}),
    ],
)
def test_every_key_that_is_accepted_is_explained(struct, known):
    text = (EXAMPLE / "group_vars/edges/fairlead.yml").read_text()
    renamed = {value: key for key, value in known.items()}
    for key in keys(struct):
        names = {key, known.get(key, key), renamed.get(key, key)}
        assert any(re.search(rf"[ {{]{name}:", text) for name in names), key


def test_every_variable_is_explained():
    document = {f"fairlead_{key}" for key in FILTER.GROUP_KEYS}
    document |= {f"fairlead_edge_{key}" for key in FILTER.EDGE_KEYS}
    wiring = (ROOT / "playbooks/vars/wiring.yml").read_text()
    used = set(re.findall(r"\bfairlead_[a-z_]+", wiring)) - {"fairlead_planned"}
    optional = {
        name
        for options in SPECS.values()
        for name, option in options.items()
        if not option.get("required")
    }
    assert set(shown()) - {"ansible_host", "ansible_user"} == document | used | optional
    text = "".join(path.read_text() for path in FILES)
    required = {name for options in SPECS.values() for name in options} - optional
    assert [name for name in required if name not in text] == []


def test_defaults_of_roles_are_true():
    examples = shown()
    for options in SPECS.values():
        for name, option in options.items():
            if not option.get("required"):
                assert examples[name] == option["default"], name


def test_defaults_of_the_document_are_true():
    examples, nothing = shown(), inventory_from_dict({})
    for key in set(FILTER.GROUP_KEYS) - {"pools", "vrrp", "bgp"}:
        given = inventory_from_dict({key: examples[f"fairlead_{key}"]})
        assert given == nothing, key
    edge = {"name": "edge1", "address": "192.0.2.11"}
    for key in set(FILTER.EDGE_KEYS) - {"address", "address6"}:
        given = {**edge, key: examples[f"fairlead_edge_{key}"]}
        assert inventory_from_dict({"edges": [given]}) == inventory_from_dict({"edges": [edge]})


def test_the_documents_own_example_has_no_other_keys():
    # examples/edges.yaml is the same document for people who plan without Ansible.
    assert set(read_inventory(str(ROOT / "examples/edges.yaml"))) <= keys(parser._Inventory)
