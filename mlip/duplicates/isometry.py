"""Isometry: whether two configurations are one structure, moved, turned, mirrored, renumbered or in another cell.

Periodic ones: both are brought to their primitive cell and a short basis of its lattice. Every basis of the second
lattice with the lengths and angles of the first one's (48 at most) stands for a rotation, and every atom of the rarest
element for a translation; one of them must bring all atoms together. This compares positions, not distances, so
homometric structures are told apart. Isolated ones: three atoms that span the first are matched with every triple of
the second that has the same distances, and the rotation is fitted (Kabsch, Acta Cryst. A 32, 922 (1976)).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contacts import compiled
from ..frames import Configuration

TOLERANCE = 1e-5
"""Å by which atoms and lattice vectors may be apart: far above rounding, far below what changes an energy."""
_LOOSE = 0.02
"""Å within which atoms of isolated configurations are paired before the rotation is fitted."""


class Primitive(NamedTuple):
    """A structure in a short primitive cell."""

    numbers: NDArray[np.int64]
    """(n,) atomic numbers."""
    fractional: NDArray[np.float64]
    """(n, 3)"""
    cell: NDArray[np.float64]
    """(3, 3) Å rows."""


def isometry(first: Configuration, second: Configuration, tolerance: float = TOLERANCE) -> float | None:
    """Å: the largest distance between atoms brought together, or None if the two are different structures.

    Of periodic ones, cells of different size are compared too, and one pair of atoms lies exactly together.
    """
    if first.periodic != second.periodic:
        return None
    if not first.periodic:
        return _isolated(first, second, tolerance)
    one, other = primitive(first, tolerance), primitive(second, tolerance)
    if not np.array_equal(np.sort(one.numbers), np.sort(other.numbers)):
        return None
    distance = float(_matched(*one, *other, _anchor(one.numbers), tolerance))
    return distance if distance >= 0 else None


def primitive(configuration: Configuration, tolerance: float = TOLERANCE) -> Primitive:
    """The smallest cell that repeats to a periodic configuration, atoms within `tolerance` (Å) of their copies."""
    numbers, cell = np.array(configuration.numbers), short(np.array(configuration.cell))
    fractional = configuration.positions @ np.linalg.inv(cell)
    shifts = _translations(numbers, fractional, cell, _anchor(numbers), tolerance)
    m = len(shifts)
    rows = [[int(x) for x in row] for row in np.rint(shifts * m)] + (m * np.eye(3, dtype=int)).tolist()
    basis = np.array(_integer_basis(rows)) / m
    if m == 1 or abs(abs(np.linalg.det(basis)) * m - 1) > 1e-6:  # the copies are no group: too far apart
        return Primitive(numbers, fractional, cell)
    small = short(basis @ cell)
    fractional = configuration.positions @ np.linalg.inv(small)
    kept = _different(numbers, fractional, small, 2 * tolerance)
    return Primitive(numbers[kept], fractional[kept], small)


def _anchor(numbers: NDArray[np.int64]) -> int:
    """Index of the first atom of the rarest element, of several the lightest."""
    counts = np.bincount(numbers)
    rarest = int(np.argmin(np.where(counts > 0, counts, len(numbers) + 1)))
    return int(np.argmax(numbers == rarest))


def _integer_basis(rows: list[list[int]]) -> list[list[int]]:
    """Three rows in triangular form that span the same lattice of whole numbers as `rows`, which have rank 3."""
    basis = []
    for column in range(3):
        while True:
            filled = sorted((row for row in rows if row[column]), key=lambda row: abs(row[column]))
            if len(filled) == 1:
                break
            for row in filled[1:]:
                times = row[column] // filled[0][column]
                row[:] = [x - times * y for x, y in zip(row, filled[0], strict=True)]
        basis.append(filled[0])
        rows = [row for row in rows if row is not filled[0]]
    return basis


@compiled
def short(cell):
    """A basis of the same lattice, with vectors that no neighbouring combination makes shorter."""
    basis = cell.copy()
    changed = True
    while changed:
        changed = False
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            for other in (j, k):
                times = np.rint((basis[i] * basis[other]).sum() / (basis[other] ** 2).sum())
                trial = basis[i] - times * basis[other]
                if (trial**2).sum() < (1 - 1e-8) * (basis[i] ** 2).sum():
                    basis[i], changed = trial, True
            for s in range(-1, 2):
                for t in range(-1, 2):
                    trial = basis[i] + s * basis[j] + t * basis[k]
                    if (trial**2).sum() < (1 - 1e-8) * (basis[i] ** 2).sum():
                        basis[i], changed = trial, True
    return basis


@compiled
def _distance(one, other, cell):
    """Å between two places (fractional) that are close or not at all together."""
    square = 0.0
    for a in range(3):
        component = 0.0
        for b in range(3):
            f = one[b] - other[b]
            component += (f - np.rint(f)) * cell[b, a]
        square += component**2
    return np.sqrt(square)


@compiled
def _mapped(numbers, fractional, shift, others, places, cell, tolerance):
    """Largest distance (Å) of atoms moved by `shift` to their partners among `others`; -1 if one has none."""
    n, worst = len(numbers), 0.0
    taken = np.zeros(n, np.bool_)
    for i in range(n):
        moved = fractional[i] + shift
        found = -1
        for j in range(n):
            if taken[j] or others[j] != numbers[i]:
                continue
            distance = _distance(moved, places[j], cell)
            if distance <= tolerance:
                found, worst = j, max(worst, distance)
                break
        if found < 0:
            return -1.0
        taken[found] = True
    return worst


@compiled
def _translations(numbers, fractional, cell, anchor, tolerance):
    """(m, 3) fractional translations that bring the structure to itself, none and m >= 1 included."""
    found, m = np.empty((len(numbers), 3)), 0
    for j in range(len(numbers)):
        if numbers[j] == numbers[anchor]:
            shift = fractional[j] - fractional[anchor]
            if _mapped(numbers, fractional, shift, numbers, fractional, cell, tolerance) >= 0:
                found[m] = shift
                m += 1
    return found[:m]


@compiled
def _different(numbers, fractional, cell, tolerance):
    """(n,) whether an atom is the first one at its place in a cell."""
    kept = np.ones(len(numbers), np.bool_)
    for i in range(len(numbers)):
        for j in range(i):
            if kept[j] and numbers[i] == numbers[j] and _distance(fractional[i], fractional[j], cell) <= tolerance:
                kept[i] = False
                break
    return kept


@compiled
def _vectors_of_length(cell, length, tolerance):
    """(k, 3) whole numbers: lattice vectors as long as `length` (Å)."""
    inverse = np.linalg.inv(cell)
    most = np.empty(3, np.int64)
    for a in range(3):
        most[a] = np.floor((length + tolerance) * np.sqrt((inverse[:, a] ** 2).sum()) + 1e-9)
    found, k = np.empty(((2 * most[0] + 1) * (2 * most[1] + 1) * (2 * most[2] + 1), 3)), 0
    for u in range(-most[0], most[0] + 1):
        for v in range(-most[1], most[1] + 1):
            for w in range(-most[2], most[2] + 1):
                square = 0.0
                for a in range(3):
                    square += (u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                if abs(np.sqrt(square) - length) <= tolerance:
                    found[k, 0], found[k, 1], found[k, 2] = u, v, w
                    k += 1
    return found[:k]


@compiled
def _same_product(first, second, wanted, tolerance):
    """Whether two vectors enclose the angle that gives the `wanted` product, to a shift by `tolerance` (Å)."""
    lengths = np.sqrt((first**2).sum()) + np.sqrt((second**2).sum())
    return abs((first * second).sum() - wanted) <= tolerance * lengths


@compiled
def _matched(numbers, fractional, cell, others, places, lattice, anchor, tolerance):
    """Largest distance (Å) of two structures in primitive cells when brought together; -1 if they are different."""
    lengths, gram = np.sqrt((cell**2).sum(axis=1)), np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            gram[a, b] = (cell[a] * cell[b]).sum()
    turned, change = np.empty((3, 3)), np.empty((3, 3))
    candidates = [_vectors_of_length(lattice, lengths[a], tolerance) for a in range(3)]
    combined = np.empty_like(places)
    for u in candidates[0]:
        turned[0], change[0] = _combination(u, lattice), u
        for v in candidates[1]:
            turned[1], change[1] = _combination(v, lattice), v
            if not _same_product(turned[0], turned[1], gram[0, 1], tolerance):
                continue
            for w in candidates[2]:
                turned[2], change[2] = _combination(w, lattice), w
                if not _same_product(turned[0], turned[2], gram[0, 2], tolerance):
                    continue
                if not _same_product(turned[1], turned[2], gram[1, 2], tolerance):
                    continue
                if abs(abs(np.linalg.det(change)) - 1) > 1e-6:
                    continue
                back = np.linalg.inv(change)
                for i in range(len(places)):
                    combined[i] = _combination(places[i], back)
                for j in range(len(places)):
                    if others[j] == numbers[anchor]:
                        shift = combined[j] - fractional[anchor]
                        worst = _mapped(numbers, fractional, shift, others, combined, cell, tolerance)
                        if worst >= 0:
                            return worst
    return -1.0


@compiled
def _combination(factors, rows):
    return factors[0] * rows[0] + factors[1] * rows[1] + factors[2] * rows[2]


def _isolated(first: Configuration, second: Configuration, tolerance: float) -> float | None:
    if not np.array_equal(np.sort(first.numbers), np.sort(second.numbers)):
        return None
    one, other = (c.positions - c.positions.mean(axis=0) for c in (first, second))
    span = _spanning(one)
    factors = one @ np.linalg.pinv(one[span]) if span else np.zeros((len(one), 0))
    for images in _images(first.numbers, one, span, second.numbers, other):
        guess = factors @ other[images]
        apart = np.linalg.norm(guess[:, None] - other[None], axis=-1)
        apart[first.numbers[:, None] != second.numbers[None, :]] = np.inf
        partners = apart.argmin(axis=1)
        if apart.min(axis=1).max() > 3 * _LOOSE or len(set(partners.tolist())) < len(one):
            continue
        left, _, right = np.linalg.svd(one.T @ other[partners])
        worst = float(np.linalg.norm(one @ (left @ right) - other[partners], axis=1).max())
        if worst <= tolerance:
            return worst
    return None


def _spanning(vectors: NDArray[np.float64]) -> list[int]:
    """Indices of at most three vectors, each the one that reaches farthest out of the span of those before."""
    chosen: list[int] = []
    rest = vectors.copy()
    while len(chosen) < 3:
        lengths = np.linalg.norm(rest, axis=1)
        k = int(lengths.argmax())
        if lengths[k] < _LOOSE:
            break
        chosen.append(k)
        direction = rest[k] / lengths[k]
        rest = rest - np.outer(rest @ direction, direction)
    return chosen


def _images(
    numbers: NDArray[np.int64],
    vectors: NDArray[np.float64],
    span: list[int],
    others: NDArray[np.int64],
    places: NDArray[np.float64],
) -> Iterator[list[int]]:
    """Indices into `places` of as many atoms as `span` has, with its elements, lengths and angles."""
    wanted, found = vectors @ vectors.T, places @ places.T
    length = 2 * _LOOSE * (1 + np.linalg.norm(vectors, axis=1).max())
    fitting = [
        [j for j in range(len(others)) if others[j] == numbers[i] and abs(found[j, j] - wanted[i, i]) < length]
        for i in span
    ]
    for images in itertools.product(*fitting):
        pairs = itertools.combinations(range(len(span)), 2)
        if all(abs(found[images[a], images[b]] - wanted[span[a], span[b]]) < length for a, b in pairs):
            yield list(images)
