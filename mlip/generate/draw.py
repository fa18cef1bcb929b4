"""One draw: the random numbers of configuration `index`, and whose turn it is.

Everything depends on (recipe hash, seed, index) alone, so configurations can be made in any order, on any number of
workers, and come out bit for bit the same. The numbers come from a counter-based generator (Philox; Salmon et al.,
Proc. SC11 (2011)), keyed by recipe and seed and counted by index: streams cannot overlap.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OWN, _SHARED, _ORDER = 0, 1, 2


class GenerationError(ValueError):
    """A configuration that could not be made within the allowed attempts; it is counted as lost, and named."""


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
    """Number of the source within the recipe, at most 255."""
    rank: int = 0
    """How many earlier indices went to the same source."""

    def generator(self) -> np.random.Generator:
        """Fresh generator of this configuration's own random numbers, the same at every call."""
        return _generator(self.recipe_hash, self.seed, _OWN, self.index)

    def turn(self, n: int, purpose: int = 0) -> int:
        """A number of 0 .. n-1, random, but each comes exactly once in every block of n ranks of this source.

        :param purpose: tells apart what takes turns in one configuration; without it two things of which there are
            equally many would always come together.
        """
        block, place = divmod(self.rank, n)
        stream = _SHARED + (self.source << 8) + (n << 16) + (purpose << 48)
        return int(_permutation(self.recipe_hash, self.seed, stream, block, n)[place])

    @property
    def name(self) -> str:
        """'seed/index', as it stands in the origin of the configuration."""
        return f"{self.seed}/{self.index}"


@functools.lru_cache(maxsize=64)
def source_order(recipe_hash: str, seed: int, block: int, weights: tuple[int, ...]) -> list[int]:
    """Sources of one block of sum(weights) indices: each as often as its weight, shuffled."""
    order = np.repeat(np.arange(len(weights)), weights)
    return [int(s) for s in _generator(recipe_hash, seed, _ORDER, block).permutation(order)]


@functools.lru_cache(maxsize=64)
def _permutation(recipe_hash: str, seed: int, stream: int, block: int, n: int) -> NDArray[np.int64]:
    return _generator(recipe_hash, seed, stream, block).permutation(n)


def _generator(recipe_hash: str, seed: int, stream: int, count: int) -> np.random.Generator:
    counter = np.array([0, 0, count, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=_key(recipe_hash, seed), counter=counter))


@functools.lru_cache(maxsize=64)
def _key(recipe_hash: str, seed: int) -> NDArray[np.uint64]:
    return np.frombuffer(hashlib.sha256(f"{recipe_hash}/{seed}".encode()).digest()[:16], dtype="<u8")
