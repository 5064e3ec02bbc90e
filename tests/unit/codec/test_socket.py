# SPDX-License-Identifier: Apache-2.0
"""The netlink socket on any kernel: what it says where there is no IPVS, and bad namespaces."""

import pytest

from fairlead.adapters.ipvs import IpvsTable, IpvsUnavailableError
from fairlead.adapters.ipvs import socket as ipvs_socket
from fairlead.model.errors import FairleadError


def test_kernel_without_the_family_is_a_sentence(monkeypatch):
    monkeypatch.setattr(ipvs_socket, "GENL_NAME", "NO_SUCH_FAMILY")
    with pytest.raises(IpvsUnavailableError, match="modprobe ip_vs"):
        IpvsTable()


def test_family_is_resolved_by_the_real_controller(monkeypatch):
    """Every kernel has the controller itself, as number 16."""
    monkeypatch.setattr(ipvs_socket, "GENL_NAME", "nlctrl")
    with ipvs_socket.IpvsSocket() as opened:
        assert opened._family == 0x10


def test_unknown_namespace_is_a_sentence():
    with pytest.raises(FairleadError, match="network namespace no-such"):
        IpvsTable("no-such")
