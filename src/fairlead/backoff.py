# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next try: one rule for watches, writers and the edge."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential delay with jitter: each drawn from the upper half of a doubling bound.

    Attributes:
        waited: Whether a try failed since the last `reset`.
    """

    first: float = 0.1
    limit: float = 10.0
    draw: Callable[[float, float], float] = random.uniform
    waited: bool = field(default=False, init=False)
    _bound: float = field(default=0.0, init=False)

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        self.waited = True
        self._bound = min(self.limit, self._bound * 2 or self.first)
        return self.draw(self._bound / 2, self._bound)

    def reset(self) -> None:
        """A try succeeded."""
        self._bound, self.waited = 0.0, False
