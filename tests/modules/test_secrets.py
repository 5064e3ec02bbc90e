# SPDX-License-Identifier: Apache-2.0
"""A marked secret, through every module that is given one: nothing that is shown or logged has it.

What Ansible prints at -vvv is a module's answer with its `invocation`; what it writes to the syslog
of the machine is a line of its own (`_ansible_syslog_facility`, `no_target_syslog` off).
"""

import json
import os
import subprocess
import sys

import pytest

from support.modules import payload

SECRET = "SESAME-OPENS-7f3a"
INVENTORY = {
    "edges": [{"name": "edge1", "address": "192.0.2.11"}],
    "announce": ["bgp"],
    "pools": [{"name": "lan", "addresses": ["192.0.2.160-192.0.2.191"]}],
    "bgp": {"local_asn": 64512, "peers": [{"name": "tor1", "address": "192.0.2.1", "asn": 64500}]},
}
PLAIN = {"virtual_servers": [], "addresses": [], "vrrp": [], "bgp": [], "bgp_peers": []}
OPTIONS = {
    "plan": {"inventory": INVENTORY, "passwords": {"tor1": SECRET}},
    "bgp": {
        "inventory": INVENTORY,
        "edge": "edge1",
        "plan": PLAIN,
        "inventory_passwords": {"tor1": SECRET},
        "passwords": {"tor2": SECRET},
    },
}
LOG = """
import sys, syslog
sys.modules["systemd"] = None  # the journal's library would be asked first
syslog.openlog = lambda *_args, **_options: None
syslog.syslog = lambda *args: print("LOG", *args, file=sys.stderr)
"""
"""What Python runs at its start: the system's log becomes stderr."""


@pytest.mark.parametrize("module", OPTIONS)
@pytest.mark.parametrize("check", [True, False])
def test_neither_answer_nor_log_have_the_secret(edge, module, check, tmp_path):
    args = {**OPTIONS[module], "_ansible_check_mode": check, "_ansible_diff": True}
    (tmp_path / "sitecustomize.py").write_text(LOG)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*edge.enter(), sys.executable, "-"],
        input=payload(module, args),
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=60,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert not answer.get("failed"), answer
    assert "Invoked with" in done.stderr.decode(), "nothing was logged: the test sees nothing"
    assert SECRET not in done.stdout.decode()
    assert SECRET not in done.stderr.decode()
