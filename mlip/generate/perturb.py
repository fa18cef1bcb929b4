"""Perturbations: supercell, point defects, volume, strain, shear and thermal displacements of a given crystal.

Each kind happens with its own probability and a strength drawn from its own range, so a set holds nearly ideal crystals
as well as badly damaged ones. The order is: supercell, defects, volume, strain, shear, rattle. Last, no pair may be
closer than allowed: displacements are drawn again, then atoms are pushed apart, then the cell grows.

Displacements are measured in shares of the shortest distance in the crystal, not in Å: by Lindemann's rule (Phys. Z.
11, 609 (1910)) solids melt when atoms move by about a tenth of it, so the same range means the same disorder in solid
hydrogen, in diamond and in sodium.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..contacts import closest_ratio, pushed_apart
from ..frames import DECIMALS
from ..sanity import RADII
from .checks import MOST, check_positive, check_range
from .draw import GenerationError

ROUNDED = 1e-7
"""Added to the distance ratio, more than rounding to 1e-8 Å can take away."""
REDRAWS = 4
"""Displacements drawn before atoms are pushed apart."""
GROWTH = 1.05
"""Volume factor from one attempt to push atoms apart to the next."""
ATTEMPTS = 60
"""Such attempts; the cell has then grown 18-fold."""
FARTHEST = 4.0
"""Å, longest distance that displacements are measured by: a lone atom in a box has no neighbour to be melted with."""
MOST_DEFECTS = 64
"""Defects of one kind that may be asked for."""
TRIAL_POINTS = 50
"""Random points among which an interstitial finds most room."""


@dataclass(frozen=True)
class PerturbSettings:
    """What can happen to a crystal; `_probability` is the share of crystals it happens to, pairs are [lowest, highest].

    Strengths are uniform in their range, unless said otherwise.
    """

    supercell_probability: float = 0.5
    """Share that is repeated, where `maximum_atoms` admits it; the number of repeats is uniform from 2 on."""
    supercell: Literal["diagonal", "general"] = "general"
    """General: a random Hermite matrix (Hart and Forcade, Phys. Rev. B 77, 224115 (2008)), with short lattice vectors;
    diagonal: a multiple of each lattice vector."""
    maximum_atoms: int = 16
    """Atoms in a supercell; a crystal that has more is not repeated."""
    maximum_volume: float = 400.0
    """Å^3 of a supercell, before its volume changes."""
    volume_probability: float = 0.9
    """Share whose volume changes."""
    volume: tuple[float, float] = (0.75, 1.25)
    """Factor of the volume: +-25 %, about -9 % to +8 % in lengths."""
    strain_probability: float = 0.6
    """Share that is strained: a random symmetric, traceless matrix, equally likely in every direction."""
    strain: tuple[float, float] = (0.0, 0.08)
    """Norm of the strain: root of the sum of its squared elements."""
    shear_probability: float = 0.2
    """Share that is sheared along one Cartesian axis in proportion to another."""
    shear: tuple[float, float] = (0.0, 0.25)
    """Shear: shift over height."""
    rattle_probability: float = 0.8
    """Share in which all atoms are displaced, each by a normal distribution in every direction."""
    rattle: tuple[float, float] = (0.0, 0.12)
    """Standard deviation along each axis over the shortest distance of the crystal; 0.06 is the melting point."""
    vacancy_probability: float = 0.1
    """Share that loses atoms."""
    vacancies: tuple[int, int] = (1, 2)
    """Atoms taken away, a third of all at most: the smallest cells keep theirs."""
    interstitial_probability: float = 0.05
    """Share that gains atoms, each where it finds most room among random points."""
    interstitials: tuple[int, int] = (1, 1)
    """Atoms added; elements uniform among those allowed."""
    antisite_probability: float = 0.1
    """Share in which pairs of unlike atoms, drawn at random, change places."""
    antisites: tuple[int, int] = (1, 2)
    """Pairs that change places."""
    substitution_probability: float = 0.1
    """Share in which atoms are replaced by another element, uniform among those allowed."""
    substitutions: tuple[int, int] = (1, 2)
    """Atoms replaced."""
    swap_probability: float = 0.05
    """Share in which a part of the sites deals out its atoms anew: chemical disorder."""
    swaps: tuple[float, float] = (0.3, 1.0)
    """Part of the sites."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if name.endswith("_probability") and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name):g}: expected 0 to 1")
        check_positive(self, "maximum_atoms", highest=MOST)
        check_positive(self, "maximum_volume")
        check_range("volume", self.volume, 0.2, 5.0)
        check_range("strain", self.strain, 0.0, 0.4)
        check_range("shear", self.shear, 0.0, 1.0)
        check_range("rattle", self.rattle, 0.0, 0.5)
        check_range("swaps", self.swaps, 0.0, 1.0)
        for name in ("vacancies", "interstitials", "antisites", "substitutions"):
            check_range(name, getattr(self, name), 1, MOST_DEFECTS)


def perturbed(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    settings: PerturbSettings,
    ratio: float,
    rng: np.random.Generator,
    numbers_allowed: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], dict[str, Any]]:
    """(m,) atomic numbers, (m, 3) Å and (3, 3) Å of a perturbed copy, and short notes on what was done to it.

    :param numbers: (n,) atomic numbers of H-Ar.
    :param positions: (n, 3) Å.
    :param cell: (3, 3) Å rows, periodic in all directions.
    :param ratio: closest approach over summed covalent radii that the copy keeps.
    :param numbers_allowed: elements of substitutions and interstitials; those of the crystal where None.

    Raises GenerationError where two atoms of the crystal lie on top of each other and cannot be separated.
    """
    allowed = np.unique(numbers) if numbers_allowed is None else np.asarray(numbers_allowed)
    numbers, positions, cell = np.array(numbers), np.array(positions, dtype=float), np.array(cell, dtype=float)
    figures: dict[str, Any] = {}
    volume = abs(float(np.linalg.det(cell)))
    repeats = min(settings.maximum_atoms // len(numbers), int(settings.maximum_volume / volume))
    if repeats > 1 and rng.random() < settings.supercell_probability:
        figures["supercell"] = int(rng.integers(2, repeats + 1))
        matrix = _repetition(settings.supercell, figures["supercell"], rng)
        numbers, positions, cell = _repeated(matrix, numbers, positions, cell)
    numbers, positions, defects = _damaged(settings, numbers, positions, cell, allowed, rng)
    deformation, notes = _deformation(settings, rng)
    rattle = rng.uniform(*settings.rattle) if rng.random() < settings.rattle_probability else 0.0
    figures |= defects | notes | ({"rattle": round(rattle, 6)} if rattle else {})
    positions, cell, growth, pushed = _kept_apart(
        numbers, positions @ deformation, cell @ deformation, rattle, ratio, rng
    )
    if growth > 1:
        figures["volume_scale"] = round(figures.get("volume_scale", 1.0) * growth, 6)
    if pushed:
        figures["atoms_pushed"] = pushed
    return numbers, positions, cell, figures


def _repetition(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(3, 3) upper triangular whole numbers with determinant n: a diagonal, or any Hermite normal form alike."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    factors = np.array([(a, b, n // (a * b)) for a in divisors for b in divisors if n % (a * b) == 0])
    if kind == "diagonal":
        return np.diag(factors[rng.integers(len(factors))])
    forms = factors[:, 1] * factors[:, 2] ** 2
    a, b, c = factors[rng.choice(len(factors), p=forms / forms.sum())]
    return np.array([[a, rng.integers(b), rng.integers(c)], [0, b, rng.integers(c)], [0, 0, c]])


def _repeated(
    matrix: NDArray[np.int64], numbers: NDArray[np.int64], positions: NDArray[np.float64], cell: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The crystal in a cell of `matrix` times its lattice vectors, those made compact, atoms inside."""
    steps = np.indices(np.diag(matrix).tolist()).reshape(3, -1).T
    supercell = _compact(matrix @ cell)
    everywhere = (positions[:, None, :] + (steps @ cell)[None, :, :]).reshape(-1, 3)
    fractional = (everywhere @ np.linalg.inv(supercell) + 1e-9) % 1.0 - 1e-9
    return np.repeat(numbers, len(steps)), fractional @ supercell, supercell


def _compact(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) Å: the same lattice with short vectors, by subtracting vectors from each other (Gauss)."""
    cell = cell.copy()
    changed = True
    while changed:
        changed = False
        for i, j in ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)):
            times = math.floor(float(cell[i] @ cell[j]) / float(cell[j] @ cell[j]) + 0.5 - 1e-6)
            if times and float(((cell[i] - times * cell[j]) ** 2).sum()) < float((cell[i] ** 2).sum()) * (1 - 1e-6):
                cell[i] -= times * cell[j]
                changed = True
    return cell


def _damaged(
    settings: PerturbSettings,
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    allowed: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, str]]:
    """Numbers and positions with the defects whose lot is drawn, and what they are: 'vacancy:1+antisite:2'."""
    done = []

    def happens(kind: str) -> bool:
        return bool(rng.random() < getattr(settings, f"{kind}_probability"))

    def count(limits: tuple[int, int], kind: str, most: int) -> int:
        n = min(int(rng.integers(limits[0], limits[1] + 1)), most)
        done.append(f"{kind}:{n}")
        return n

    if happens("swap") and len(np.unique(numbers)) > 1:
        sites = rng.permutation(len(numbers))[: max(2, round(rng.uniform(*settings.swaps) * len(numbers)))]
        numbers[sites] = numbers[rng.permutation(sites)]
        done.append(f"swap:{len(sites)}")
    if happens("antisite") and len(np.unique(numbers)) > 1:
        for _ in range(count(settings.antisites, "antisite", len(numbers) // 2)):
            one = rng.integers(len(numbers))
            other = rng.choice(np.flatnonzero(numbers != numbers[one]))
            numbers[[one, other]] = numbers[[other, one]]
    replaceable = np.flatnonzero([(allowed != z).any() for z in numbers])
    if happens("substitution") and len(replaceable):
        for site in rng.permutation(replaceable)[: count(settings.substitutions, "substitution", len(replaceable))]:
            numbers[site] = rng.choice(allowed[allowed != numbers[site]])
    if happens("vacancy") and len(numbers) > 2:
        kept = np.sort(rng.permutation(len(numbers))[count(settings.vacancies, "vacancy", len(numbers) // 3) :])
        numbers, positions = numbers[kept], positions[kept]
    if happens("interstitial"):
        for _ in range(count(settings.interstitials, "interstitial", settings.interstitials[1])):
            z = int(rng.choice(allowed))
            positions = np.vstack([positions, _largest_hole(z, numbers, positions, cell, rng)])
            numbers = np.append(numbers, z)
    return numbers, positions, {"defects": "+".join(done)} if done else {}


def _largest_hole(
    z: int,
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(3,) Å: of some random points the one whose nearest atom is farthest, in summed covalent radii."""
    points = rng.random((TRIAL_POINTS, 3))
    difference = points[:, None, :] - (positions @ np.linalg.inv(cell))[None, :, :]
    images = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    vectors = (difference - np.round(difference))[:, :, None, :] + images
    squares = ((vectors @ cell) ** 2).sum(axis=-1).min(axis=-1) / (RADII[numbers] + RADII[z]) ** 2
    return np.asarray(points[squares.min(axis=1).argmax()] @ cell)


def _deformation(settings: PerturbSettings, rng: np.random.Generator) -> tuple[NDArray[np.float64], dict[str, float]]:
    """(3, 3) matrix to multiply rows with, and the strengths that went into it; only the volume changes the volume."""
    matrix, notes = np.eye(3), {}
    if rng.random() < settings.volume_probability:
        notes["volume_scale"] = round(rng.uniform(*settings.volume), 6)
        matrix *= notes["volume_scale"] ** (1 / 3)
    if rng.random() < settings.strain_probability:
        strength = rng.uniform(*settings.strain)
        random = rng.normal(size=(3, 3))
        strain = (random + random.T) / 2
        strain -= np.eye(3) * np.trace(strain) / 3
        stretched = np.eye(3) + strain * strength / np.sqrt((strain**2).sum())
        matrix = matrix @ (stretched / np.linalg.det(stretched) ** (1 / 3))
        notes["strain"] = round(strength, 6)
    if rng.random() < settings.shear_probability:
        along, across = rng.permutation(3)[:2]
        sheared = np.eye(3)
        notes["shear"] = round(rng.uniform(*settings.shear), 6)
        sheared[across, along] = notes["shear"]
        matrix = matrix @ sheared
    return matrix, notes


def _kept_apart(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    rattle: float,
    ratio: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, int]:
    """Displaced positions and the cell, the factor the volume had to grow by, and how many atoms were pushed."""
    carbon = np.full(len(numbers), 6)
    shortest = min(2 * RADII[6] * closest_ratio(carbon, positions, cell, FARTHEST / (2 * RADII[6])), FARTHEST)
    for _ in range(REDRAWS if rattle else 1):
        moved = positions + rattle * shortest * rng.normal(size=positions.shape)
        if _keeps(numbers, moved, cell, ratio):
            return moved, cell, 1.0, 0
    for attempt in range(ATTEMPTS):
        length = GROWTH ** (attempt / 3)
        pushed = pushed_apart(numbers, moved * length, cell * length, ratio + ROUNDED)
        if pushed is not None and _keeps(numbers, pushed, cell * length, ratio):
            displaced = np.abs(pushed - moved * length).max(axis=1) > 1e-6
            return pushed, cell * length, length**3, int(displaced.sum())
    raise GenerationError(
        f"{len(numbers)} atoms could not be brought to {ratio:g} of their summed covalent radii: do two of them have "
        "the same place?"
    )


def _keeps(numbers: NDArray[np.int64], positions: NDArray[np.float64], cell: NDArray[np.float64], ratio: float) -> bool:
    """Whether no pair is too close, once rounded as a configuration rounds."""
    return closest_ratio(numbers, np.round(positions, DECIMALS), np.round(cell, DECIMALS), ratio + 1) >= ratio + ROUNDED
