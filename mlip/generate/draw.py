"""One draw: the random numbers of configuration `index`, and whose turn it is.

Everything depends on (recipe hash, seed, index) alone, so configurations can be made in any order, on any number of
workers, and come out bit for bit the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_OWN, _SHARED, _ORDER = 0, 1, 2


@dataclass(frozen=True)
class Draw:
    """Which configuration is asked for."""

    recipe_hash: str
    """Hex digits; see Recipe.content_hash."""
    seed: int
    """0 or more, chosen by the user."""
    index: int
    """0 or more: position in the endless list that (recipe, seed) stands for."""
    source: int = 0
    """Number of the source within the recipe."""
    rank: int = 0
    """How many earlier indices went to the same source."""

    def generator(self) -> np.random.Generator:
        """Fresh generator of this configuration's own random numbers, the same at every call."""
        return self._generator(_OWN, self.index)

    def turn(self, n: int) -> int:
        """A number of 0 .. n-1, random, but each comes exactly once in every block of n ranks of this source."""
        block, place = divmod(self.rank, n)
        return int(self._generator(_SHARED, self.source, n, block).permutation(n)[place])

    def source_order(self, weights: tuple[int, ...]) -> list[int]:
        """Sources of the block of sum(weights) indices that holds this index: each as often as its weight, shuffled."""
        order = np.repeat(np.arange(len(weights)), weights)
        return [int(s) for s in self._generator(_ORDER, self.index // len(order)).permutation(order)]

    def _generator(self, *path: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([int(self.recipe_hash, 16), self.seed, *path]))
