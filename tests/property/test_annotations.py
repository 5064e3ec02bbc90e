# SPDX-License-Identifier: Apache-2.0
"""Whatever stands in an annotation: no value of it leaves the ranges that the kernel knows."""

from hypothesis import example, given
from hypothesis import strategies as st

from fairlead.diff.ipvs import desired_from, diff
from fairlead.edge.ipvs.table import encode_changes
from fairlead.planner.nodes import NodeIndex
from fairlead.planner.options import ANNOTATIONS, FORWARDING, WEIGHTS
from unit.planner.test_options import ENDPOINTS, INVENTORY, NODE_LIST, VIP, shaped_on, svc

NUMBERS = st.integers(0, 10**25).map(str) | st.from_regex(r"0{0,20}[1-9]{1,20}", fullmatch=True)
VALUES = st.one_of(
    NUMBERS,
    st.text(max_size=30),
    st.text("0123456789=,-/UDPTC n1", max_size=40),
    st.sampled_from(["pod", "masquerade", "tunnel", "mh", "true"]),
    NUMBERS.map("n1={}".format),
    st.tuples(NUMBERS, NUMBERS).map("{0[0]}-{0[1]}/UDP".format),
)
NOTES = st.dictionaries(st.sampled_from(sorted(ANNOTATIONS)), VALUES, max_size=4)


@example(notes={FORWARDING: "masquerade"}, local=False)
@given(NOTES, st.booleans())
def test_every_annotation_leads_to_messages_that_can_be_sent(
    notes: dict[str, str], local: bool
) -> None:
    service = svc("x", local=local, annotations=notes, ports="80@30080")
    servers = shaped_on(service, (VIP,), (ENDPOINTS,), NodeIndex(NODE_LIST), INVENTORY)
    changes = diff(desired_from(servers), {}, None)
    assert len(encode_changes(changes)) == len(changes) > 0


@given(NUMBERS)
def test_a_weight_is_taken_as_it_stands_or_not_at_all(text: str) -> None:
    try:
        weights = ANNOTATIONS[WEIGHTS].parse(text)
    except ValueError:
        return
    assert weights == {"": int(text)}
