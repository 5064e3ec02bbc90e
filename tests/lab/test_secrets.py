# SPDX-License-Identifier: Apache-2.0
"""A marked BGP password, through all of site.yml: nothing that is shown or logged has it."""

import json

import pytest

from support.provisioned import ProvisionedLab

pytestmark = pytest.mark.lab

SECRET = "SESAME-OPENS-7f3a"
PLACES = {
    "journal and syslog": "journalctl --no-pager; cat /var/log/syslog 2>/dev/null",
    "status.json": "cat /run/fairlead/status.json",
    "fairlead status": "fairlead status; fairlead status --json",
    "metrics": 'python3 -c "import urllib.request as u;'
    "print(u.urlopen('http://127.0.0.1:9120/metrics').read().decode())\"",
    "process list": "ps -eo args",
    "facts": "cat /etc/ansible/facts.d/* 2>/dev/null",
}


def test_a_password_of_the_inventory_is_shown_nowhere(bgp_lab: ProvisionedLab) -> None:
    """In check mode: the modules run on the edges, and the router's session stays as it is."""
    lab = bgp_lab
    peer = {"name": "router", "address": lab.cfg.router_address, "asn": 64500, "password": SECRET}
    bgp = json.dumps({"fairlead_bgp": {"local_asn": 64512, "peers": [peer]}})
    shown = lab.playbook("site", "--check", "--diff", "-vvv", "-e", bgp, announce=["vrrp", "bgp"])
    # The option itself is quoted once, as it was typed.
    lines = [line for line in shown.splitlines() if "extra_vars" not in line]
    assert not [line for line in lines if SECRET in line]
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in shown, "no invocation was shown at all"
    for edge in lab.edges:
        for place, command in PLACES.items():
            text = lab.ssh(edge, command, check=False)
            assert SECRET not in text, f"{edge}: {place}"
