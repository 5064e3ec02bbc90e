# SPDX-License-Identifier: Apache-2.0
"""IPVS over generic netlink, by a codec of our own.

table = IpvsTable()                                  # or IpvsTable(netns="edge1")
desired = desired_from(edge_plan.virtual_servers)    # fairlead.diff.ipvs
done = reconcile_ipvs(table, desired, owned, check=False)
reconcile_virtual_server(table, service_key(server), desired_entry(server))   # hot path
"""

from fairlead.edge.ipvs.apply import (
    AppliedChanges,
    reconcile_ipvs,
    reconcile_virtual_server,
)
from fairlead.edge.ipvs.errors import (
    DecodeError,
    IpvsPermissionError,
    IpvsRequestError,
    IpvsUnavailableError,
    RepliesLostError,
)
from fairlead.edge.ipvs.fake import FakeIpvsTable
from fairlead.edge.ipvs.table import ChangeResult, IpvsPort, IpvsTable

__all__ = [
    "AppliedChanges",
    "ChangeResult",
    "DecodeError",
    "FakeIpvsTable",
    "IpvsPermissionError",
    "IpvsPort",
    "IpvsRequestError",
    "IpvsTable",
    "IpvsUnavailableError",
    "RepliesLostError",
    "reconcile_ipvs",
    "reconcile_virtual_server",
]
