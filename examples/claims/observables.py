"""What molecular dynamics is judged by: g(r), h(r), and the drift of the energy without a thermostat.

g(r) is the number of pairs at a distance over that of an ideal gas of as many atoms. h(r) is the distribution of all
interatomic distances, by minimum image in a periodic cell, of integral 1: the measure of LEIGNN's paper and of the MD17
benchmarks (Fu et al., arXiv:2210.07237), which count |h - h_ref| integrated over r. Cells are cubes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
WIDTH = 0.05
"""Å, of a bin."""


def pair_distances(positions: Array, edge: float) -> Array:
    """(n (n - 1) / 2,) Å: distances of all pairs by minimum image in a cube, from (n, 3) Å."""
    first, second = np.triu_indices(len(positions), 1)
    apart: Array = positions[second] - positions[first]
    apart -= edge * np.rint(apart / edge)
    return np.asarray(np.linalg.norm(apart, axis=1))


def bins(reach: float, width: float = WIDTH) -> Array:
    """Edges of whole bins of a width, from 0 to the first one at or beyond the reach, all in Å."""
    return width * np.arange(int(np.ceil(reach / width - 1e-9)) + 1)


def radial_distribution(frames: Sequence[Array], edge: float, width: float = WIDTH) -> tuple[Array, Array]:
    """Centres of the bins in Å and g there, mean over frames of (n, 3) Å; as far as half the edge of the cube in Å."""
    borders = bins(edge / 2, width)
    borders = borders[borders < edge / 2 + 1e-9]  # beyond it shells are cut by the faces of the cube
    counts = sum(np.histogram(pair_distances(each, edge), borders)[0] for each in frames)
    pairs = len(frames) * len(frames[0]) * (len(frames[0]) - 1) / 2
    shells = 4 / 3 * np.pi * np.diff(borders**3)
    return (borders[1:] + borders[:-1]) / 2, counts / (pairs * shells / edge**3)


def distance_distribution(frames: Sequence[Array], edge: float, width: float = WIDTH) -> tuple[Array, Array]:
    """Centres of the bins in Å and h in 1/Å, mean over frames of (n, 3) Å; as far as the longest minimum image."""
    borders = bins(3**0.5 / 2 * edge, width)
    counts = sum(np.histogram(pair_distances(each, edge), borders)[0] for each in frames)
    return (borders[1:] + borders[:-1]) / 2, np.asarray(counts / np.sum(counts) / width)


def difference(first: Any, second: Any, width: float = WIDTH) -> float:
    """Integral of |first - second| over the bins: Å for g, no unit for h."""
    return float(np.abs(np.asarray(first) - np.asarray(second)).sum() * width)


def drift(times: Any, energies: Any) -> tuple[float, float]:
    """Slope of a straight line through the energies, and their deviation from it (root mean square).

    In units of energy over time and of energy. Raises ValueError for fewer than three points.
    """
    if len(times) < 3:
        raise ValueError(f"{len(times)} energies: expected three or more for a slope")
    line = np.polyfit(times, energies, 1)
    return float(line[0]), float(np.std(np.asarray(energies) - np.polyval(line, times)))
