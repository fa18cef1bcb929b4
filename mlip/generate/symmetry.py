"""Symmetry operations of the 230 space groups in primitive cells, random special positions and their orbits.

Settings are those that come first in pymatgen's table: unique axis b, hexagonal axes (obverse) for rhombohedral
lattices, one choice of the origin.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .structure_types import primitive_vectors

GROUPS = 230


class Symmetry(NamedTuple):
    """Operations x -> R x + t of a space group in its primitive cell, one for each rotation, in a fixed order."""

    rotations: NDArray[np.float64]
    """(m, 3, 3) whole numbers, for columns of fractional coordinates."""
    translations: NDArray[np.float64]
    """(m, 3), from 0 to 1."""
    primitive: NDArray[np.float64]
    """(3, 3) rows: primitive lattice vectors in terms of the conventional ones."""


@functools.lru_cache(maxsize=GROUPS)
def symmetry_operations(number: int) -> Symmetry:
    """Operations of a space group of 1 to 230, from pymatgen's table."""
    from pymatgen.core.operations import SymmOp
    from pymatgen.symmetry.groups import SpaceGroup

    # SpaceGroup itself makes a set of this list, which has no order and takes 30 ms; the first setting is the standard
    setting = next(each for each in SpaceGroup.SYMM_OPS if each["number"] == number)
    vectors = primitive_vectors(setting["hermann_mauguin"][0])
    to_primitive = np.linalg.inv(vectors.T)
    found: dict[tuple[int, ...], tuple[float, ...]] = {}
    for operation in map(SymmOp.from_xyz_str, setting["symops"]):
        rotation = np.round(to_primitive @ operation.rotation_matrix @ vectors.T).astype(int)
        shift = np.round(to_primitive @ operation.translation_vector, 9) % 1.0
        found[tuple(rotation.ravel().tolist())] = tuple((np.round(shift * 24) / 24 % 1.0).tolist())
    rotations = sorted(found)
    return Symmetry(
        np.array(rotations, dtype=float).reshape(-1, 3, 3), np.array([found[each] for each in rotations]), vectors
    )


@functools.lru_cache(maxsize=GROUPS)
def smallest_orbit(number: int) -> int:
    """Atoms in the primitive cell on the most special position, which has coordinates that are multiples of 1/24."""
    symmetry = symmetry_operations(number)
    points = np.indices((24, 24, 24)).reshape(3, -1)
    fixing = np.zeros(points.shape[1], dtype=int)
    for rotation, shift in zip(symmetry.rotations.astype(int), np.round(symmetry.translations * 24), strict=True):
        fixing += ((rotation @ points + shift.astype(int)[:, None] - points) % 24 == 0).all(axis=0)
    return len(symmetry.rotations) // int(fixing.max())


def random_points(
    symmetry: Symmetry, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(count, 3) fractional coordinates of random points, general and special ones, and the sizes of their orbits.

    Each point is moved onto what up to three operations leave in place; an operation that has no fixed point in common
    with those before it is left out.
    """
    points, active = rng.random((count, 3)), rng.integers(4, size=count)
    matrix, right = np.zeros((count, 9, 3)), np.zeros((count, 9))
    for k, chosen in enumerate(rng.integers(len(symmetry.rotations), size=(3, count))):
        rows, rotations, shifts = slice(3 * k, 3 * k + 3), symmetry.rotations[chosen], symmetry.translations[chosen]
        more, goal = matrix.copy(), right.copy()
        more[:, rows] = rotations - np.eye(3)
        goal[:, rows] = np.round(_applied(rotations, points) + shifts - points) - shifts
        inverses = np.asarray(np.linalg.pinv(more, rcond=1e-9), dtype=np.float64)
        moved = points - _applied(inverses, _applied(more, points) - goal)
        common = (active > k) & (np.abs(_applied(more, moved) - goal).max(axis=1) < 1e-9)
        points[common], matrix[common], right[common] = moved[common], more[common], goal[common]
    images = (points @ symmetry.rotations.transpose(0, 2, 1)).transpose(1, 0, 2) + symmetry.translations
    fixing = _same(images, points[:, None, :]).sum(axis=1)
    return points, len(symmetry.rotations) // fixing


def _applied(matrices: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, i): matrices (n, i, j) times vectors (n, j), or all times one vector (j,)."""
    return np.asarray((matrices * vectors[..., None, :]).sum(axis=-1))


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (..., 3) are the same but for lattice vectors."""
    difference = one - other
    return np.asarray((np.abs(difference - np.round(difference)) < 1e-7).all(axis=-1))


def orbit(symmetry: Symmetry, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k, 3) fractional coordinates in the primitive cell, each once."""
    images = _applied(symmetry.rotations, np.round(point, 12)) + symmetry.translations
    images -= np.floor(images + 1e-9)  # a last bit below zero is zero, on every machine
    first = _same(images[:, None, :], images[None, :, :]).argmax(axis=1)
    return np.asarray(images[first == np.arange(len(images))])
