"""Packing: random atoms in a random cell, from compressed to dilute, none closer than a drawn distance.

The randomised chemistry of Pickard and Needs (J. Phys.: Condens. Matter 23, 053201 (2011)) without relaxation: draw the
elements, the number of atoms, the packing fraction and the closest approach; draw a cell of that volume; scatter the
atoms and push overlapping ones apart. A cell that cannot be packed is drawn again, each time a little larger.

Elements take turns: in any block of as many cells as there are elements, each element leads exactly one. The other
species of a cell and its composition are uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from ..frames import Configuration, Origin
from ..sanity import RADII, periodic_shifts
from ..units import MINIMUM_DISTANCE_RATIO_DFT, Z_MAX
from .draw import Draw

DENSEST = math.pi / math.sqrt(18)
"""Packing fraction of equal spheres that touch in a close packing (0.74)."""
GROWTH = 1.08
"""Volume factor from one attempt to the next."""
PUSHES = 100
"""Rounds of pushing overlapping atoms apart before a cell is given up."""
MARGIN = 1e-6
"""Å by which contacts are kept, more than the rounding of a configuration."""
FLATTEST = 0.5
"""Smallest volume of a cell relative to a brick of the same edges."""


class PackingError(ValueError):
    """A cell that could not be packed within the allowed attempts."""


@dataclass(frozen=True)
class PackingSettings:
    """Keys of a `source: packing` recipe; pairs are [lowest, highest]."""

    elements: Literal["all"] | list[str] = "all"
    """Symbols to draw from; all means H-Ar."""
    atoms: tuple[int, int] = (2, 8)
    """Atoms per cell, uniform."""
    species: tuple[int, int] = (1, 4)
    """Different elements per cell, uniform where there are atoms enough."""
    packing_fraction: tuple[float, float] = (0.08, 0.60)
    """Share of the volume that the spheres fill, log-uniform. Solids at ambient pressure have 0.1 to 0.5."""
    minimum_distance_ratio: tuple[float, float] = (0.65, 1.0)
    """Closest approach over summed covalent radii, uniform; one value per cell; 0.50 is the floor of DFT."""
    minimum_sphere_radius: float = 0.75
    """Å. The spheres have covalent radii, but no less than this: H, He and F keep distance in solids."""
    maximum_volume_per_atom: float = 60.0
    """Å^3. Limits what a dilute cell costs in a plane-wave code; cuts the range of the packing fraction."""
    angles: tuple[float, float] = (60.0, 120.0)
    """Degrees between lattice vectors, uniform, moved towards 90 where the cell would be flat."""
    maximum_elongation: float = 2.0
    """Longest over shortest lattice vector."""
    maximum_attempts: int = 40
    """Cells tried per configuration, each 8 % larger than the one before."""

    def __post_init__(self) -> None:
        self._check_elements()
        for name, lowest in (("atoms", 1), ("species", 1), ("packing_fraction", 0.0), ("minimum_distance_ratio", 0.0)):
            low, high = getattr(self, name)
            if low > high or low < lowest or high <= 0:
                raise ValueError(f"{name} [{low}, {high}]: expected {lowest} <= lowest <= highest")
        if self.minimum_distance_ratio[0] < MINIMUM_DISTANCE_RATIO_DFT:
            raise ValueError(
                f"minimum_distance_ratio {self.minimum_distance_ratio[0]}: expected {MINIMUM_DISTANCE_RATIO_DFT} or "
                "more, below which no structure is sent to DFT"
            )
        if self.species[0] > min(self.atoms[0], len(self.numbers)):
            raise ValueError(
                f"species {list(self.species)}: a cell of {self.atoms[0]} atoms and {len(self.numbers)} elements "
                f"cannot hold {self.species[0]} species"
            )
        low, high = self.angles
        if not 30 <= low <= 90 <= high <= 150:
            raise ValueError(
                f"angles [{low}, {high}]: expected [lowest, highest] with 30 <= lowest <= 90 <= highest <= 150"
            )
        if self.maximum_elongation < 1 or self.maximum_attempts < 1:
            raise ValueError("maximum_elongation and maximum_attempts: expected 1 or more")
        self._check_density()

    def _check_elements(self) -> None:
        if self.elements == "all":
            return
        unknown = [symbol for symbol in self.elements if not 1 <= atomic_numbers.get(symbol, 0) <= Z_MAX]
        if unknown or not self.elements:
            raise ValueError(f"elements {unknown or '[]'}: expected 'all' or symbols of H to Ar such as [H, C, O]")
        if len(set(self.elements)) < len(self.elements):
            raise ValueError(f"elements {self.elements}: one occurs twice")

    def _check_density(self) -> None:
        fraction, ratio = self.packing_fraction[0], self.minimum_distance_ratio[0]
        if not 0 < fraction * ratio**3 <= DENSEST:
            raise ValueError(
                f"packing_fraction {fraction} at minimum_distance_ratio {ratio} cannot be packed: expected "
                f"0 < packing_fraction * ratio^3 <= {DENSEST:.2f}"
            )
        spheres = _sphere_volumes(self.numbers, self.minimum_sphere_radius)
        needed = float(spheres.max()) / self.packing_fraction[1]
        if needed > self.maximum_volume_per_atom:
            raise ValueError(
                f"maximum_volume_per_atom {self.maximum_volume_per_atom} Å^3: {self._symbol(spheres.argmax())} at "
                f"packing_fraction {self.packing_fraction[1]} needs {needed:.1f} Å^3"
            )

    def _symbol(self, index: Any) -> str:
        return str(chemical_symbols[self.numbers[index]])

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers to draw from, ascending."""
        if self.elements == "all":
            return np.arange(1, Z_MAX + 1)
        return np.array(sorted(atomic_numbers[symbol] for symbol in self.elements), dtype=np.int64)


def packing(settings: PackingSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One periodic configuration and its figures: packing_fraction (reached), distance_ratio (drawn), packing_attempts.

    Raises PackingError if no cell could be packed in `maximum_attempts`.
    """
    rng = draw.generator()
    numbers = _composition(settings, draw, rng)
    spheres = float(_sphere_volumes(numbers, settings.minimum_sphere_radius).sum())
    loosest = spheres / (len(numbers) * settings.maximum_volume_per_atom)
    low, high = max(settings.packing_fraction[0], loosest), settings.packing_fraction[1]
    volume = spheres / math.exp(rng.uniform(math.log(low), math.log(high)))
    ratio = rng.uniform(*settings.minimum_distance_ratio)
    contact = ratio * (RADII[numbers][:, None] + RADII[numbers][None, :])
    for attempt in range(settings.maximum_attempts):
        cell = _random_cell(settings, volume * GROWTH**attempt, rng)
        positions = _scatter(cell, contact, rng)
        if positions is not None:
            figures = {
                "packing_attempts": attempt + 1,
                "packing_fraction": round(spheres / (volume * GROWTH**attempt), 6),
                "distance_ratio": round(ratio, 6),
            }
            origin = Origin("packing", f"{draw.seed}/{draw.index}")
            return Configuration(numbers, positions, cell, origin=origin), figures
    raise PackingError(
        f"index {draw.index}: {len(numbers)} atoms not packed in {settings.maximum_attempts} cells; lower "
        "packing_fraction or minimum_distance_ratio, or raise maximum_attempts"
    )


def _sphere_volumes(numbers: NDArray[np.int64], smallest: float) -> NDArray[np.float64]:
    """(n,) Å^3."""
    volumes: NDArray[np.float64] = 4 / 3 * np.pi * np.maximum(RADII[numbers], smallest) ** 3
    return volumes


def _composition(settings: PackingSettings, draw: Draw, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) atomic numbers, ascending: the leading element, further species, then atoms shared out at random."""
    elements = settings.numbers
    n = int(rng.integers(settings.atoms[0], settings.atoms[1] + 1))
    most = min(settings.species[1], n, len(elements))
    n_species = int(rng.integers(settings.species[0], most + 1))
    lead = elements[draw.turn(len(elements))]
    others = rng.choice(elements[elements != lead], n_species - 1, replace=False)
    species = np.append(others, lead)
    return np.sort(np.append(species, rng.choice(species, n - n_species)))


def _random_cell(settings: PackingSettings, volume: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3) Å rows of the given volume (Å^3): a along x, b in the xy plane."""
    edges = np.exp(rng.uniform(0.0, math.log(settings.maximum_elongation), 3))
    degrees = rng.uniform(*settings.angles, 3)
    while _flatness(degrees) < FLATTEST:
        degrees = 90 + 0.8 * (degrees - 90)
    cos_a, cos_b, cos_c = np.cos(np.radians(degrees))
    sin_c = math.sqrt(1 - cos_c**2)
    y = (cos_a - cos_b * cos_c) / sin_c
    cell = np.array([[1, 0, 0], [cos_c, sin_c, 0], [cos_b, y, _flatness(degrees) / sin_c]]) * edges[:, None]
    return np.asarray(cell * (volume / np.linalg.det(cell)) ** (1 / 3))


def _flatness(degrees: NDArray[np.float64]) -> float:
    """Volume of a cell with unit edges: 1 for a brick, 0 for a flat one."""
    cosines = np.cos(np.radians(degrees))
    return math.sqrt(max(0.0, 1 - float(cosines @ cosines) + 2 * float(cosines.prod())))


def _scatter(
    cell: NDArray[np.float64], contact: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64] | None:
    """(n, 3) Å with no pair closer than `contact` (n, n) Å over periodic images, or None if that was not reached."""
    n = len(contact)
    shifts = periodic_shifts(cell, float(contact.max()))
    fractional = rng.random((n, 3))
    lengths = np.linalg.norm(shifts[1:], axis=1)
    if len(lengths) and lengths.min() < np.diag(contact).max():
        return None
    inverse = np.linalg.inv(cell)
    itself = np.eye(n, dtype=bool)[:, :, None]
    for _ in range(PUSHES):
        difference = fractional[:, None, :] - fractional[None, :, :]
        vectors = ((difference - np.round(difference)) @ cell)[:, :, None, :] + shifts
        distances = np.linalg.norm(vectors, axis=-1)
        overlap = np.where(itself, -np.inf, contact[:, :, None] - distances)
        if overlap.max() <= -MARGIN:
            return np.asarray((fractional % 1.0) @ cell)
        push = np.where(overlap > -MARGIN, overlap + 0.02 * contact[:, :, None], 0.0)
        moves = (push / np.maximum(distances, 1e-3))[..., None] * vectors / 2
        fractional = fractional + moves.sum(axis=(1, 2)) @ inverse
    return None
