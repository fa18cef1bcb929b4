"""Contacts: the closest pair of a configuration, and pushing atoms apart until none is closer than it may be.

The hot loops of generation, compiled by numba. Sums and products are done in the order in which they are written (no
`fastmath`), so that results are the same to the bit on every machine. `sanity` has the distance rule in numpy; a test
compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .sanity import RADII

ROUNDS = 100
"""Rounds of pushing before atoms are taken for not packable."""
MARGIN = 1e-6
"""Å by which contacts are kept, more than the rounding of a configuration."""
_SKIN = 0.6
"""Å beyond contact up to which a pair is listed."""
_ROOM = 0.02
"""Share of the contact by which a pair is pushed further than it must be, so that pushing comes to an end."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called; kept on disk where there is a place to write."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return numba.njit(error_model="numpy")(function)


def cartesian(fractional: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) Å of (n, 3) fractional coordinates; written out, for a library's matrix product depends on the machine."""
    return fractional[:, :1] * cell[0] + fractional[:, 1:2] * cell[1] + fractional[:, 2:] * cell[2]


def closest_ratio(
    numbers: NDArray[np.int64], positions: NDArray[np.float64], cell: NDArray[np.float64], reach: float = 1.5
) -> float:
    """Smallest distance over summed covalent radii in a periodic cell, images included; infinite beyond `reach`.

    :param numbers: (n,) atomic numbers of H-Ar.
    :param positions: (n, 3) Å, inside or outside the cell.
    :param cell: (3, 3) Å rows.
    """
    return float(_closest(RADII[numbers], np.ascontiguousarray(positions), cell, np.linalg.inv(cell), reach))


def pushed_apart(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    ratio: float,
    rounds: int = ROUNDS,
) -> NDArray[np.float64] | None:
    """(n, 3) Å: positions moved until no pair is closer than `ratio` of its summed covalent radii, or None.

    Atoms that are close enough stay where they are. Arguments as in `closest_ratio`.
    """
    moved = np.array(positions, dtype=np.float64)
    return moved if _push(RADII[numbers], moved, cell, np.linalg.inv(cell), ratio, rounds) else None


@compiled
def face_distances(inverse):
    """(3,) Å between the faces of a cell with this inverse."""
    heights = np.empty(3)
    for a in range(3):
        heights[a] = 1.0 / math.sqrt(inverse[0, a] ** 2 + inverse[1, a] ** 2 + inverse[2, a] ** 2)
    return heights


@compiled
def fractional(vector, inverse, out):
    """Write the fractional coordinates (3,) of a vector (3,) Å to `out`."""
    for a in range(3):
        out[a] = vector[0] * inverse[0, a] + vector[1] * inverse[1, a] + vector[2] * inverse[2, a]


@compiled
def image_range(vector, inverse, heights, reach, f, low, high):
    """Write to low and high (3,) which lattice vectors may bring a vector (3,) Å within reach; f (3,) is scratch."""
    fractional(vector, inverse, f)
    for a in range(3):
        low[a] = math.ceil(-f[a] - reach / heights[a])
        high[a] = math.floor(-f[a] + reach / heights[a])


@compiled
def _closest(radii, positions, cell, inverse, reach):
    n = len(radii)
    heights, f, d = face_distances(inverse), np.empty(3), np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    best = reach
    for i in range(n):
        for j in range(i, n):
            contact = radii[i] + radii[j]
            for a in range(3):
                d[a] = positions[i, a] - positions[j, a]
            limit = best * contact  # it only shrinks: what is skipped is farther than the best found
            image_range(d, inverse, heights, limit, f, low, high)
            for u in range(low[0], high[0] + 1):
                for v in range(low[1], high[1] + 1):
                    for w in range(low[2], high[2] + 1):
                        if i == j and u == 0 and v == 0 and w == 0:
                            continue
                        square = 0.0
                        for a in range(3):
                            square += (d[a] + u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                        best = min(best, math.sqrt(square) / contact)
    return best if best < reach else np.inf


@compiled
def _listed(radii, positions, cell, inverse, ratio, first, second, images):
    """Fill the list of pairs within contact + skin; their number, -1 if there are too many."""
    n, count = len(radii), 0
    heights, f, d = face_distances(inverse), np.empty(3), np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(n):
        for j in range(i + 1, n):
            limit = ratio * (radii[i] + radii[j]) + _SKIN
            for a in range(3):
                d[a] = positions[i, a] - positions[j, a]
            image_range(d, inverse, heights, limit, f, low, high)
            for u in range(low[0], high[0] + 1):
                for v in range(low[1], high[1] + 1):
                    for w in range(low[2], high[2] + 1):
                        square = 0.0
                        for a in range(3):
                            square += (d[a] + u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                        if square >= limit * limit:
                            continue
                        if count == len(first):
                            return -1
                        first[count], second[count] = i, j
                        for a in range(3):
                            images[count, a] = u * cell[0, a] + v * cell[1, a] + w * cell[2, a]
                        count += 1
    return count


@compiled
def _own_images_fit(radii, cell, inverse, ratio):
    """Whether no lattice vector is shorter than the contact of the largest atom with itself."""
    heights = face_distances(inverse)
    limit = 2 * ratio * radii.max() + MARGIN
    most = np.empty(3, np.int64)
    for a in range(3):
        most[a] = math.floor(limit / heights[a])
    for u in range(-most[0], most[0] + 1):
        for v in range(-most[1], most[1] + 1):
            for w in range(-most[2], most[2] + 1):
                square = 0.0
                for a in range(3):
                    square += (u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                if 0.0 < square < limit * limit:
                    return False
    return True


@compiled
def _push(radii, positions, cell, inverse, ratio, rounds):
    """Move `positions` in place; whether no pair is too close in the end."""
    if not _own_images_fit(radii, cell, inverse, ratio):
        return False
    n = len(radii)
    room = 64 * n
    first, second, images = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, 3))
    start, w = np.empty((n, 3)), np.empty(3)
    count, fresh = 0, False
    for _ in range(rounds + 1):
        if not fresh:
            count = _listed(radii, positions, cell, inverse, ratio, first, second, images)
            if count < 0:
                return False
            start[:] = positions
            fresh = True
        moved = False
        for k in range(count):
            i, j = first[k], second[k]
            contact = ratio * (radii[i] + radii[j])
            square = 0.0
            for a in range(3):
                w[a] = positions[i, a] - positions[j, a] + images[k, a]
                square += w[a] ** 2
            if square < (contact + MARGIN) ** 2:
                moved = True
                distance = max(math.sqrt(square), 1e-3)
                share = 0.5 * (contact * (1 + _ROOM) + MARGIN - distance) / distance
                for a in range(3):
                    positions[i, a] += share * w[a]
                    positions[j, a] -= share * w[a]
        if not moved:
            return True
        for i in range(n):
            square = 0.0
            for a in range(3):
                square += (positions[i, a] - start[i, a]) ** 2
            if square > (_SKIN / 2) ** 2:
                fresh = False
    return False
