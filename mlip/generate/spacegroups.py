"""Space groups: random crystals with the symmetry of a given space group, in their primitive cells.

Symmetric random structures (Pickard and Needs, J. Phys.: Condens. Matter 23, 053201 (2011); PyXtal: Fredericks et al.,
Comput. Phys. Commun. 261, 107810 (2021)) reach high coordination and layered or cage-like order that random packings
hardly ever show. The space groups take turns, and so do the elements that lead a crystal. The lattice has the axial
ratios and angles that the crystal system leaves free. Atoms come in whole orbits: of a random point, moved onto the
fixed sets of up to three random operations of the group, so that special positions of all kinds occur. An orbit is
taken if it fits into the number of atoms and keeps its distances at the drawn packing fraction; where a few tries find
none, ever closer ones are taken and the volume grows instead.

Crystals can be more symmetric than their group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..contacts import cartesian, closest_ratio
from ..frames import DECIMALS, Configuration, Origin
from ..sanity import RADII
from . import checks
from .checks import Elements, check_positive, check_range, check_ratio, element_numbers
from .draw import Draw, GenerationError
from .structure_types import conventional_cell
from .symmetry import GROUPS, Symmetry, orbit, random_points, smallest_orbit, symmetry_operations

SMALLEST_ORBITS = (1, 2, 3, 4, 6, 8)
"""Atoms in the primitive cell on the most special positions that there are in any space group."""
TRIES = 30
"""Orbits tried for one crystal."""
FLATTEST = 0.5
"""Smallest volume of a triclinic cell relative to a brick of the same edges."""
MARGIN = 1e-6
"""Share of lengths by which cells keep clear of the closest approach and of the largest volume."""


@dataclass(frozen=True)
class SpacegroupsSettings:
    """Keys of a `source: spacegroups` recipe; pairs are [lowest, highest]."""

    elements: Elements = "all"
    """Symbols to draw from; all means H-Ar."""
    space_groups: Literal["all"] | list[int] = "all"
    """International numbers; all means 1 to 230."""
    atoms: tuple[int, int] = (2, 16)
    """Atoms per primitive cell. Orbits are added up to a number drawn uniformly from this range."""
    species: tuple[int, int] = (1, 4)
    """Different elements to deal to the orbits, uniform; a crystal of few orbits has fewer."""
    packing_fraction: tuple[float, float] = (0.12, 0.55)
    """Share of the volume that the spheres fill, log-uniform; lower where the volume had to grow."""
    minimum_distance_ratio: tuple[float, float] = (0.65, 0.95)
    """Closest approach over summed covalent radii, one value per crystal, uniform; 0.50 is the floor of DFT."""
    minimum_sphere_radius: float = 0.75
    """Å. The spheres have covalent radii, but no less than this: H, He and F keep distance in solids."""
    maximum_volume_per_atom: float = 45.0
    """Å^3."""
    maximum_volume: float = 500.0
    """Å^3 of the primitive cell."""
    axial_ratio: tuple[float, float] = (0.5, 2.0)
    """b/a and c/a of the conventional cell where they are free, log-uniform; in hexagonal axes of rhombohedral lattices
    c/a is larger by sqrt(3/2), so that 1 stands for a cube."""
    angles: tuple[float, float] = (60.0, 120.0)
    """Degrees of free angles, uniform; triclinic ones move towards 90 where the cell would be flat."""
    maximum_attempts: int = 60
    """Crystals tried per configuration."""

    def __post_init__(self) -> None:
        numbers = element_numbers(self.elements)
        check_range("atoms", self.atoms, 1, checks.MOST)
        check_range("species", self.species, 1, checks.MOST)
        check_range("packing_fraction", self.packing_fraction, 0.01, 0.74)
        check_range("axial_ratio", self.axial_ratio, 0.2, 5.0)
        check_ratio(self.minimum_distance_ratio[0])
        check_range("minimum_distance_ratio", self.minimum_distance_ratio, 0.0, 1.2)
        check_positive(self, "minimum_sphere_radius", highest=checks.LARGEST_RADIUS)
        check_positive(self, "maximum_volume_per_atom", "maximum_volume")
        check_positive(self, "maximum_attempts", highest=checks.MOST_ATTEMPTS)
        low, high = self.angles
        if not 30 <= low <= 90 <= high <= 150:
            raise ValueError(f"angles [{low:g}, {high:g}]: expected 30 <= lowest <= 90 <= highest <= 150")
        if self.species[0] > len(numbers):
            raise ValueError(f"species {list(self.species)}: there are {len(numbers)} elements only")
        self._check_groups()
        spheres = self.sphere_volumes(numbers)
        needed = float(spheres.max()) / self.packing_fraction[1]
        room = min(self.maximum_volume_per_atom, self.maximum_volume / self.atoms[0])
        if needed > room:
            raise ValueError(
                f"maximum_volume_per_atom {self.maximum_volume_per_atom:g} Å^3, maximum_volume {self.maximum_volume:g} "
                f"Å^3: {chemical_symbols[numbers[spheres.argmax()]]} at packing_fraction {self.packing_fraction[1]:g} "
                f"needs {needed:.1f} Å^3 per atom"
            )

    def _check_groups(self) -> None:
        if self.space_groups != "all":
            wrong = [number for number in self.space_groups if not 1 <= number <= GROUPS]
            if wrong or not self.space_groups or len(set(self.space_groups)) < len(self.space_groups):
                raise ValueError(f"space_groups {wrong or self.space_groups}: expected numbers of 1 to 230, each once")
        elif all(self._holds_a_multiple(smallest) for smallest in SMALLEST_ORBITS):
            return  # what follows would need the operations of all groups
        for number in self.groups:
            smallest = smallest_orbit(number)
            if not self._holds_a_multiple(smallest):
                raise ValueError(
                    f"atoms {list(self.atoms)}: space group {number} has orbits of {smallest} atoms or more; expected "
                    "a range that holds a multiple of it, or a list of other space_groups"
                )

    def _holds_a_multiple(self, size: int) -> bool:
        return self.atoms[1] // size * size >= self.atoms[0]

    @property
    def groups(self) -> list[int]:
        """Numbers to draw from."""
        return list(range(1, GROUPS + 1)) if self.space_groups == "all" else sorted(self.space_groups)

    def sphere_volumes(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) Å^3."""
        return np.asarray(4 / 3 * np.pi * np.maximum(RADII[numbers], self.minimum_sphere_radius) ** 3)


def spacegroups(settings: SpacegroupsSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One crystal; figures: space_group, orbits, packing_fraction (reached), distance_ratio (drawn).

    Raises GenerationError if no crystal of `maximum_attempts` fits into its volume.
    """
    rng = draw.generator()
    groups, elements = settings.groups, element_numbers(settings.elements)
    number = groups[draw.turn(len(groups))]
    lead = int(elements[draw.turn(len(elements), purpose=1)])
    symmetry = symmetry_operations(number)
    for attempt in range(settings.maximum_attempts):
        species = _species(settings, lead, elements, rng)
        ratio = rng.uniform(*settings.minimum_distance_ratio)
        shape = symmetry.primitive @ _conventional(settings, number, rng)
        strictness = 1 - attempt / settings.maximum_attempts
        made = _crystal(settings, symmetry, shape, species, (ratio, ratio * strictness), rng)
        if made is not None:
            numbers, positions, cell, orbits = made
            spheres = float(settings.sphere_volumes(numbers).sum())
            figures = {
                "space_group": number,
                "orbits": orbits,
                "packing_fraction": round(spheres / float(np.linalg.det(cell)), 6),
                "distance_ratio": round(ratio, 6),
            }
            return Configuration(numbers, positions, cell, origin=Origin("spacegroups", draw.name)), figures
    raise GenerationError(
        f"index {draw.index}: no crystal of space group {number} with {chemical_symbols[lead]} found in "
        f"{settings.maximum_attempts} attempts; raise maximum_volume_per_atom, maximum_volume or atoms"
    )


def _species(
    settings: SpacegroupsSettings, lead: int, elements: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Different elements, the leading one first."""
    count = int(rng.integers(settings.species[0], min(settings.species[1], len(elements)) + 1))
    return np.append(lead, rng.permutation(elements[elements != lead])[: count - 1])


def _conventional(settings: SpacegroupsSettings, number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3) rows of a random conventional cell of the crystal system, a = 1."""
    low, high = np.log(settings.axial_ratio)
    b, c = np.exp(rng.uniform(low, high, 2))
    alpha, beta, gamma = rng.uniform(*settings.angles, 3)
    if number <= 2:
        degrees = np.array([alpha, beta, gamma])
        cell = conventional_cell(np.array([1.0, b, c]), degrees)
        while not np.linalg.det(cell) > FLATTEST * b * c:
            degrees = 90 + 0.8 * (degrees - 90)
            cell = conventional_cell(np.array([1.0, b, c]), degrees)
        return cell
    if number <= 15:
        return conventional_cell(np.array([1.0, b, c]), np.array([90.0, beta, 90.0]))
    if 143 <= number <= 194:
        rhombohedral = symmetry_operations(number).primitive[0, 0] != 1
        stretch = math.sqrt(1.5) if rhombohedral else 1.0
        return conventional_cell(np.array([1.0, 1.0, c * stretch]), np.array([90.0, 90.0, 120.0]))
    return np.diag([1.0, b if number <= 74 else 1.0, c if number <= 142 else 1.0])


def _crystal(
    settings: SpacegroupsSettings,
    symmetry: Symmetry,
    shape: NDArray[np.float64],
    species: NDArray[np.int64],
    ratios: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], int] | None:
    """Numbers, positions (Å), cell (Å) and number of orbits; None if too few atoms or too large a volume come out.

    :param ratios: closest approach to reach, and the one that orbits are taken at before the volume grows.
    """
    most = int(rng.integers(settings.atoms[0], settings.atoms[1] + 1))
    place = rng.random()
    expected = _volume(settings, float(settings.sphere_volumes(species).mean()) * most, most, place)
    trial_cell = shape * (expected / float(np.linalg.det(shape))) ** (1 / 3)
    numbers, points, orbits = np.empty(0, dtype=np.int64), np.empty((0, 3)), 0
    for point, size in zip(*random_points(symmetry, TRIES, rng), strict=True):
        if len(numbers) + size > most:
            continue
        images = orbit(symmetry, point)
        z = species[orbits] if orbits < len(species) else rng.choice(species)
        more, further = np.append(numbers, np.full(size, z)), np.vstack([points, images])
        if closest_ratio(more, cartesian(further, trial_cell), trial_cell) >= ratios[1]:
            numbers, points, orbits = more, further, orbits + 1
        if len(numbers) == most:
            break
    if len(numbers) < settings.atoms[0]:
        return None
    volume = _volume(settings, float(settings.sphere_volumes(numbers).sum()), len(numbers), place)
    cell = _large_enough(
        settings, numbers, points, shape * (volume / float(np.linalg.det(shape))) ** (1 / 3), ratios[0]
    )
    return None if cell is None else (numbers, cartesian(points, cell), cell, orbits)


def _volume(settings: SpacegroupsSettings, spheres: float, n: int, place: float) -> float:
    """Å^3 for n atoms with spheres of so many Å^3: log-uniform in `place` (0 to 1) within fractions and limits."""
    largest = min(settings.maximum_volume_per_atom * n, settings.maximum_volume)
    low, high = settings.packing_fraction
    low = max(low, spheres / largest)
    if low > high:  # large atoms in the largest cell
        low = high = spheres / largest * (1 + MARGIN)
    return spheres / (low * (high / low) ** place)


def _large_enough(
    settings: SpacegroupsSettings,
    numbers: NDArray[np.int64],
    points: NDArray[np.float64],
    cell: NDArray[np.float64],
    ratio: float,
) -> NDArray[np.float64] | None:
    """The cell, grown to the closest approach; None if that is too large."""
    largest = min(settings.maximum_volume_per_atom * len(numbers), settings.maximum_volume)
    closest = closest_ratio(numbers, cartesian(points, cell), cell)
    if closest < ratio * (1 + MARGIN):
        cell = cell * (ratio * (1 + 2 * MARGIN) / max(closest, MARGIN))
    cell = np.round(cell, DECIMALS)
    return cell if float(np.linalg.det(cell)) <= largest else None
