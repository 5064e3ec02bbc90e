# SPDX-License-Identifier: Apache-2.0
"""Definitions of the kinds of metallb.io, of our own making, for clusters that never had MetalLB.

Group, versions, fields and columns are those that manifests for MetalLB use. What a webhook checks
there is checked here by schema and CEL inside the API server. Pure: who installs them is
`fairlead.cluster.definitions`.
"""

from fairlead.crds.advertisements import bgp_advertisement, l2_advertisement
from fairlead.crds.communities import community
from fairlead.crds.definition import Definition
from fairlead.crds.peers import bfd_profile, peer
from fairlead.crds.pools import pool
from fairlead.crds.statuses import bgp_status, configuration_state, l2_status


def definitions() -> tuple[Definition, ...]:
    """All kinds, those first that others name."""
    return (
        pool(),
        community(),
        bfd_profile(),
        peer(),
        l2_advertisement(),
        bgp_advertisement(),
        l2_status(),
        bgp_status(),
        configuration_state(),
    )
