# SPDX-License-Identifier: Apache-2.0
"""Sessions that BIRD's own parser refuses: found by looking at each alone, so the others go on.

BIRD takes a file whole or not at all, and knows limits that stand in no schema: one accepted
BGPPeer would keep every new session and policy of the edge from coming up.
"""

from collections.abc import Callable, Mapping

import msgspec

from fairlead.model.bgp import BgpPeer
from fairlead.model.inventory import Edge
from fairlead.model.plan import EdgePlan
from fairlead.render.bird import BirdFile, render_bird
from fairlead.render.bird_limits import place


def without_refused(
    whole: BirdFile,
    edge: Edge,
    plan: EdgePlan,
    passwords: Mapping[str, str],
    *,
    refusal: Callable[[str], str],
) -> BirdFile:
    """A file that BIRD takes: without the sessions that it refuses, each named in `errors`.

    Where none of them is to blame alone, it is the whole.

    Args:
        whole: What `render_bird` makes of the following three.
        edge: As for `render_bird`.
        plan: As for `render_bird`.
        passwords: As for `render_bird`.
        refusal: What BIRD's parser has against a text, "" for nothing.
    """

    def rendered(*peers: BgpPeer) -> BirdFile:
        return render_bird(edge, msgspec.structs.replace(plan, bgp_peers=peers), passwords)

    if not refusal(whole.text) or refusal(rendered().text):
        return whole
    why = {peer.name: refusal(rendered(peer).text) for peer in plan.bgp_peers}
    taken = [peer for peer in plan.bgp_peers if not why[peer.name]]
    if len(taken) == len(plan.bgp_peers):
        return whole
    rest = rendered(*taken)
    refused = [
        place(peer, "name", f"BIRD refuses the session: {why[peer.name]}; it is left out")
        for peer in plan.bgp_peers
        if why[peer.name]
    ]
    return BirdFile(rest.text, (*rest.errors, *refused))
