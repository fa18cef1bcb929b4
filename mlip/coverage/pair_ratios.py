"""Pair ratios: which elements of a configuration touch, and how close they come.

Two atoms, images included, are in contact where they are nearer than CONTACT times the sum of their spheres. These have
the covalent radii of ASE's table (Cordero et al., Dalton Trans., 2832 (2008)), but no less than SMALLEST_SPHERE: H, He
and F keep more distance than their covalent radii say, which alone would count no contact that occurs in matter.
"""

from __future__ import annotations

import math

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..contacts import compiled, face_distances, image_range
from ..frames import Configuration
from ..sanity import RADII
from ..units import Z_MAX

CONTACT = 1.5
"""Share of the summed spheres within which two atoms are in contact."""
SMALLEST_SPHERE = 0.75
"""Å."""
SPHERES: NDArray[np.float64] = np.maximum(RADII, SMALLEST_SPHERE)
"""(19,) Å by atomic number."""
SYMBOLS = tuple(chemical_symbols[1 : Z_MAX + 1])
PAIRS = tuple((a, b) for b in range(1, Z_MAX + 1) for a in range(1, b + 1))
"""Atomic numbers of the 171 pairs; the pair (a, b), a <= b, has row (b - 1) b / 2 + a - 1."""


def pair_ratios(configuration: Configuration) -> NDArray[np.float64]:
    """(171,) smallest distance over summed covalent radii of every pair of elements in contact, infinite for others.

    The smallest of them is the closest ratio of the configuration, exact up to CONTACT and images included.
    """
    nearest = np.full(len(PAIRS), np.inf)
    positions, cell, numbers = configuration.positions, configuration.cell, configuration.numbers
    inverse = np.linalg.inv(cell) if configuration.periodic else np.zeros((3, 3))  # of no cell: faces infinitely far
    _nearest(numbers, RADII[numbers], SPHERES[numbers], positions, cell, inverse, CONTACT, nearest)
    return nearest


@compiled
def _nearest(numbers, radii, spheres, positions, cell, inverse, contact, nearest):
    """Fill `nearest`, by pair of elements."""
    n = len(numbers)
    heights, f, d = face_distances(inverse), np.empty(3), np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(n):
        for j in range(i, n):
            limit = contact * (spheres[i] + spheres[j])
            for a in range(3):
                d[a] = positions[i, a] - positions[j, a]
            image_range(d, inverse, heights, limit, f, low, high)
            least = limit * limit
            for u in range(low[0], high[0] + 1):
                for v in range(low[1], high[1] + 1):
                    for w in range(low[2], high[2] + 1):
                        if i == j and u == 0 and v == 0 and w == 0:
                            continue
                        square = 0.0
                        for a in range(3):
                            square += (d[a] + u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                        least = min(least, square)
            if least < limit * limit:
                first, second = min(numbers[i], numbers[j]), max(numbers[i], numbers[j])
                row = (second - 1) * second // 2 + first - 1
                nearest[row] = min(nearest[row], math.sqrt(least) / (radii[i] + radii[j]))
