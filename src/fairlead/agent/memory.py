# SPDX-License-Identifier: Apache-2.0
"""The garbage collector of a process that holds a cluster for as long as it lives."""

import gc


def settle_memory() -> None:
    """Take what the first lists built out of the garbage collector's sight.

    It lives as long as the process; walking it would cost milliseconds at the worst moment.
    What comes later is mostly acyclic and freed by counting, so collections can be rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
