"""Structure types: the table of crystal prototypes (structure_types.yaml), each as a primitive cell.

Names are those of the mineral or compound that the type is called after, in lower case.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ..sanity import periodic_shifts

SITE_KINDS = "ABC"
"""Letters of the kinds of site; each kind holds one element."""
_PRIMITIVE_TIMES_SIX = {
    "P": [[6, 0, 0], [0, 6, 0], [0, 0, 6]],
    "A": [[6, 0, 0], [0, 3, -3], [0, 3, 3]],
    "C": [[3, -3, 0], [3, 3, 0], [0, 0, 6]],
    "I": [[-3, 3, 3], [3, -3, 3], [3, 3, -3]],
    "F": [[0, 3, 3], [3, 0, 3], [3, 3, 0]],
    "R": [[4, 2, 2], [-2, 2, 2], [-2, -4, 2]],
}


@dataclass(frozen=True, eq=False)
class StructureType:
    """A prototype with the length a of its conventional cell as the unit of length."""

    name: str
    group: int
    """International number of the space group where all site kinds hold different elements."""
    also: str
    """Strukturbericht designation and compound."""
    cell: NDArray[np.float64]
    """(3, 3) rows of the primitive cell."""
    fractional: NDArray[np.float64]
    """(n, 3) coordinates in the primitive cell, from 0 to 1."""
    kinds: NDArray[np.int64]
    """(n,) kind of each site: 0 for A, 1 for B, 2 for C."""

    def __len__(self) -> int:
        return len(self.kinds)

    @functools.cached_property
    def formula(self) -> tuple[int, ...]:
        """Sites of each kind in the primitive cell."""
        return tuple(np.bincount(self.kinds).tolist())

    @functools.cached_property
    def shortest(self) -> NDArray[np.float64]:
        """(k, k) shortest distance between sites of two kinds, images included."""
        shifts = periodic_shifts(self.cell, 1.5 * float(np.linalg.norm(self.cell, axis=1).max()))
        difference = self.fractional[:, None, :] - self.fractional[None, :, :]
        vectors = ((difference - np.round(difference)) @ self.cell)[:, :, None, :] + shifts
        distances = np.linalg.norm(vectors, axis=-1)
        distances[np.arange(len(self)), np.arange(len(self)), 0] = np.inf
        nearest = distances.min(axis=2)
        among = [self.kinds == kind for kind in range(len(self.formula))]
        return np.array([[nearest[np.ix_(one, other)].min() for other in among] for one in among])

    def touching(self, radii: NDArray[np.float64]) -> float:
        """Length a at which the first spheres of the given radii (k,), one for each kind of site, touch."""
        return float(((radii[:, None] + radii[None, :]) / self.shortest).max())


@functools.cache
def structure_types() -> dict[str, StructureType]:
    """All prototypes by name, in the order of the table."""
    table = yaml.safe_load((resources.files(__package__) / "structure_types.yaml").read_text())
    return {name: _structure_type(name, **entry) for name, entry in table.items()}


def primitive_vectors(centring: str) -> NDArray[np.float64]:
    """(3, 3) rows: primitive lattice vectors in terms of the conventional ones, for P, A, C, I, F or R (obverse)."""
    return np.array(_PRIMITIVE_TIMES_SIX[centring]) / 6


def conventional_cell(lengths: NDArray[np.float64], degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rows: cell of three lengths and the angles alpha, beta, gamma; a along x, b in the xy plane.

    Without volume where the angles do not close to a cell.
    """
    cos_a, cos_b, cos_c = np.cos(np.radians(degrees))
    sin_c = np.sin(np.radians(degrees[2]))
    y = (cos_a - cos_b * cos_c) / sin_c
    z = np.sqrt(max(0.0, 1 - cos_b**2 - y**2))
    unit = np.array([[1.0, 0.0, 0.0], [cos_c, sin_c, 0.0], [cos_b, y, z]])
    return np.asarray(unit * np.asarray(lengths)[:, None])


def _structure_type(
    name: str, group: int, also: str, lattice: str, sites: dict[str, Any], axes: tuple[float, float] = (1, 1)
) -> StructureType:
    system, centring = lattice[0], lattice[1]
    degrees = np.array([90.0, 90.0, 120.0 if system == "h" else 90.0])
    vectors = primitive_vectors(centring)
    points = np.array([[float(Fraction(str(x))) for x in point] for kind in sites.values() for point in kind])
    fractional = np.round(points @ np.linalg.inv(vectors), 12) % 1.0
    return StructureType(
        name,
        group,
        also,
        vectors @ conventional_cell(np.array([1.0, *axes]), degrees),
        fractional,
        np.repeat([SITE_KINDS.index(kind) for kind in sites], [len(points) for points in sites.values()]),
    )
