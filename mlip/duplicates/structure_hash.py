"""Structure hash: the same for a structure however its cell is chosen, and wherever it stands.

The hash holds the reduced formula and three numbers that are invariant under translation, rotation and reflection, the
order of atoms, the choice of lattice vectors (any unimodular change), and the choice of cell (primitive, conventional,
any supercell): volume per atom and two sums over neighbours within REACH times its cube root, one over pairs and one
over the squared surroundings of each atom. Isolated configurations have the full formula and no volume.

The numbers are rounded to hash them, so two copies of one structure that differ by rounding can get two hashes where a
number lies at the edge of a bin (about one copy in 10 000). `hash_keys` gives all hashes that a copy may have; whoever
looks a structure up under all of them finds it with certainty where atoms and lattice vectors differ by 1e-7 Å or less.
Different structures can share a hash, so `isometry` must confirm.
"""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from ..contacts import compiled, face_distances, image_range
from ..frames import Configuration
from .isometry import short

REACH = 2.5
"""Distance up to which neighbours count, over the cube root of the volume per atom: about 65 neighbours."""
REACH_ISOLATED = 20.0
"""Å, the same for isolated configurations."""
BIN = 2e-3
"""Width of a bin, in the natural logarithm of the invariants."""
SLACK = 5e-6
"""By so much the logarithms of copies may differ."""
_WEIGHTS = np.sqrt(np.arange(200.0))


def structure_hash(configuration: Configuration) -> str:
    """'s' and 15 hex digits; see the module for what it is invariant under."""
    return f"s{hash_keys(configuration)[0]:015x}"


def hash_keys(configuration: Configuration) -> list[int]:
    """60-bit numbers, at most 8: the structure's own hash first, then those that a copy of it may have."""
    found = invariants(configuration)
    elements = np.bincount(configuration.numbers)
    if configuration.periodic:
        elements = elements // np.gcd.reduce(elements)
    start = bytes([configuration.periodic]) + elements.astype("<u4").tobytes()
    places = [[math.floor(x / BIN)] for x in found]
    for x, bins in zip(found, places, strict=True):
        bins += sorted({math.floor((x - SLACK) / BIN), math.floor((x + SLACK) / BIN)} - {bins[0]})
    return [_key(start, bins) for bins in itertools.product(*places)]


def invariants(configuration: Configuration) -> tuple[float, float, float]:
    """Natural logarithms of the volume per atom (Å^3) and of the two sums; 0 for the volume of isolated ones."""
    n = len(configuration)
    if configuration.periodic:
        cell = short(np.array(configuration.cell))
        volume = configuration.volume / n
        pairs, surroundings = _sums(
            _WEIGHTS[configuration.numbers],
            configuration.positions,
            cell,
            np.linalg.inv(cell),
            REACH * volume ** (1 / 3),
        )
    else:
        volume = 1.0
        nothing: NDArray[np.float64] = np.zeros((3, 3))  # the inverse of no cell: faces infinitely far apart
        pairs, surroundings = _sums(
            _WEIGHTS[configuration.numbers], configuration.positions, nothing, nothing, REACH_ISOLATED
        )
    return math.log(volume), math.log(1e-3 + pairs / n), math.log(1e-3 + surroundings / n)


def _key(start: bytes, bins: tuple[int, ...]) -> int:
    digest = hashlib.blake2b(start + np.array(bins, dtype="<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 4


@compiled
def _sums(weights, positions, cell, inverse, reach):
    """Sum over pairs of w_i w_j f(r), and over atoms of w_i (sum over neighbours of w_j f(r))^2."""
    n = len(weights)
    heights, f, d = face_distances(inverse), np.empty(3), np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    surroundings = np.zeros(n)
    for i in range(n):
        for j in range(i, n):
            for a in range(3):
                d[a] = positions[i, a] - positions[j, a]
            image_range(d, inverse, heights, reach, f, low, high)
            total = 0.0
            for u in range(low[0], high[0] + 1):
                for v in range(low[1], high[1] + 1):
                    for w in range(low[2], high[2] + 1):
                        if i == j and u == 0 and v == 0 and w == 0:
                            continue
                        square = 0.0
                        for a in range(3):
                            square += (d[a] + u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                        if square < reach * reach:
                            total += (1 - square / (reach * reach)) ** 3
            surroundings[i] += weights[j] * total
            if i != j:
                surroundings[j] += weights[i] * total
    pairs, squares = 0.0, 0.0
    for i in range(n):
        pairs += weights[i] * surroundings[i]
        squares += weights[i] * surroundings[i] ** 2
    return pairs, squares
