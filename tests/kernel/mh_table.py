# SPDX-License-Identifier: Apache-2.0
"""The table of scheduler `mh` computed as the kernel does (net/netfilter/ipvs/ip_vs_mh.c, 64 bit).

For tests and for the figures in docs/decisions/0010: a real server's place in the list of
destinations (newest first) decides who gets a bucket that two of them prefer.
"""

from math import gcd

BUCKETS = 4093
"""The prime for CONFIG_IP_VS_MH_TAB_INDEX=12."""

_MASK = (1 << 64) - 1
_KEY_OFFSET, _KEY_SKIP = 2654435761, 2654446892
_WEIGHT_BITS = 6


def bucket(address: bytes, port: int) -> int:
    """Bucket of a client (scheduler flag "port"; 0 without), and first wish of a real server."""
    return _hash(address, port, _KEY_OFFSET) % BUCKETS


def fill(dests):
    """Real server of every bucket.

    Args:
        dests: (packed IPv4 address, port, last weight above 0) in the kernel's order, newest first.
    """
    common = gcd(*(weight for _, _, weight in dests))
    shift = max(0, (max(weight for _, _, weight in dests) // common).bit_length() - _WEIGHT_BITS)
    states = [
        [bucket(address, port), _hash(address, port, _KEY_SKIP) % (BUCKETS - 1) + 1]
        for address, port, _ in dests
    ]
    turns = [max(1, (weight // common) >> shift) for _, _, weight in dests]
    filled = [None] * BUCKETS
    left = BUCKETS
    while True:
        for index, state in enumerate(states):
            for _ in range(turns[index]):
                while filled[state[0]] is not None:
                    state[0] = (state[0] + state[1]) % BUCKETS
                filled[state[0]] = index
                left -= 1
                if not left:
                    return [dests[one][0] for one in filled]


def _hash(address, port, key):
    value = (port + int.from_bytes(address, "big")) & 0xFFFFFFFF
    return _siphash13(value, key)


def _siphash13(value, key):
    """hsiphash() of a u32: SipHash-1-3 with both key words equal, cut to 32 bits."""
    state = [
        0x736F6D6570736575 ^ key,
        0x646F72616E646F6D ^ key,
        0x6C7967656E657261 ^ key,
        0x7465646279746573 ^ key,
    ]
    block = 4 << 56 | value
    state[3] ^= block
    _round(state)
    state[0] ^= block
    state[2] ^= 0xFF
    for _ in range(3):
        _round(state)
    return (state[0] ^ state[1] ^ state[2] ^ state[3]) & 0xFFFFFFFF


def _round(state):
    a, b, c, d = state
    a = a + b & _MASK
    b = _rotate(b, 13) ^ a
    a = _rotate(a, 32)
    c = c + d & _MASK
    d = _rotate(d, 16) ^ c
    a = a + d & _MASK
    d = _rotate(d, 21) ^ a
    c = c + b & _MASK
    b = _rotate(b, 17) ^ c
    state[:] = a, b, _rotate(c, 32), d


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & _MASK
