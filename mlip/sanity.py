"""The distance rule: how close is the closest pair, as a share of the summed covalent radii (ASE's table)?

One rule for everybody: generation keeps away from the floor, dynamics stops at it, selection and labelling reject below
it. The thresholds are in `units`.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from .frames import Configuration
from .units import Z_MAX

RADII: NDArray[np.float64] = np.array(covalent_radii[: Z_MAX + 1], dtype=np.float64)
"""(19,) covalent radius in Å by atomic number; the entry 0 is never used."""


def periodic_shifts(cell: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """(k, 3) Å: lattice vectors that can bring atoms within `reach` (Å) of each other in a cell of rows (3, 3).

    Holds for atoms whose fractional coordinates differ by at most 1/2; the zero vector comes first.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    ranges = [range(-n, n + 1) for n in np.ceil(reach / heights + 0.5 - 1e-9).astype(int)]
    images = np.array(sorted(itertools.product(*ranges), key=lambda image: sum(map(abs, image))), dtype=np.float64)
    return images @ cell


def pair_distances(configuration: Configuration, reach: float) -> NDArray[np.float64]:
    """(n, n) Å: the shortest distance of atoms i and j over periodic images; the diagonal is i to its own next image.

    Exact up to `reach` (Å); a longer entry means only 'longer than reach'. Infinite where there is no pair.
    """
    positions, n = configuration.positions, len(configuration)
    difference = positions[None, :, :] - positions[:, None, :]
    if not configuration.periodic:
        distances: NDArray[np.float64] = np.linalg.norm(difference, axis=-1)
        distances[np.diag_indices(n)] = np.inf
        return distances
    fractional = difference @ np.linalg.inv(configuration.cell)
    difference = (fractional - np.round(fractional)) @ configuration.cell
    shifts = periodic_shifts(configuration.cell, reach)
    nearest = np.linalg.norm(difference, axis=-1)
    nearest[np.diag_indices(n)] = np.inf
    for shift in shifts[1:]:
        np.minimum(nearest, np.linalg.norm(difference + shift, axis=-1), out=nearest)
    return nearest


def distance_ratio(configuration: Configuration, reach: float = 1.5) -> float:
    """Smallest pair distance over summed covalent radii, periodic images included.

    Exact up to `reach` (a ratio); beyond it, or without any pair, infinite.
    """
    radii = RADII[configuration.numbers]
    longest = reach * 2 * float(radii.max())
    ratio = float((pair_distances(configuration, longest) / (radii[:, None] + radii[None, :])).min())
    return ratio if ratio <= reach else float("inf")


def unphysical(
    configuration: Configuration, minimum_ratio: float, volume_per_atom: tuple[float, float] = (0.0, np.inf)
) -> str:
    """What is unphysical about a configuration, in words; '' if nothing is.

    Checks the distance rule and, where periodic, that the volume per atom lies in [smallest, largest] Å^3.
    """
    ratio = distance_ratio(configuration, reach=minimum_ratio)
    if ratio < minimum_ratio:
        return f"closest pair at {ratio:.3f} of the summed covalent radii, below {minimum_ratio}"
    volume = configuration.volume / len(configuration)
    if configuration.periodic and not volume_per_atom[0] <= volume <= volume_per_atom[1]:
        return f"{volume:.2f} Å^3 per atom, outside {volume_per_atom[0]} to {volume_per_atom[1]}"
    return ""
