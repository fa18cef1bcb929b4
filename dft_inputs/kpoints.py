"""k points from the cell and one spacing, so that every cell of a campaign is sampled equally densely.

The mesh has ceil(|b_i| / spacing) points along reciprocal vector b_i (with the factor 2 pi), is centred on Gamma and
takes even and odd numbers as they come: pw.x needs no parity, and rounding up never samples more coarsely than asked.
An axis whose |b_i| is not above the spacing gets one point, so a cell whose three lattice-plane distances all exceed
2 pi / spacing is calculated at Gamma alone, where pw.x is about twice as fast with real wave functions. The rule is
that of AiiDA's `KpointsData.set_kpoints_mesh_from_density`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

DECIMALS = 5
"""Decimals of |b_i| / spacing that count, so that a cubic cell gets a cubic mesh in spite of rounding."""


class KpointsError(ValueError):
    """A cell or a spacing from which no mesh can be made."""


def kpoint_mesh(cell: ArrayLike, spacing: float) -> tuple[int, int, int]:
    """Gamma-centred mesh of a periodic cell.

    Args:
        cell: (3, 3) Å, one lattice vector per row.
        spacing: 1/Å, largest distance between neighbouring k points, with the factor 2 pi.

    Raises:
        KpointsError: the cell has no volume, or the spacing is not positive.
    """
    vectors = np.asarray(cell, dtype=np.float64)
    if vectors.shape != (3, 3) or abs(np.linalg.det(vectors)) < 1e-6:
        raise KpointsError(f"a (3, 3) cell with a volume is needed for k points, got {vectors.tolist()}")
    if not spacing > 0:
        raise KpointsError(f"the k-point spacing must be above 0 1/Å, got {spacing}")
    lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(vectors), axis=0)
    first, second, third = (max(1, math.ceil(round(float(b) / spacing, DECIMALS))) for b in lengths)
    return first, second, third


def is_gamma_only(mesh: tuple[int, int, int]) -> bool:
    """Whether the mesh is the single point Gamma, for which pw.x has the card `K_POINTS gamma`."""
    return tuple(mesh) == (1, 1, 1)
