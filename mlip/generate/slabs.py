"""Slabs: free surfaces of prototype crystals, with and without an adsorbate.

A crystal of the prototype source is cut along a random low Miller plane of its cell: the smallest surface cell (the two
shortest independent lattice vectors in the plane), the bottom at a random atomic layer, as many whole layers as a drawn
thickness and the limit of atoms allow, whatever termination that gives. Small surface cells are repeated at random. All
atoms are rattled. Above and below is a drawn vacuum; the third lattice vector is the normal.

A drawn share carries an adsorbate: a small molecule of the G2 set (see `molecules`) or a single atom, of elements in
turns, at random orientation above a random site: one surface atom, the middle between it and its nearest neighbour, or
between it and its two nearest (top, bridge and hollow sites; Boes et al., J. Phys. Chem. A 123, 2281 (2019), enumerate
them). It is lowered until the first pair reaches a drawn ratio of the summed covalent radii.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..contacts import pushed_apart
from ..frames import Configuration, Origin
from ..sanity import RADII
from . import checks
from .checks import Elements, check_positive, check_range, check_ratio, element_numbers
from .draw import Draw, GenerationError
from .molecules import by_element, leading, molecule, molecule_names, random_rotations, shared_out
from .prototypes import PrototypesSettings, decorated

PLANES = 8
"""Planes tried for one crystal."""
REACH = 4
"""Largest coefficient of lattice vectors among which surface vectors are sought."""
LAYER = 0.3
"""Å: atoms whose heights differ by less belong to one layer."""
SURFACE = 1.2
"""Å below the highest atom down to which atoms are surface atoms."""
MOST_REPEATS = 32
"""Repeats of the surface cell along one vector that may be asked for."""
LATERAL = 3
"""Images of the slab on either side that an adsorbate may touch."""

UP = np.array([0.0, 0.0, 1.0])

Crystal = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""(n,) atomic numbers, (n, 3) Å, and (3, 3) Å rows of the cell."""


@dataclass(frozen=True)
class SlabsSettings:
    """Keys of a `source: slabs` recipe; pairs are [lowest, highest]."""

    prototype: PrototypesSettings = field(default_factory=PrototypesSettings)
    """The crystals that are cut: keys of a `source: prototypes` recipe, but for perturb."""
    maximum_index: int = 2
    """Largest Miller index with respect to the prototype's cell; all planes are equally likely where they fit."""
    thickness: tuple[float, float] = (1.0, 8.0)
    """Å between lowest and highest atom, uniform, cut to what the limit of atoms holds."""
    vacuum: tuple[float, float] = (4.0, 8.0)
    """Å between the highest atom and the next image of the lowest, uniform."""
    maximum_repeats: int = 3
    """The surface cell is repeated up to so many times along each vector: uniform among what the limits allow."""
    rattle: tuple[float, float] = (0.0, 0.15)
    """Å, standard deviation of the displacement of all atoms along each axis, uniform."""
    adsorbate_share: float = 0.4
    """Share of slabs that carry an adsorbate, evenly spaced."""
    maximum_adsorbate_atoms: int = 4
    """Atoms of the largest adsorbate."""
    adsorbate_ratio: tuple[float, float] = (0.8, 1.6)
    """Closest approach of adsorbate and slab over summed covalent radii, uniform."""
    minimum_distance_ratio: float = 0.6
    """Closest approach over summed covalent radii; 0.50 is the floor of DFT."""
    maximum_atoms: int = 16
    """Atoms per cell, with the adsorbate."""
    maximum_volume: float = 500.0
    """Å^3 per cell, vacuum included: where it would be more the lowest vacuum is taken, then another plane."""
    maximum_attempts: int = 60
    """Crystals tried per configuration."""

    def __post_init__(self) -> None:
        if self.prototype.perturb != PrototypesSettings().perturb:
            raise ValueError(
                "prototype: perturb has no effect on slabs, which are cut from ideal crystals; give rattle"
            )
        check_ratio(self.minimum_distance_ratio)
        check_range("thickness", self.thickness, 0.0, checks.LONGEST)
        check_range("vacuum", self.vacuum, 2.0, checks.LONGEST)
        check_range("rattle", self.rattle, 0.0, checks.LARGEST_RATTLE)
        check_range("adsorbate_ratio", self.adsorbate_ratio, self.minimum_distance_ratio, checks.LARGEST_RATIO)
        check_positive(self, "maximum_index", highest=REACH)
        check_positive(self, "maximum_repeats", highest=MOST_REPEATS)
        check_positive(self, "maximum_atoms", "maximum_adsorbate_atoms", highest=checks.MOST)
        check_positive(self, "maximum_volume")
        check_positive(self, "maximum_attempts", highest=checks.MOST_ATTEMPTS)
        if not 0 <= self.adsorbate_share <= 1:
            raise ValueError(f"adsorbate_share {self.adsorbate_share:g}: expected 0 to 1")
        if not self.maximum_atoms > self.maximum_adsorbate_atoms:
            raise ValueError(
                f"maximum_atoms {self.maximum_atoms}: expected more than the {self.maximum_adsorbate_atoms} of the "
                "largest adsorbate"
            )

    @property
    def elements(self) -> Elements:
        """Symbols that may occur, those of the crystals; all means H-Ar."""
        return self.prototype.elements

    @functools.cached_property
    def adsorbates(self) -> list[list[str]]:
        """Molecules and atoms of each element."""
        numbers = element_numbers(self.elements)
        atoms = [str(chemical_symbols[z]) for z in numbers]
        return by_element(atoms + molecule_names(numbers, self.maximum_adsorbate_atoms))


class _Slab(NamedTuple):
    numbers: NDArray[np.int64]
    """(n,)"""
    positions: NDArray[np.float64]
    """(n, 3) Å, z along the normal, the lowest at 0."""
    lateral: NDArray[np.float64]
    """(2, 3) Å, lattice vectors of the surface in the xy plane."""


def slabs(settings: SlabsSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One slab and its figures.

    `prototype` (its name), `miller` such as (1-10), `supercell` such as 2x1, `rattle` (Å), and where there is one
    `adsorbate` (name in G2, or symbol and -atom), its `adsorbate_ratio` before it is rattled as well, and its `height`
    (Å, from the highest atom of the slab to its lowest).

    Raises GenerationError if none was found in `maximum_attempts`.
    """
    rng = draw.generator()
    carries, own = shared_out(draw, settings.adsorbate_share)
    adsorbate = leading(settings.adsorbates, own, purpose=1) if carries else ""
    most = settings.maximum_atoms - (len(molecule(adsorbate).numbers) if adsorbate else 0)
    for _ in range(settings.maximum_attempts):
        name, numbers, positions, cell = decorated(settings.prototype, draw, rng)
        for _ in range(PLANES):
            miller = _planes(settings.maximum_index)[rng.integers(len(_planes(settings.maximum_index)))]
            slab = _cut(numbers, positions, cell, miller, rng.uniform(*settings.thickness), most, rng)
            if slab is None:
                continue
            made = _finished(settings, slab, adsorbate, most, rng)
            if made is not None:
                configuration, figures = made
                figures = {"prototype": name, "miller": "(" + "".join(map(str, miller)) + ")", **figures}
                return Configuration(*configuration, origin=Origin("slabs", draw.name)), figures
    raise GenerationError(
        f"index {draw.index}: no slab of {most} atoms and {settings.maximum_volume:g} Å^3 or less found in "
        f"{settings.maximum_attempts} crystals; raise the limits, or lower vacuum or the size of the prototypes"
    )


@functools.cache
def _planes(largest: int) -> list[tuple[int, ...]]:
    """Miller indices without common divisor, one of each plane and its opposite."""
    indices = itertools.product(range(-largest, largest + 1), repeat=3)
    return [each for each in indices if each > (0, 0, 0) and math.gcd(*each) == 1]


@functools.cache
def _lattice_points() -> NDArray[np.int64]:
    """(m, 3) coefficients up to REACH, small ones first."""
    points = itertools.product(range(-REACH, REACH + 1), repeat=3)
    return np.array(sorted((p for p in points if any(p)), key=lambda p: sum(map(abs, p))))


def _surface_vectors(cell: NDArray[np.float64], miller: tuple[int, ...]) -> NDArray[np.int64] | None:
    """(3, 3) coefficients of the shortest lattice vectors: two in the plane, and one to the next plane.

    None if they do not span the whole lattice.
    """
    points = _lattice_points()
    to_plane = (points * np.array(miller)).sum(axis=1)
    squares = sum((sum(points[:, i] * cell[i, a] for i in range(3))) ** 2 for a in range(3))
    order = np.argsort(np.round(squares, 6), kind="stable")  # as in _cut
    points, to_plane = points[order], to_plane[order]
    inside = points[to_plane == 0]
    independent = np.cross(inside[0], inside).any(axis=1)
    vectors = np.array([inside[0], inside[independent][0], points[to_plane == 1][0]])
    determinant = round(float(np.linalg.det(vectors)))
    if determinant == -1:
        vectors[[0, 1]] = vectors[[1, 0]]
    return vectors if abs(determinant) == 1 else None


def _cut(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    miller: tuple[int, ...],
    thickness: float,
    most: int,
    rng: np.random.Generator,
) -> _Slab | None:
    """Slab of a crystal: whole layers of at most `most` atoms in all, or None if there is none."""
    cell = cell if np.linalg.det(cell) > 0 else -cell  # the same lattice
    coefficients = _surface_vectors(cell, miller)
    if coefficients is None:
        return None
    vectors = coefficients.astype(float) @ cell
    normal = np.cross(vectors[0], vectors[1])
    axes = np.array([vectors[0], np.cross(normal, vectors[0]), normal])
    axes /= np.sqrt((axes**2).sum(axis=1, keepdims=True))
    vectors, positions = vectors @ axes.T, positions @ axes.T
    spacing = vectors[2, 2]
    positions = positions - np.floor(positions[:, 2:] / spacing + 1e-9) * vectors[2]
    bottom = positions[rng.integers(len(numbers)), 2] - LAYER / 2
    stacked = np.arange(-1, math.ceil((thickness + LAYER) / spacing) + 2)[:, None, None] * vectors[2] + positions
    positions, numbers = stacked.reshape(-1, 3), np.tile(numbers, len(stacked))
    inside = (positions[:, 2] >= bottom) & (positions[:, 2] <= bottom + thickness + LAYER)
    order = np.argsort(np.round(positions[inside, 2], 6), kind="stable")  # ties are none of the last bit's business
    positions, numbers = positions[inside][order], numbers[inside][order]
    ends = np.append(np.flatnonzero(np.diff(positions[:, 2]) > LAYER) + 1, len(numbers))
    if ends[0] > most:
        return None
    n = int(ends[ends <= most][-1])
    positions = positions[:n]
    positions = positions - np.floor(positions[:, :2] @ np.linalg.inv(vectors[:2, :2]) + 1e-9) @ vectors[:2]
    return _Slab(numbers[:n], positions - positions[0, 2] * UP, vectors[:2])


def _finished(
    settings: SlabsSettings, slab: _Slab, adsorbate: str, most: int, rng: np.random.Generator
) -> tuple[Crystal, dict[str, Any]] | None:
    """A slab repeated, rattled, covered and boxed, and its figures; None if that fails."""
    area = abs(float(np.cross(slab.lateral[0], slab.lateral[1])[2]))
    largest = settings.maximum_volume / (area * (slab.positions[-1, 2] + settings.vacuum[0]))
    counts = range(1, settings.maximum_repeats + 1)
    fits = [(p, q) for p in counts for q in counts if p * q <= min(largest, most / len(slab.numbers))]
    if not fits:
        return None
    p, q = fits[rng.integers(len(fits))]
    slab, rattle = _repeated(slab, p, q), rng.uniform(*settings.rattle)
    slab = slab._replace(positions=slab.positions + rng.normal(0.0, rattle, slab.positions.shape))
    figures: dict[str, Any] = {"supercell": f"{p}x{q}", "rattle": round(rattle, 6)}
    if adsorbate:
        ratio = rng.uniform(*settings.adsorbate_ratio)
        covering = _adsorbed(slab, adsorbate, ratio, rng)
        if covering is None:
            return None
        figures["adsorbate"] = adsorbate if len(covering) > 1 else f"{adsorbate}-atom"
        figures["adsorbate_ratio"] = round(ratio, 6)
        figures["height"] = round(float(covering[:, 2].min() - slab.positions[:, 2].max()), 6)
        numbers = np.append(slab.numbers, molecule(adsorbate).numbers)
        covering += rng.normal(0.0, rattle, covering.shape)
        slab = slab._replace(numbers=numbers, positions=np.concatenate([slab.positions, covering]))
    boxed = _boxed(settings, slab, area * p * q, rng)
    return None if boxed is None else (boxed, figures)


def _boxed(settings: SlabsSettings, slab: _Slab, area: float, rng: np.random.Generator) -> Crystal | None:
    """The slab in the middle of its cell, overlapping atoms pushed apart; None if that fails or takes too much room."""
    low, high = slab.positions[:, 2].min(), slab.positions[:, 2].max()
    vacuum = rng.uniform(*settings.vacuum)
    if area * (high - low + vacuum) > settings.maximum_volume:
        vacuum = settings.vacuum[0]
    height = high - low + vacuum
    if area * height > settings.maximum_volume:
        return None
    cell = np.array([*slab.lateral, height * UP])
    centred = slab.positions + (vacuum / 2 - low) * UP
    moved = pushed_apart(slab.numbers, centred, cell, settings.minimum_distance_ratio)
    return None if moved is None else (slab.numbers, moved, cell)


def _repeated(slab: _Slab, p: int, q: int) -> _Slab:
    """The slab p x q times."""
    shifts = np.array([i * slab.lateral[0] + j * slab.lateral[1] for i in range(p) for j in range(q)])
    positions = (shifts[:, None] + slab.positions).reshape(-1, 3)
    return _Slab(np.tile(slab.numbers, p * q), positions, slab.lateral * [[p], [q]])


def _adsorbed(slab: _Slab, name: str, ratio: float, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """(m, 3) Å of an adsorbate in random orientation above a random site, its first contact at `ratio`."""
    steps = np.arange(-LATERAL, LATERAL + 1)
    shifts = (steps[:, None, None] * slab.lateral[0] + steps[:, None] * slab.lateral[1]).reshape(-1, 1, 3)
    images = (shifts + slab.positions).reshape(-1, 3)
    surface = images[images[:, 2] > slab.positions[:, 2].max() - SURFACE]
    top = np.flatnonzero(slab.positions[:, 2] > slab.positions[:, 2].max() - SURFACE)
    chosen = slab.positions[top[rng.integers(len(top))]]
    order = np.argsort(np.round(((surface - chosen) ** 2).sum(axis=1), 6), kind="stable")
    site = surface[order[: rng.integers(1, 4)]].mean(axis=0)
    shape = molecule(name)
    turned = (random_rotations(rng, 1)[0] * shape.positions[:, None, :]).sum(axis=2) + site
    aside = ((turned[:, None, :2] - images[:, :2]) ** 2).sum(axis=2)
    radii = RADII[np.tile(slab.numbers, len(shifts))]
    rise = (ratio * (RADII[shape.numbers][:, None] + radii)) ** 2 - aside
    lifts = np.where(rise > 0, images[:, 2] + np.sqrt(np.maximum(rise, 0.0)) - turned[:, 2:], -np.inf)
    if not np.isfinite(lifts.max()):
        return None
    return np.asarray(turned + lifts.max() * UP)
