# SPDX-License-Identifier: Apache-2.0
"""Any bytes decode to a value or a DecodeError; the fast way equals the long way."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead.edge.ipvs import decode
from fairlead.edge.ipvs.constants import Cmd
from fairlead.edge.ipvs.errors import DecodeError
from fairlead.edge.ipvs.layout import DestDecoder, DestStatusDecoder
from unit.codec import captures

DECODERS = {
    "service": decode.service,
    "service_status": decode.service_status,
    "dest": decode.dest,
    "dest_status": decode.dest_status,
    "info": decode.info,
    "family_id": decode.family_id,
    "error_code": decode.error_code,
    "done_code": decode.done_code,
}
REPLIES = [
    raw
    for command, cmd in (
        ("-Ln", Cmd.NEW_SERVICE),
        ("-Ln", Cmd.NEW_DEST),
    )
    for raw in captures.replies(command, cmd)
]
DESTS = captures.replies("-Ln", Cmd.NEW_DEST)


def decode_all(data, decoder):
    """Every message of the bytes through one decoder; the only way out by exception is ours."""
    steps = 0
    try:
        for message in decode.messages(data, len(data)):
            steps += 1
            decoder(data, message)
    except DecodeError:
        pass
    assert steps <= len(data) // 16


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=600))
@example(data=struct.pack("=IHHII", 16, 0, 0, 0, 0) * 3)
@example(data=struct.pack("=IHHII", 20, 2, 0x200, 0, 0) + b"\xff" * 4)
def test_arbitrary_bytes(name, data):
    decode_all(data, DECODERS[name])


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_mutated_replies(name, data):
    raw = bytearray(data.draw(st.sampled_from(REPLIES)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    decode_all(bytes(raw[:cut]), DECODERS[name])
    decode_all(bytes(raw), DECODERS[name])


KINDS = pytest.mark.parametrize(
    ("make", "walk"), [(DestDecoder, decode.dest), (DestStatusDecoder, decode.dest_status)]
)


@KINDS
@settings(max_examples=300)
@given(data=st.data())
def test_learned_layout_equals_the_walk(make, walk, data):
    """One decoder over a sequence of real, mutated and shifted messages never differs."""
    decoder = make()
    for _ in range(data.draw(st.integers(1, 6))):
        raw = bytearray(data.draw(st.sampled_from(DESTS)))
        for _ in range(data.draw(st.integers(0, 3))):
            raw[data.draw(st.integers(16, len(raw) - 1))] = data.draw(st.integers(0, 255))
        shift = data.draw(st.sampled_from([0, 4, 8]))
        buffer = bytes(shift) + bytes(raw)
        message = decode.Message(0x1C, 2, 1, shift, len(buffer))
        try:
            expected = walk(buffer, message)
        except DecodeError:
            with pytest.raises(DecodeError):
                decoder.decode(buffer, message)
        else:
            assert decoder.decode(buffer, message) == expected


@KINDS
@settings(max_examples=300)
@given(data=st.data())
def test_a_run_takes_only_what_the_walk_would_read_alike(make, walk, data):
    """A datagram of real and mutated messages: what a run takes is right, and it always ends."""
    decoder = make()
    for raw in DESTS:
        decoder.decode(raw, decode.Message(0x1C, 2, 1, 0, len(raw)))
    seq = struct.unpack_from("=I", DESTS[0], 8)[0]
    parts = []
    for _ in range(data.draw(st.integers(1, 5))):
        raw = bytearray(data.draw(st.sampled_from(DESTS)))
        struct.pack_into("=I", raw, 8, seq)
        for _ in range(data.draw(st.integers(0, 2))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        parts.append(bytes(raw))
    datagram = b"".join(parts)
    found = []
    stopped = decoder.decode_run(datagram, 0, len(datagram), seq, found)
    assert 0 <= stopped <= len(datagram)
    assert found == [walk(datagram, message) for message in decode.messages(datagram, stopped)]


@pytest.mark.parametrize(
    ("seq", "flags"), [(8, 2), (7, 2 | 0x10)], ids=["of another dump", "of an interrupted dump"]
)
def test_a_run_stops_before_a_message(seq, flags):
    """What the socket must see for itself is left to it."""
    decoder = DestDecoder()
    good, odd = bytearray(DESTS[0]), bytearray(DESTS[0])
    struct.pack_into("=HI", good, 6, 2, 7)
    struct.pack_into("=HI", odd, 6, flags, seq)
    decoder.decode(good, decode.Message(0x1C, 2, 7, 0, len(good)))
    found = []
    datagram = bytes(good + odd + good)
    assert decoder.decode_run(datagram, 0, len(datagram), 7, found) == len(good)
    assert len(found) == 1


def test_layout_is_learned_and_used():
    """The second message of a shape takes the fast way: proved by breaking the long one."""
    decoder = DestDecoder()
    raw = DESTS[0]
    message = decode.Message(0x1C, 2, 1, 0, len(raw))
    first = decoder.decode(raw, message)
    (layout,) = decoder._layouts.values()
    assert layout.headers.unpack_from(raw, 0) == layout.expected
    shape = next(iter(decoder._layouts))
    assert shape == (len(raw), 0)
    decoder._layouts[shape] = layout._replace(values=_Constant())
    assert decoder.decode(raw, message).port == 0x0101
    assert first == decode.dest(raw, message)


class _Constant:
    def unpack_from(self, _buffer, _offset):
        return (b"\1" * 16, b"\1\1", 3, 1, 0, b"\0\0", 0, 0, 0, 2)
